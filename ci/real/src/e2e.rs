//! Scenario files played on the cluster that KUBECONFIG names, with the operator running in it under its own
//! ServiceAccount, and the same stories played in the simulator beside them.

pub(crate) mod changes;
pub(crate) mod compare;
mod cost;
mod driver;
mod faults;
mod figures;
mod html;
mod image;
mod install;
pub(crate) mod kept;
mod lanes;
mod live;
pub(crate) mod milestones;
pub(crate) mod operator_log;
mod playable;
mod pods;
mod policy;
mod psql;
mod report;

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use anyhow::Context as _;
use ivory_sim::scenario::driver::Driver;
use ivory_sim::scenario::language::{Scenario, WorldSpec};
use ivory_sim::scenario::parse::load;
use ivory_sim::scenario::run as player;
use kube::Client;
use tokio::runtime::Runtime;

use driver::RealDriver;
use faults::Faults;
use install::{Images, NAMESPACE};
use kept::{Keeping, Kept};
use live::Live;
use playable::{Adapted, Fit};
use report::{Cost, Result as Line};

/// What is played if nothing is named: the stories that anybody would try first.
const FIRST: [&str; 7] = [
    "create",
    "replicas-added-and-removed",
    "service-deletion",
    "statefulset-loss",
    "failover",
    "cluster-deleted",
    "cluster-with-replicas-deleted",
];

/// Scenario files played on the cluster that KUBECONFIG names.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Scenario files, or names of files in scenarios/ [default: seven that everybody would try first]
    scenarios: Vec<PathBuf>,
    /// Play every scenario that a real cluster can play
    #[arg(long, conflicts_with = "scenarios")]
    all: bool,
    /// The result as JSON on standard output
    #[arg(long)]
    json: bool,
    /// Tell each story as it went
    #[arg(long, short)]
    verbose: bool,
    /// The operator's image; its tag must not be `latest`
    #[arg(long, env = "IVORY_IMAGE_OPERATOR", default_value = "ivory-operator:e2e")]
    image_operator: String,
    /// The database's image
    #[arg(
        long,
        env = "IVORY_IMAGE_DATABASE",
        default_value = "docker.io/ivorysql/ivorysql:ubi9-5.4-5.4-1"
    )]
    image_database: String,
    /// pgBackRest's image [default: the database's]
    #[arg(long, env = "IVORY_IMAGE_PGBACKREST")]
    image_pgbackrest: Option<String>,
    /// PgBouncer's image [default: the database's]
    #[arg(long, env = "IVORY_IMAGE_PGBOUNCER")]
    image_pgbouncer: Option<String>,
    /// The major version of PostgreSQL in the database's image
    #[arg(long, env = "IVORY_POSTGRES_VERSION", default_value_t = 18)]
    postgres_version: u32,
    /// A command that loads an image archive into the cluster; the archive's path is added to it, for
    /// example `kind load image-archive`. Without it the image must be there already
    #[arg(long, env = "IVORY_LOAD")]
    load: Option<String>,
    /// The operator's binary, instead of building one
    #[arg(long)]
    binary: Option<PathBuf>,
    /// Delete the IvoryClusters that are there already, as what an earlier run left behind
    #[arg(long)]
    wipe: bool,
    /// Leave the installation as it is
    #[arg(long)]
    no_install: bool,
    /// Minutes that a step may let pass by itself; of a longer one the rest is left out
    #[arg(long, default_value_t = 5)]
    patience: i64,
    /// A command for a fault that not every cluster can do, as `api_outage=COMMAND`; it is told what to break
    /// (seconds, names), and returns when it is broken. May be given several times
    #[arg(long, value_name = "FAULT=COMMAND", value_parser = faults::binding)]
    fault: Vec<(String, String)>,
    /// How many stories are played at a time, each in a namespace of its own; those that must be alone come last
    #[arg(long, default_value_t = 1)]
    lanes: usize,
    /// Write a page with both worlds side by side
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Seconds for which a quiet operator is watched at the end of each scenario
    #[arg(long, default_value_t = 60)]
    watch: i64,
}

/// Runs it; the exit status says whether all held.
///
/// # Errors
/// When it could not be run at all.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let root = root()?;
    // All are read before anything is touched: a mistake in the last file is told at once.
    let chosen = match args.scenarios.is_empty() {
        true => FIRST.map(PathBuf::from).to_vec(),
        false => args.scenarios.clone(),
    };
    let files = story_files(&chosen, args.all, &root)?;
    let scenarios: Vec<Scenario> = files
        .iter()
        .map(|f| load(f).map_err(|e| anyhow::anyhow!("{e}")))
        .collect::<Result<_, _>>()?;
    let runtime = Runtime::new()?;
    let stage = Stage::set(args, &root, runtime)?;
    let lines = stage.play_all(&scenarios, &|line| {
        if !args.json {
            report::tell(line, args.verbose);
        }
    });
    report::sum(&lines, stage.image.as_ref(), args.json);
    if let Some(file) = &args.html {
        std::fs::write(file, html::page(&lines))
            .with_context(|| format!("{} can't be written", file.display()))?;
    }
    Ok(if report::all_held(&lines) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The repository: where the manifests are.
pub(crate) fn root() -> anyhow::Result<PathBuf> {
    let here = std::env::current_dir()?;
    let above = here.ancestors().find(|p| p.join("examples/kustomize/install").is_dir());
    above.map(Path::to_path_buf).context("not inside the repository")
}

/// The files of stories, which may be named as paths or as files of `scenarios/`; all of that folder, if so wanted.
///
/// # Errors
/// If the folder can't be read.
pub(crate) fn story_files(
    named: &[PathBuf],
    all: bool,
    root: &Path,
) -> anyhow::Result<Vec<PathBuf>> {
    let folder = root.join("scenarios");
    if all {
        let entries = std::fs::read_dir(&folder)?.filter_map(|e| e.ok().map(|e| e.path()));
        let mut all: Vec<PathBuf> =
            entries.filter(|p| p.extension().is_some_and(|e| e == "yaml")).collect();
        all.sort();
        return Ok(all);
    }
    let find = |given: &PathBuf| match given.is_file() {
        true => given.clone(),
        false => folder.join(format!("{}.yaml", given.display())),
    };
    Ok(named.iter().map(find).collect())
}

/// Where stories are played, one after the other.
struct Lane {
    live: Arc<Live>,
    namespace: String,
}

impl Lane {
    async fn open(client: Client, namespace: &str, only: bool) -> anyhow::Result<Self> {
        let live = Live::watch(client, only.then(|| namespace.to_owned())).await?;
        tokio::spawn(operator_log::follow(live.clone(), NAMESPACE.to_owned()));
        Ok(Self { live, namespace: namespace.to_owned() })
    }
}

/// The cluster with the operator in it.
struct Stage {
    runtime: Runtime,
    /// For stories that must be alone, or for all.
    alone: Lane,
    /// For stories side by side.
    lanes: Vec<Lane>,
    replicas: i32,
    image_database: String,
    fit: Fit,
    commands: BTreeMap<String, String>,
    image: Option<image::Image>,
}

impl Stage {
    fn set(args: &Args, root: &Path, runtime: Runtime) -> anyhow::Result<Self> {
        if !args.wipe {
            runtime.block_on(install::refuse_strangers())?;
        }
        let folder = std::env::temp_dir().join(format!("ivory-e2e-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        let image = match (&args.load, args.no_install) {
            (Some(load), false) => {
                let binary = match &args.binary {
                    Some(binary) => binary.clone(),
                    None => image::build(root)?,
                };
                let image = image::pack(&binary, &args.image_operator, &folder)?;
                image::load(load, &image.archive)?;
                Some(image)
            }
            _ => None,
        };
        let database = &args.image_database;
        let images = Images {
            operator: args.image_operator.clone(),
            digest: image.as_ref().map(|i| i.digest.clone()).unwrap_or_default(),
            database: database.clone(),
            pgbackrest: args.image_pgbackrest.as_ref().unwrap_or(database).clone(),
            pgbouncer: args.image_pgbouncer.as_ref().unwrap_or(database).clone(),
            version: args.postgres_version,
        };
        let (alone, lanes, replicas) = runtime.block_on(async {
            let client = Client::try_default().await.context("KUBECONFIG names no cluster")?;
            let replicas = match args.no_install {
                true => 2,
                false => install::install(&client, root, &folder, &images).await?,
            };
            let alone = Lane::open(client.clone(), NAMESPACE, false).await?;
            // Nobody else asks anything of the operator then.
            tokio::spawn(cost::follow(alone.live.clone(), NAMESPACE.to_owned()));
            let mut lanes = Vec::new();
            for number in (1..=args.lanes).filter(|_| args.lanes > 1) {
                let namespace = lanes::namespace(number);
                install::make_namespace(&namespace)?;
                lanes.push(Lane::open(client.clone(), &namespace, true).await?);
            }
            anyhow::Ok((alone, lanes, replicas))
        })?;
        let _ = std::fs::remove_dir_all(&folder);
        let commands: BTreeMap<String, String> = args.fault.iter().cloned().collect();
        let fit = Fit::of(&alone.live, args, commands.keys().cloned().collect());
        let image_database = images.database;
        Ok(Self { runtime, alone, lanes, replicas, image_database, fit, commands, image })
    }

    /// Plays all, and tells of each as it ends; the lines come in the order of the stories.
    fn play_all(
        &self,
        scenarios: &[Scenario],
        tell: &(dyn Fn(&Line) + std::marker::Sync),
    ) -> Vec<Line> {
        let lines: Mutex<BTreeMap<usize, Line>> = Mutex::default();
        let ended = |index: usize, line: Line| {
            // The lock also keeps two stories from being told at once.
            let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
            tell(&line);
            lines.insert(index, line);
        };
        let (mut shared, mut single) = (VecDeque::new(), Vec::new());
        for (index, scenario) in scenarios.iter().enumerate() {
            match self.fit.adapt(scenario) {
                Err(reason) => ended(index, Line::skipped(scenario, reason)),
                Ok(adapted) if self.lanes.is_empty() => single.push((index, adapted)),
                Ok(adapted) => match lanes::moved(&adapted.real, "elsewhere") {
                    Some(_) => shared.push_back((index, adapted)),
                    None => single.push((index, adapted)),
                },
            }
        }
        let shared = Mutex::new(shared);
        let next = || shared.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        std::thread::scope(|scope| {
            for lane in &self.lanes {
                scope.spawn(|| {
                    while let Some((index, adapted)) = next() {
                        ended(index, self.play(lane, &scenarios[index], adapted));
                    }
                });
            }
        });
        for (index, adapted) in single {
            ended(index, self.play(&self.alone, &scenarios[index], adapted));
        }
        lines.into_inner().unwrap_or_else(PoisonError::into_inner).into_values().collect()
    }

    fn play(&self, lane: &Lane, scenario: &Scenario, adapted: Adapted) -> Line {
        let Lane { live, namespace } = lane;
        // A story that is alone is played where it says.
        let real = match std::ptr::eq(lane, &self.alone) {
            true => Some(adapted.real),
            false => lanes::moved(&adapted.real, namespace),
        };
        let Some(real) = real else {
            return Line::broken(scenario, "it can't be moved".to_owned());
        };
        let began = Instant::now();
        let clean = install::clean(live, namespace, self.replicas);
        if let Err(error) = self.runtime.block_on(clean) {
            return Line::broken(scenario, format!("before the story: {error:#}"));
        }
        let kept = Kept::default();
        live.begin();
        let driver = |_: &WorldSpec, _: bool| Ok(self.driver(lane, &kept));
        let outcome = match player::run(&real, None, false, &driver) {
            Ok(outcome) => outcome,
            Err(error) => return Line::broken(scenario, error),
        };
        let silent = outcome.failure.is_none() && scenario.finale.writes_when_quiet == Some(0);
        let idle_requests = silent
            .then(|| cost::per_minute(&live.requests(), live.now(), self.fit.watched))
            .flatten();
        let mut clients = Vec::new();
        for app in kept.apps() {
            self.runtime.block_on(app.finish(live));
            clients.push(app.account(live.now()));
        }
        let simulated = Kept::default();
        let build = |world: &WorldSpec, trace: bool| {
            let inner = ivory_sim::lab::site::build(world, trace)?;
            Ok(Box::new(Keeping { inner, kept: simulated.clone() }) as Box<dyn Driver>)
        };
        let in_sim = player::run(&adapted.simulated, None, false, &build);
        let (here, there) = (kept.journal(), simulated.journal());
        let cost = Cost { took_s: began.elapsed().as_secs_f64(), idle_requests };
        Line::played((&real, adapted.left_out), outcome, &clients, &here, in_sim, &there, cost)
    }

    fn driver(&self, lane: &Lane, kept: &Kept) -> Box<dyn Driver> {
        Box::new(RealDriver {
            handle: self.runtime.handle().clone(),
            live: lane.live.clone(),
            faults: Faults {
                namespace: NAMESPACE.to_owned(),
                replicas: self.replicas,
                image: self.image_database.clone(),
                commands: self.commands.clone(),
            },
            image: self.image_database.clone(),
            kept: kept.clone(),
            journal: Vec::new(),
            apps: BTreeMap::new(),
        })
    }
}
