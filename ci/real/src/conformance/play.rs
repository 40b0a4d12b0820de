//! A script played to a side, from an empty namespace on.

use ivory_core::Kind;
use ivory_core::api::{crd_ivorycluster, crd_ivyupgrade};

use super::ask::Memory;
use super::model::{Model, namespace};
use super::normal::{Answer, Symbols};
use super::real::Real;
use super::script::Script;

/// What the model answers.
pub(crate) fn to_model(script: &Script) -> anyhow::Result<Vec<Answer>> {
    let here = "the-namespace";
    let (mut memory, mut symbols) = (Memory::new(here), Symbols::new(here));
    let mut model = Model::new();
    model.create(&namespace(here))?;
    if script.definitions {
        model.create(&crd_ivorycluster())?;
        model.create(&crd_ivyupgrade())?;
    }
    model.forget_past();
    let mut answers = Vec::new();
    for step in &script.requests {
        let ask = memory.ask(step)?;
        let raw = model.answer(&ask);
        memory.learn(&ask, &raw);
        answers.push(symbols.answer(&raw));
    }
    Ok(answers)
}

/// What a real API server answers. What the script makes is removed, whether or not it could be played to its end.
pub(crate) async fn to_real(real: &Real, script: &Script) -> anyhow::Result<Vec<Answer>> {
    let run = jiff::Timestamp::now().as_millisecond();
    let here = format!("conformance-{}-{run}", script.name);
    let mut memory = Memory::new(&here);
    real.create(Kind::Namespace, &namespace(&here)).await?;
    let answers = answers(real, script, &mut memory).await;
    let definitions = [crd_ivorycluster(), crd_ivyupgrade()];
    let mut removed = real.remove_all(&memory).await;
    if script.definitions {
        for definition in &definitions {
            let name = definition["metadata"]["name"].as_str().unwrap_or_default();
            removed = removed.and(real.remove(Kind::CustomResourceDefinition, "", name).await);
            removed = removed.and(real.settle(name, false).await);
        }
    }
    let answers = answers?;
    removed?;
    Ok(answers)
}

async fn answers(real: &Real, script: &Script, memory: &mut Memory) -> anyhow::Result<Vec<Answer>> {
    if script.definitions {
        for definition in [crd_ivorycluster(), crd_ivyupgrade()] {
            real.create(Kind::CustomResourceDefinition, &definition).await?;
            let name = definition["metadata"]["name"].as_str().unwrap_or_default();
            real.settle(name, true).await?;
        }
    }
    let mut symbols = Symbols::new(&memory.namespace);
    let mut answers = Vec::new();
    for step in &script.requests {
        let ask = memory.ask(step)?;
        let raw = real.answer(&ask).await?;
        memory.learn(&ask, &raw);
        answers.push(symbols.answer(&raw));
    }
    Ok(answers)
}
