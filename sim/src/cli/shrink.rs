//! `ivory-sim shrink`: a story that fails, drawn or written, becomes the smallest that fails in the same way.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the command line keeps to a budget of time"
)]

use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::Value;

use super::ui::Ui;
use super::{ShrinkArgs, Trouble};
use crate::explore::drawn::{Bad, play};
use crate::explore::shrink::shrink;
use crate::explore::swarm;
use crate::lab::site::build;

pub(super) fn run(args: &ShrinkArgs) -> Result<(), Trouble> {
    let begin = Instant::now();
    let (story, folder) = match (&args.seed, &args.file) {
        (Some(seed), _) => (swarm::story(*seed), PathBuf::from(".")),
        (None, Some(file)) => read(file)?,
        (None, None) => return Err(Trouble::Broken("name a file, or --seed N".to_owned())),
    };
    let ui = Ui::of_stdout();
    let Some(bad) = play(&story, &folder, &build)?.bad else {
        return Err(Trouble::Broken(
            "the story does not fail, so there is nothing to shrink".into(),
        ));
    };
    let mut tried = 0_usize;
    let small = shrink(&story, &mut |candidate| {
        if begin.elapsed() >= args.budget {
            return None;
        }
        tried += 1;
        // A candidate that is no story, or whose world can't be made, fails in another way.
        let same = play(candidate, &folder, &build).ok().and_then(|p| p.bad);
        Some(same.is_some_and(|b: Bad| b.key == bad.key))
    });
    let mut small = small;
    small["description"] = described(&bad).into();
    let text = swarm::text(&small)?;
    let count = |s: &Value| s["steps"].as_array().map_or(0, Vec::len);
    let note = format!(
        "{} steps of {}, after {tried} tries and {:.0} s",
        count(&small),
        count(&story),
        begin.elapsed().as_secs_f64()
    );
    match &args.write {
        Some(file) => {
            std::fs::write(file, &text).map_err(|e| format!("{}: {e}", file.display()))?;
            line!("{} {}: {note}", ui.green("✓"), file.display());
        }
        None => {
            text!("{text}");
            line!("{}", ui.dim(&format!("# {note}")));
        }
    }
    Ok(())
}

/// What the story shows, for its author to put into better words.
fn described(bad: &Bad) -> String {
    let wrong = bad.failure.wrong.join("; ");
    format!("Found by exploration. It broke promise {}: {wrong}\n", bad.promise.text())
}

/// A story's file as a value, and the folder that its manifests are looked for from.
fn read(file: &Path) -> Result<(Value, PathBuf), Trouble> {
    let text = std::fs::read_to_string(file).map_err(|e| format!("{}: {e}", file.display()))?;
    let story: Value =
        serde_saphyr::from_str(&text).map_err(|e| format!("{}: {e}", file.display()))?;
    let folder = file.parent().map_or_else(|| PathBuf::from("."), Path::to_path_buf);
    Ok((story, folder))
}
