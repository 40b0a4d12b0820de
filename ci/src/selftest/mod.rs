//! Whether the gates can fail: each is shown a copy of the tree with one thing wrong, and must name it.
//!
//! A gate that is green on a broken tree is worse than none. What is wrong, and by which words the
//! gate must show that it saw just that, is the table in `plants`.

mod plants;

use std::time::Instant;

use anyhow::Context as _;

use crate::copy::Copy;
use crate::finding::Finding;
use crate::gates::{Gate, Outcome};
use crate::tree::Tree;
use plants::{PLANTS, Plant};

/// Tries every plant, one after the other, each on a copy that is otherwise as the original.
pub(crate) fn run(tree: &Tree, show: &mut impl FnMut(Outcome)) -> anyhow::Result<()> {
    let copy = Copy::of(tree, "selftest", |_| false)?;
    for plant in PLANTS {
        let start = Instant::now();
        let tried = attempt(plant, &copy);
        copy.restore(tree)?;
        let findings =
            tried.unwrap_or_else(|error| vec![Finding::fail(plant.gate, format!("{error:#}"))]);
        show(Outcome {
            gate: format!("selftest {}: {}", plant.gate, plant.what),
            ok: findings.is_empty(),
            seconds: start.elapsed().as_secs_f64(),
            findings,
        });
    }
    copy.remove()
}

/// Plants one thing. Returns what is wrong with the gate: signs that it did not give, or gave before.
fn attempt(plant: &Plant, copy: &Copy) -> anyhow::Result<Vec<Finding>> {
    let gate = Gate::named(plant.gate).context("no such gate")?;
    let signs_in = |outcome: &Outcome| -> Vec<&str> {
        let found: Vec<String> = outcome
            .findings
            .iter()
            .filter(|finding| finding.fails())
            .map(Finding::to_string)
            .collect();
        let given = |sign: &&&str| {
            found.iter().any(|line| line.contains(plant.mark) && line.contains(**sign))
        };
        plant.signs.iter().filter(given).copied().collect()
    };
    // A mark of the plant's own can't have been there before; the others have to be looked for.
    let before = if plant.mark.contains(plants::MARK) {
        Vec::new()
    } else {
        signs_in(&gate.outcome(&copy.tree))
    };
    (plant.put)(copy)?;
    let outcome = gate.outcome(&copy.tree);
    let after = signs_in(&outcome);
    let mut wrong = Vec::new();
    for sign in plant.signs {
        let (mark, gate) = (plant.mark, plant.gate);
        if before.contains(sign) {
            let what = format!("finds `{mark} … {sign}` before it is planted: mend that first");
            wrong.push(Finding::fail(gate, what));
        } else if !after.contains(sign) {
            let said: Vec<String> =
                outcome.findings.iter().take(3).map(Finding::to_string).collect();
            let what = format!("did not find `{mark} … {sign}`, but:\n{}", said.join("\n"));
            wrong.push(Finding::fail(gate, what));
        }
    }
    Ok(wrong)
}
