//! `ivory-sim sweep --depth 2`: pairs of cuts, drawn by a seed until there are none left or the time is over.

#![expect(clippy::disallowed_types, reason = "the command line says how long it took")]

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Instant;

use ivory_core::hash::digest;
use serde_json::json;

use super::tell::{Sum, Tried, broken, tell_failures, tenths, thousandths};
use super::{Swept, over, seconds, verdict};
use crate::cli::threads::{in_threads, progress};
use crate::cli::ui::Ui;
use crate::cli::{SweepArgs, Trouble};
use crate::explore::cut::Cut;
use crate::explore::pairs::{Known, Sample, pairs};
use crate::explore::plan::{Cuts, Plan};
use crate::lab::site::build;

/// So many first cuts of a story are one thread's portion.
const FIRSTS: usize = 24;
/// So many second cuts are tried after each first one, before it is its turn again.
const SECONDS: usize = 8;

/// By story and first cut: how many second cuts there are, and how many of them are covered.
type Seen = BTreeMap<(usize, usize, Cut), (usize, usize)>;

pub(super) fn run(
    args: &SweepArgs,
    ui: Ui,
    swept: &Swept,
    plan: &Plan,
    (begin, until): (Instant, Option<Instant>),
) -> Result<(), Trouble> {
    let portions = portions(plan, args.seed);
    let known = Known::new(known(swept, plan));
    let (seen, tried) = (Mutex::new(Seen::new()), Mutex::new(Vec::new()));
    let firsts: usize = plan.cuts.iter().map(Vec::len).sum();
    loop {
        let before = tried.lock().expect("no thread panics with it").len();
        let bar = progress(ui, !args.json, firsts, "first cuts");
        in_threads(args.jobs, portions.len(), |index| {
            let (story, cuts) = &portions[index];
            let base = swept.bases[*story].as_ref().ok()?;
            let sample = Sample { seed: args.seed, size: SECONDS };
            let told = (&swept.stories[*story], base);
            let mut turn = cuts.iter();
            let mut on = |looked: crate::explore::pairs::Looked| {
                let Some(&(first, cut)) = turn.next() else { return false };
                let covered = (looked.all, looked.equal + looked.ends.len());
                let at = base.messages[first].at;
                let mut seen = seen.lock().expect("no thread panics with it");
                seen.insert((*story, first, cut), covered);
                let ends = looked.ends.into_iter().map(|end| Tried { story: *story, at, end });
                tried.lock().expect("no thread panics with it").extend(ends);
                bar.inc(1);
                !over(until)
            };
            if over(until) {
                return None;
            }
            // The base was made of the same world a moment ago.
            let _ = pairs(told, cuts, (swept.whose, sample), &known, &build, &mut on);
            Some(())
        });
        bar.finish_and_clear();
        let after = tried.lock().expect("no thread panics with it").len();
        if over(until) || after == before {
            break;
        }
    }
    let seen = seen.into_inner().expect("all threads have ended");
    let mut tried: Vec<Tried> = tried.into_inner().expect("all threads have ended");
    tried.sort_by_key(|t| t.story);
    tell(args, ui, swept, (&seen, firsts), &tried, seconds(begin));
    verdict(swept, &tried)
}

/// The first cuts in the order in which they are looked at: drawn by the seed, all stories by turns.
fn portions(plan: &Plan, seed: u64) -> Vec<(usize, Cuts)> {
    let mut all = Vec::new();
    for (story, cuts) in plan.cuts.iter().enumerate() {
        let mut cuts = cuts.clone();
        cuts.sort_by_cached_key(|cut| digest(&(seed, story, cut)));
        for (turn, portion) in cuts.chunks(FIRSTS).enumerate() {
            let mut portion = portion.to_vec();
            portion.sort_unstable();
            all.push((turn, story, portion));
        }
    }
    all.sort_by_key(|(turn, story, _)| (*turn, *story));
    all.into_iter().map(|(_, story, cuts)| (story, cuts)).collect()
}

/// What a sweep of single cuts covers.
fn known(swept: &Swept, plan: &Plan) -> std::collections::BTreeSet<(u64, Cut)> {
    let bases = swept.bases.iter().map(|b| b.as_ref().map_or(&[][..], |b| &b.messages));
    let all = bases.zip(&plan.cuts);
    all.flat_map(|(m, cuts)| cuts.iter().map(|(index, cut)| m[*index].key(*cut))).collect()
}

fn tell(
    args: &SweepArgs,
    ui: Ui,
    swept: &Swept,
    (seen, firsts): (&Seen, usize),
    tried: &[Tried],
    wall_s: f64,
) {
    let sum = Sum::of(tried.iter());
    let (all, covered) = seen.values().fold((0, 0), |s, v| (s.0 + v.0, s.1 + v.1));
    let equal = covered - sum.tried.min(covered);
    let looked = seen.len() as f64 / firsts.max(1) as f64;
    let share = looked * covered as f64 / all.max(1) as f64;
    if args.json {
        let told = json!({
            "scenarios": swept.stories.len(),
            "seed": args.seed,
            "cuts": sum.tried,
            "failures": sum.failed,
            "wall_s": tenths(wall_s),
            "cuts_per_s": tenths(sum.tried as f64 / wall_s.max(0.1)),
            "first_cuts": firsts,
            "first_cuts_looked_at": seen.len(),
            "pairs_seen": all,
            "equal": equal,
            "rejoined": sum.rejoined,
            "same": sum.same,
            "otherwise": sum.otherwise,
            "share": thousandths(share),
            "broken": broken(swept, tried),
        });
        return line!("{told}");
    }
    tell_failures(ui, swept, tried);
    let text = format!(
        "{} pairs of cuts in {} stories, {} failures, in {wall_s:.1} s ({:.0} a second)",
        sum.tried,
        swept.stories.len(),
        sum.failed,
        sum.tried as f64 / wall_s.max(0.1),
    );
    line!("\n{}", ui.bold(&text));
    line!("{} of {firsts} first cuts were looked at, drawn by seed {}", seen.len(), args.seed);
    line!("{all:>9} second cuts can follow them");
    line!("{equal:>9} of those equal another cut or pair and were left out");
    line!("{:>9} rejoined the undisturbed run, {} came to the same end", sum.rejoined, sum.same);
    line!("about {:.2} % of all pairs are covered", share * 100.0);
}
