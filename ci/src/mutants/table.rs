//! The report as a person reads it, within 100 columns.

use super::detect::DETECTORS;
use super::report::{Report, Row, per_cent};

/// Survivors, then figures.
pub(super) fn table(report: &Report) -> String {
    let mut lines = Vec::new();
    let survivors: Vec<&Row> = report.rows.iter().filter(|row| row.kill.is_none()).collect();
    for row in &survivors {
        lines.push(format!("survives  {}", cut(&row.name, 90)));
        lines.push(format!("          {}", cut(&row.text, 90)));
        match &row.explained {
            Some(why) => lines.push(format!("          because {}", cut(why, 82))),
            None => lines.push("          not explained".to_owned()),
        }
    }
    lines.push(format!("\n{:<14} {:>8} {:>8} {:>7}", "module", "mutants", "killed", "%"));
    for (module, share) in &report.by_module {
        let rate = per_cent(share.killed, share.mutants);
        lines.push(format!("{module:<14} {:>8} {:>8} {rate:>7.1}", share.mutants, share.killed));
    }
    let noticed = format!("notices of {}", report.matrix.len());
    lines.push(format!("\n{:<14} {:>8} {:>8} {noticed:>14}", "detector", "first", "%"));
    for detector in DETECTORS {
        let first = report.by_detector.get(detector).copied().unwrap_or_default();
        let rate = per_cent(first, report.mutants);
        let of = report.matrix.values().filter(|row| row.get(detector) == Some(&true)).count();
        lines.push(format!("{detector:<14} {first:>8} {rate:>8.1} {of:>14}"));
    }
    let unexplained = survivors.iter().filter(|row| row.explained.is_none()).count();
    lines.push(format!(
        "\n{} of {} mutants killed, {:.1} %; {} survive, {unexplained} of them unexplained",
        report.killed,
        report.mutants,
        report.kill_rate,
        survivors.len(),
    ));
    lines.join("\n")
}

/// A text that is too long loses its end.
fn cut(text: &str, width: usize) -> String {
    match text.chars().count() > width {
        true => text.chars().take(width - 1).chain(['…']).collect(),
        false => text.to_owned(),
    }
}
