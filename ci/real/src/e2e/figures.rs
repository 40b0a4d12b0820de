//! The times that a journal holds: how long until a cluster was ready, until its first backup, until what was
//! deleted was back. Seconds, by name.

use ivory_sim::world::journal::{Entry, Milestone};

/// The figures of a story, in the order in which they came about.
pub(crate) fn figures(journal: &[Entry]) -> Vec<(String, f64)> {
    let at = |e: &Entry| e.at.seconds();
    let first = |is: &dyn Fn(&Milestone) -> bool| journal.iter().find(|e| is(&e.what)).map(at);
    let mut all = Vec::new();
    let applied = first(&|m| matches!(m, Milestone::Step { text } if text.starts_with("apply ")));
    let ready = first(
        &|m| matches!(m, Milestone::Condition { kind, status, .. } if kind == "Ready" && status == "True"),
    );
    let saved = first(&|m| matches!(m, Milestone::JobEnded { succeeded: true, .. }));
    if let (Some(applied), Some(ready)) = (applied, ready) {
        all.push(("ready after apply".to_owned(), ready - applied));
    }
    if let (Some(ready), Some(saved)) = (ready, saved) {
        all.push(("first backup after ready".to_owned(), saved - ready));
    }
    for (index, entry) in journal.iter().enumerate() {
        let Milestone::Step { text } = &entry.what else { continue };
        let Some(deleted) = text.strip_prefix("delete ") else { continue };
        let kind = deleted.split(' ').next().unwrap_or_default();
        // `Service hippo-ha`, or `StatefulSet of primary`, whose name the step does not say.
        let whole = if deleted.contains(" of ") { format!("{kind} ") } else { deleted.to_owned() };
        let made = |e: &&Entry| match &e.what {
            Milestone::Wrote { verb: "create", object, .. } => object.starts_with(&whole),
            _ => false,
        };
        if let Some(back) = journal[index..].iter().find(made) {
            all.push((format!("{deleted} is back"), at(back) - at(entry)));
        }
    }
    all
}
