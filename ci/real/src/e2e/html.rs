//! One page with everything that was played: times, write gaps and milestones of the cluster and of the
//! simulator side by side. It is whole in itself: no scripts, nothing that is loaded.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::milestones::Fact;
use super::report::{How, Played, Result, rows};

const STYLE: &str = "
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72em; margin: 2em auto; padding: 0 1em; color: #222 }
table { border-collapse: collapse; margin: 1em 0 }
td, th { padding: .15em .8em; text-align: left; border-bottom: 1px solid #ddd; vertical-align: top }
.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
.passed { color: #17692d } .failed { color: #b3261e } .skipped { color: #666 }
summary { cursor: pointer }
tr.alone { background: #fdf3d8 }
pre { background: #f6f6f6; padding: .8em; overflow-x: auto; font-size: 12px }
";

/// The page.
pub(crate) fn page(results: &[Result]) -> String {
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>Stories on a real cluster</title>\n<style>{STYLE}</style>\n\
         <h1>Stories on a real cluster, and the same in the simulator</h1>\n\
         <table>\n<tr><th>story<th>result<th class=n>real, s<th class=n>simulated, s\
         <th class=n>write gap, s<th class=n>simulated, s<th class=n>rows lost<th class=n>milestones in common\n"
    );
    for result in results {
        row(&mut out, result);
    }
    out.push_str("</table>\n");
    for result in results {
        if let How::Played(played) = &result.how {
            story(&mut out, result, played);
        }
    }
    out.push_str("</html>\n");
    out
}

fn row(out: &mut String, result: &Result) {
    let name = escaped(&result.name);
    // Writing to a String can't fail.
    let _ = match &result.how {
        How::Skipped(reason) => writeln!(
            out,
            "<tr><td>{name}<td class=skipped>skipped<td colspan=6 class=skipped>{}",
            escaped(reason)
        ),
        How::Broken(error) => {
            writeln!(out, "<tr><td>{name}<td class=failed>failed<td colspan=6>{}", escaped(error))
        }
        How::Played(p) => {
            let (gap, sim_gap, lost) = match p.clients {
                0 => Default::default(),
                _ => (seconds(p.write_gap_s), seconds(p.sim_write_gap_s), rows(p.lost_rows)),
            };
            writeln!(
                out,
                "<tr><td><a href=\"#{name}\">{name}</a><td class={verdict}>{verdict}<td class=n>{}<td class=n>{}\
                 <td class=n>{gap}<td class=n>{sim_gap}<td class=n>{lost}<td class=n>{}",
                seconds(p.seconds),
                seconds(p.sim_seconds),
                p.compared.common,
                verdict = verdict(p),
            )
        }
    };
}

fn story(out: &mut String, result: &Result, p: &Played) {
    let _ = writeln!(
        out,
        "<h2 id=\"{name}\">{name}: <span class={verdict}>{verdict}</span></h2>\n<p>{text}</p>",
        name = escaped(&result.name),
        text = escaped(&result.description),
        verdict = verdict(p),
    );
    list(out, "Wrong", &p.wrong);
    list(out, "Left out", &p.left_out);
    list(out, "Different, with a reason", &p.compared.excused);
    if !p.figures.is_empty() {
        out.push_str("<table>\n<tr><th>time<th class=n>real, s<th class=n>simulated, s\n");
        for (name, value) in &p.figures {
            let simulated = p.sim_figures.iter().find(|(n, _)| n == name);
            let simulated = simulated.map_or(String::new(), |(_, s)| seconds(*s));
            let (name, value) = (escaped(name), seconds(*value));
            let _ = writeln!(out, "<tr><td>{name}<td class=n>{value}<td class=n>{simulated}");
        }
        out.push_str("</table>\n");
    }
    out.push_str("<details><summary>Milestones</summary>\n<table>\n<tr><th class=n>real, s<th class=n>simulated, s<th>what\n");
    for (here, there, text) in side_by_side(&p.facts, &p.sim_facts) {
        let alone = if here.is_none() || there.is_none() { " class=alone" } else { "" };
        let time = |at: Option<f64>| at.map(seconds).unwrap_or_default();
        let (here, there, text) = (time(here), time(there), escaped(text));
        let _ = writeln!(out, "<tr{alone}><td class=n>{here}<td class=n>{there}<td>{text}");
    }
    let _ = writeln!(
        out,
        "</table></details>\n<details><summary>Transcript of the real run</summary>\n<pre>{}</pre></details>",
        escaped(&p.transcript)
    );
}

/// When each event happened here and there. The order is that of the cluster; what only the simulator had comes last.
fn side_by_side<'a>(
    real: &'a [Fact],
    simulated: &'a [Fact],
) -> Vec<(Option<f64>, Option<f64>, &'a str)> {
    let mut there: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for fact in simulated.iter().rev() {
        there.entry(&fact.text).or_default().push(fact.at_s);
    }
    let mut all = Vec::new();
    for fact in real {
        let at = there.get_mut(&*fact.text).and_then(Vec::pop);
        all.push((Some(fact.at_s), at, &*fact.text));
    }
    for fact in simulated {
        if let Some(times) = there.get_mut(&*fact.text)
            && times.contains(&fact.at_s)
        {
            times.retain(|at| *at != fact.at_s);
            all.push((None, Some(fact.at_s), &*fact.text));
        }
    }
    all
}

fn list(out: &mut String, title: &str, what: &[String]) {
    if what.is_empty() {
        return;
    }
    let _ = writeln!(out, "<p><b>{title}</b>\n<ul>");
    for one in what {
        let _ = writeln!(out, "<li>{}", escaped(one));
    }
    out.push_str("</ul>\n");
}

fn verdict(played: &Played) -> &'static str {
    if played.wrong.is_empty() { "passed" } else { "failed" }
}

fn seconds(value: f64) -> String {
    format!("{value:.1}")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::super::milestones::Track;
    use super::*;

    fn facts(all: &[(f64, &str)]) -> Vec<Fact> {
        let fact = |(at_s, text): &(f64, &str)| Fact {
            at_s: *at_s,
            track: Track::Leader,
            text: (*text).to_owned(),
            cluster: String::new(),
            unheard: false,
        };
        all.iter().map(fact).collect()
    }

    #[test]
    fn events_of_both_worlds_stand_beside_each_other() {
        let real = facts(&[(1.0, "a"), (2.0, "b"), (3.0, "a"), (4.0, "c")]);
        let simulated = facts(&[(1.5, "a"), (2.5, "a"), (3.5, "b"), (4.5, "d")]);
        let rows = side_by_side(&real, &simulated);
        let expected = [
            (Some(1.0), Some(1.5), "a"),
            (Some(2.0), Some(3.5), "b"),
            (Some(3.0), Some(2.5), "a"),
            (Some(4.0), None, "c"),
            (None, Some(4.5), "d"),
        ];
        assert_eq!(rows, expected);
    }

    #[test]
    fn nothing_is_markup_that_was_text() {
        assert_eq!(escaped("<a href=\"x\">&"), "&lt;a href=&quot;x&quot;&gt;&amp;");
    }
}
