//! `ivory-sim try`: a manifest in, a story and a ready cluster out.

use ivory_core::{Kind, labels};

use super::ui::{Ui, span};
use super::{Trouble, TryArgs, input, then};
use crate::scenario::driver::Build;
use crate::scenario::language::Expectation;
use crate::scenario::manifests::{self, Manifest};
use crate::scenario::node::InputError;
use crate::scenario::parse::{default_world, plain_nodes};
use crate::scenario::run::Player;
use crate::scenario::transcript::Teller;
use crate::time::Span;
use crate::view;
use crate::world::KubeId;
use crate::world::journal::Milestone;

pub(super) const KUBE: KubeId = KubeId(0);
/// How long clusters may take to become ready, in virtual time.
pub(super) const PATIENCE: Span = Span::s(1800);

pub(super) fn run(args: &TryArgs, build: &Build<'_>) -> Result<(), Trouble> {
    // Both are read before anything happens: a mistake in NEW is told at once.
    let old = manifests::load(&args.path)?;
    let new = args.then.as_deref().map(manifests::load).transpose()?;
    let clusters = input::clusters(&old);
    let Some((namespace, cluster)) = clusters.first() else {
        let file = args.path.display().to_string();
        return Err(InputError::whole(&file, "holds no IvoryCluster").into());
    };
    let mut world = default_world();
    world.seed = args.seed;
    world.kubes[0].nodes = plain_nodes(args.nodes);
    let mut player = Player::new(build(&world, false)?, cluster, namespace);
    let ui = Ui::of_stdout();
    let text = format!("apply {}", args.path.display());
    player.driver.remark(Milestone::Step { text });
    input::apply(&mut player, &old)?;
    let ready = until_ready(&mut player, &clusters);
    let told = player.driver.journal().len();
    text!("{}", tell(&player, 0));
    if let Err(wrong) = ready {
        line!();
        return Err(not_ready(ui, &wrong));
    }
    line!(
        "{}\n",
        ui.bold(&format!(
            "Ready after {}, with {} writes of the operator.",
            span(player.driver.now().seconds()),
            player.writes()
        ))
    );
    show(ui, &player, &clusters);
    if args.objects {
        text!("{}", objects(&player, &clusters));
    }
    match new {
        Some(new) => edit(ui, args, &mut player, (&old, &new), told),
        None => Ok(()),
    }
}

fn edit(
    ui: Ui,
    args: &TryArgs,
    player: &mut Player,
    (old, new): (&[Manifest], &[Manifest]),
    told: usize,
) -> Result<(), Trouble> {
    let path = args.then.as_ref().map(|p| p.display().to_string());
    let report = then::run(player, (old, new), &path.unwrap_or_default())?;
    text!("{}", tell(player, told));
    line!("\n{}", ui.bold("What this edit does"));
    text!("{}", report.text);
    match report.wrong {
        wrong if wrong.is_empty() => Ok(()),
        wrong => Err(not_ready(ui, &wrong)),
    }
}

fn not_ready(ui: Ui, wrong: &[String]) -> Trouble {
    line!("{}", ui.red("It did not become ready:"));
    for wrong in wrong {
        line!("  {wrong}");
    }
    Trouble::Failed
}

/// Lets time pass until every cluster is ready, or is as it should be without being ready.
pub(super) fn until_ready(
    player: &mut Player,
    clusters: &[(String, String)],
) -> Result<(), Vec<String>> {
    for (namespace, cluster) in clusters {
        player.namespace.clone_from(namespace);
        let settled = settled(player, namespace, cluster);
        player.wait(&(KUBE, cluster, None), &settled, PATIENCE)?;
    }
    Ok(())
}

/// What is true of a cluster when its spec is carried out. Not every spec asks for a database that writes.
fn settled(player: &Player, namespace: &str, cluster: &str) -> Vec<Expectation> {
    let condition = |kind: &str, status: &str, reason: Option<&str>| Expectation::Condition {
        kind: kind.to_owned(),
        status: Some(status.to_owned()),
        reason: reason.map(str::to_owned),
        message: None,
    };
    let object = player.driver.get(KUBE, Kind::IvoryCluster, namespace, cluster);
    let flag = |path: &[&str]| {
        object.as_ref().and_then(|o| o.at(path)).and_then(serde_json::Value::as_bool)
    };
    let reconciled = condition("Reconciled", "True", None);
    if flag(&["spec", "paused"]) == Some(true) {
        vec![condition("Progressing", "False", Some("Paused"))]
    } else if flag(&["spec", "shutdown"]) == Some(true) {
        vec![condition("Ready", "False", Some("Shutdown")), reconciled]
    } else if object.as_ref().is_some_and(|o| o.at(&["spec", "standby"]).is_some())
        && flag(&["spec", "standby", "enabled"]) != Some(false)
    {
        vec![condition("Ready", "False", Some("Standby")), reconciled]
    } else {
        vec![Expectation::Ready(true)]
    }
}

/// The story from an entry of the journal on.
pub(super) fn tell(player: &Player, from: usize) -> String {
    Teller::new(Vec::new()).tell(&player.aliases, &player.driver.journal()[from..])
}

fn show(ui: Ui, player: &Player, clusters: &[(String, String)]) {
    let (driver, aliases) = (&*player.driver, &player.aliases);
    for namespace in namespaces(clusters) {
        line!("{}", ui.bold(&format!("In namespace {namespace}")));
        line!("{}", view::objects(driver, KUBE, namespace, aliases));
        line!("{}", view::pods(driver, KUBE, namespace, aliases));
        line!("{}", view::services(driver, KUBE, namespace, aliases));
    }
    for (namespace, cluster) in clusters {
        line!("{}", ui.bold(&format!("How to connect to {cluster}")));
        line!("{}", view::connection(driver, KUBE, namespace, cluster));
    }
}

fn namespaces(clusters: &[(String, String)]) -> Vec<&str> {
    let mut all: Vec<&str> = clusters.iter().map(|(n, _)| n.as_str()).collect();
    all.sort_unstable();
    all.dedup();
    all
}

fn objects(player: &Player, clusters: &[(String, String)]) -> String {
    let mut text = String::new();
    for namespace in namespaces(clusters) {
        for &kind in Kind::ALL.iter().filter(|k| k.namespaced() && **k != Kind::Event) {
            for object in player.driver.list(KUBE, kind, Some(namespace)) {
                text.push_str(&view::yaml(&object));
            }
        }
    }
    text
}

/// The Secret of the first user of a cluster, by name.
pub(super) fn first_user(player: &Player, namespace: &str, cluster: &str) -> Option<String> {
    let secrets = player.driver.list(KUBE, Kind::Secret, Some(namespace));
    let of_user = |s: &&std::sync::Arc<ivory_core::Object>| {
        s.label(labels::CLUSTER) == Some(cluster) && s.label(labels::PGUSER).is_some()
    };
    secrets.iter().find(of_user).map(|s| s.meta.name.to_string())
}
