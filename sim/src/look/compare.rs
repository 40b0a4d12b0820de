//! Two runs beside each other: the same events in one line, whenever they happened, and what only one of them has.

use similar::{Algorithm, DiffOp, capture_diff_slices};

use super::hide::hide;
use super::page::{STYLE, escaped, fill};
use super::{Recording, headline, shape};
use crate::scenario::transcript::{Line, Teller};

/// How many equal events are told around those that differ, in text.
const AROUND: usize = 2;
/// The widest line of the text.
const WIDTH: usize = 100;

/// One event of either run, or the same of both.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Pair {
    /// Both have it.
    Both(Line, Line),
    /// Only the first.
    First(Line),
    /// Only the second.
    Second(Line),
}

/// Two runs, event by event.
pub struct Comparison<'a> {
    first: (&'a str, &'a Recording),
    second: (&'a str, &'a Recording),
    /// The events of both, in order.
    pub pairs: Vec<Pair>,
}

/// Compares two runs, under the names by which they are told apart.
#[must_use]
pub fn compare<'a>(
    first: (&'a str, &'a Recording),
    second: (&'a str, &'a Recording),
) -> Comparison<'a> {
    let lines = |r: &Recording| Teller::new(r.kubes.clone()).lines(&r.aliases, &r.journal);
    let (mut one, mut other) = (lines(first.1), lines(second.1));
    let keys = |lines: &[Line]| lines.iter().map(key).collect::<Vec<_>>();
    let (old, new) = (keys(&one), keys(&other));
    let mut pairs = Vec::new();
    let (mut one, mut other) = (one.drain(..), other.drain(..));
    for op in capture_diff_slices(Algorithm::Myers, &old, &new) {
        let (gone, come) = match op {
            DiffOp::Equal { len, .. } => {
                pairs.extend(
                    one.by_ref().zip(other.by_ref()).take(len).map(|(a, b)| Pair::Both(a, b)),
                );
                continue;
            }
            DiffOp::Delete { old_len, .. } => (old_len, 0),
            DiffOp::Insert { new_len, .. } => (0, new_len),
            DiffOp::Replace { old_len, new_len, .. } => (old_len, new_len),
        };
        pairs.extend(one.by_ref().take(gone).map(Pair::First));
        pairs.extend(other.by_ref().take(come).map(Pair::Second));
    }
    Comparison { first, second, pairs }
}

/// What makes two events the same: who and what; not when, nor for how long.
fn key(line: &Line) -> (String, String) {
    let numbers = |text: &str| {
        let words = text.split(' ').map(|word| match word.parse::<f64>() {
            Ok(_) if word.contains('.') => "#",
            _ => word,
        });
        words.collect::<Vec<_>>().join(" ")
    };
    (line.actor.clone(), numbers(&line.text))
}

impl Comparison<'_> {
    /// How many events are the same, and how many only one of them has.
    #[must_use]
    pub fn counts(&self) -> (usize, usize, usize) {
        self.pairs.iter().fold((0, 0, 0), |(both, first, second), pair| match pair {
            Pair::Both(..) => (both + 1, first, second),
            Pair::First(_) => (both, first + 1, second),
            Pair::Second(_) => (both, first, second + 1),
        })
    }

    /// Figures of both: what, the first's, the second's.
    fn figures(&self) -> Vec<(&'static str, String, String)> {
        let (a, b) = (&self.first.1.outcome, &self.second.1.outcome);
        let each = |of: &dyn Fn(&crate::scenario::run::Outcome) -> String| (of(a), of(b));
        let all: [(&'static str, (String, String)); 5] = [
            ("ends", each(&|o| o.failure.as_ref().map_or("well", |_| "badly").to_owned())),
            ("virtual time", each(&|o| format!("{:.1} s", o.virtual_s))),
            ("operator's writes", each(&|o| o.writes.to_string())),
            ("longest write gap", each(&|o| format!("{:.1} s", o.write_gap_s))),
            ("rows lost", each(&|o| o.lost_rows.to_string())),
        ];
        all.into_iter().map(|(name, (a, b))| (name, a, b)).collect()
    }

    fn summary(&self) -> String {
        let (both, first, second) = self.counts();
        match (first, second) {
            (0, 0) => format!("All {both} events are the same, in the same order."),
            _ => format!("{both} events are the same; {first} only A has, {second} only B."),
        }
    }

    fn told(recording: &Recording) -> String {
        headline(recording, &shape(recording)).join(" ")
    }

    /// The comparison for a terminal: figures, sentences, and what differs.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = format!("A  {}\nB  {}\n\n", self.first.0, self.second.0);
        text.push_str(&format!("{:<20}{:<14}{}\n", "", "A", "B"));
        for (name, a, b) in self.figures() {
            let mark = if a == b { "" } else { "   ≠" };
            text.push_str(&format!("{name:<20}{a:<14}{b}{mark}\n"));
        }
        let (a, b) = (Self::told(self.first.1), Self::told(self.second.1));
        text.push_str(&format!("\nA: {a}\n\nB: {b}\n\n{}\n", self.summary()));
        let differs = |pair: &Pair| !matches!(pair, Pair::Both(..));
        if !self.pairs.iter().any(differs) {
            return text;
        }
        text.push_str(&format!("\n{:>10}{:>10}  (− only A, + only B)\n", "A", "B"));
        let mut skipped = 0;
        for (index, pair) in self.pairs.iter().enumerate() {
            let near = &self.pairs[index.saturating_sub(AROUND)..];
            let near = &near[..near.len().min(index.min(AROUND) + AROUND + 1)];
            if !near.iter().any(differs) {
                skipped += 1;
                continue;
            }
            if skipped > 0 {
                text.push_str(&format!("{:>22}… {skipped} the same …\n", ""));
                skipped = 0;
            }
            let (sign, a, b, line) = parts(pair);
            let (a, b) = (a.map_or_else(String::new, when), b.map_or_else(String::new, when));
            let words = format!("{} {}", line.actor, line.text);
            let words: String = match words.char_indices().nth(WIDTH - 23) {
                Some((cut, _)) => format!("{}…", &words[..cut]),
                None => words,
            };
            text.push_str(&format!("{sign}{a:>9}{b:>10}  {words}\n"));
        }
        if skipped > 0 {
            text.push_str(&format!("{:>22}… {skipped} the same …\n", ""));
        }
        text
    }

    /// The comparison as a page that needs nothing else.
    #[must_use]
    pub fn page(&self) -> String {
        let mut figures = String::new();
        for (name, a, b) in self.figures() {
            let class = if a == b { "" } else { " class=\"differs\"" };
            figures.push_str(&format!("<tr{class}><th>{name}</th><td>{a}</td><td>{b}</td></tr>\n"));
        }
        let mut rows = String::new();
        for pair in &self.pairs {
            let (_, a, b, line) = parts(pair);
            let cells = |line: Option<&Line>| match line {
                None => "<td></td><td></td>".to_owned(),
                Some(line) => format!(
                    "<td class=\"t\">{}</td><td><b>{}</b> {}</td>",
                    when(line),
                    escaped(&line.actor),
                    escaped(&line.text)
                ),
            };
            let class = match pair {
                Pair::Both(a, b) if a.text == b.text => "same",
                Pair::Both(..) => "near",
                Pair::First(_) => "first",
                Pair::Second(_) => "second",
            };
            let step = if line.actor == ">" { " step" } else { "" };
            rows.push_str(&format!("<tr class=\"{class}{step}\">{}{}</tr>\n", cells(a), cells(b)));
        }
        let page = fill(
            include_str!("page/compare.html"),
            &[
                ("STYLE", STYLE),
                ("FIRST", &escaped(self.first.0)),
                ("SECOND", &escaped(self.second.0)),
                ("TOLD-FIRST", &escaped(&Self::told(self.first.1))),
                ("TOLD-SECOND", &escaped(&Self::told(self.second.1))),
                ("SUMMARY", &self.summary()),
                ("FIGURES", &figures),
                ("ROWS", &rows),
            ],
        );
        hide(page, &[self.first.1, self.second.1])
    }
}

fn when(line: &Line) -> String {
    format!("{:.1}", line.at.seconds())
}

fn parts(pair: &Pair) -> (char, Option<&Line>, Option<&Line>, &Line) {
    match pair {
        Pair::Both(a, b) => (' ', Some(a), Some(b), a),
        Pair::First(a) => ('−', Some(a), None, a),
        Pair::Second(b) => ('+', None, Some(b), b),
    }
}
