//! `ivory-sim diff`: two stories beside each other, or one story with something changed.

#![expect(clippy::disallowed_methods, reason = "the command line writes files")]

use std::path::Path;

use serde_json::json;

use super::{DiffArgs, Trouble};
use crate::look::{compare, record};
use crate::patroni::config::Version;
use crate::scenario::driver::Build;
use crate::scenario::language::{Act, Scenario};
use crate::scenario::manifests;
use crate::scenario::node::InputError;
use crate::scenario::parse::load;

/// Reads a version of Patroni.
pub(super) fn patroni(text: &str) -> Result<Version, String> {
    Version::parse(text).ok_or_else(|| "expected 3, 4 or a version like 4.0.7".to_owned())
}

pub(super) fn run(args: &DiffArgs, build: &Build<'_>) -> Result<(), Trouble> {
    let first = load(&args.first)?;
    let file = args.second.as_ref().unwrap_or(&args.first);
    let mut second = load(file)?;
    let mut name = file.display().to_string();
    if let Some(seed) = args.seed {
        second.world.seed = seed;
        name.push_str(&format!(" --seed {seed}"));
    }
    if let Some(patroni) = args.patroni {
        second.world.patroni = patroni;
        name.push_str(&format!(" --patroni {patroni}"));
    }
    if let Some(path) = &args.manifest {
        replace(&mut second, path)?;
        name.push_str(&format!(" --manifest {}", path.display()));
    }
    if args.second.is_none() && first == second {
        let wrong = "with one story, say what is different: --seed, --patroni or --manifest";
        return Err(InputError::whole(&name, wrong).into());
    }
    let a = record(&first, None, false, build)?;
    let b = record(&second, None, false, build)?;
    let one = args.first.display().to_string();
    let compared = compare((&one, &a), (&name, &b));
    text!("{}", compared.text());
    if let Some(file) = &args.html {
        std::fs::write(file, compared.page())
            .map_err(|e| format!("{} can't be written: {e}", file.display()))?;
        line!("\n{}: open it in a browser", file.display());
    }
    Ok(())
}

/// Lets the first step that applies something apply these manifests instead.
fn replace(scenario: &mut Scenario, path: &Path) -> Result<(), InputError> {
    let mut values = Vec::new();
    for manifest in manifests::load(path)? {
        let mut value = manifest.value();
        if manifest.kind.namespaced() && value["metadata"]["namespace"].is_null() {
            let namespace = json!({"metadata": {"namespace": scenario.namespace}});
            json_patch::merge(&mut value, &namespace);
        }
        values.push(value);
    }
    let step = scenario.steps.iter_mut().find(|step| matches!(step.act, Act::Apply(_)));
    let Some(step) = step else {
        let wrong =
            format!("has no step that applies anything; {} can't replace it", path.display());
        return Err(InputError::whole(&scenario.file, wrong));
    };
    step.act = Act::Apply(values);
    step.text = format!("apply {}", path.display());
    Ok(())
}
