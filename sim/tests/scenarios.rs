//! Every story of `scenarios/`: it comes out as it should, is told as `snapshots/` has it, and is the same
//! when it is played again.

use std::path::Path;

use ivory_sim::cli::whole;
use ivory_sim::lab::site::build;
use ivory_sim::scenario::{parse::load, run::run};

fn story(path: &Path) -> datatest_stable::Result<()> {
    let scenario = load(path)?;
    let outcome = run(&scenario, None, false, &build)?;
    if let Some(failure) = &outcome.failure {
        let wrong = failure.wrong.join("\n  ");
        let told = &outcome.transcript;
        let (line, step) = (failure.at.line, &failure.step);
        return Err(format!("{}:{line}: {step}\n  {wrong}\n\n{told}", scenario.file).into());
    }
    let again = run(&scenario, None, false, &build)?;
    assert_eq!(outcome.digest, again.digest, "two runs of one seed differ");
    assert_eq!(outcome.transcript, again.transcript);
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(Path::new(env!("CARGO_MANIFEST_DIR")).join("../snapshots"));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(scenario.name.as_str(), whole(&scenario, &outcome)));
    Ok(())
}

datatest_stable::harness! {
    { test = story, root = "../scenarios", pattern = r"^.*\.yaml$" },
}
