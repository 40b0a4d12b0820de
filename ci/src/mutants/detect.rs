//! Who may notice that core is broken: five detectors, the cheapest first. Each runs programs, and each program has to
//! end well; one that takes too long has noticed too.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, anyhow, bail, ensure};
use serde::{Deserialize, Serialize};

use super::build::{Built, VARIABLE};
use super::sites::Site;

/// The detectors, cheapest first.
pub(super) const DETECTORS: [&str; 5] = ["unit", "property", "scenario", "sweep", "swarm"];

/// Stories that are swept: a new cluster, a handover, taking away.
const SWEPT: [&str; 3] = ["create", "switchover", "replicas-added-and-removed"];
/// How long each is swept: without a mutant, most of the cuts are tried by then.
const BUDGET: &str = "60s";
/// Seeds of exploration.
const SEEDS: std::ops::Range<u64> = 1000..1030;
/// Without a mutant everything ends sooner than this.
const PATIENCE: Duration = Duration::from_secs(1800);
/// What is known of programs without a mutant, in the copy.
const KEPT: &str = "target/baseline.json";
/// A program may take so much longer than without a mutant, and so many seconds more.
const SLOWER: f64 = 6.0;
const GRACE_S: f64 = 30.0;
/// How much longer it may take the second time.
const PATIENT: u32 = 4;
/// How much memory a program may take, in KiB: a mutant may ask for more and more.
const MEMORY_KIB: u64 = 4 << 20;

/// One program that has to end well.
#[derive(Clone)]
struct Trial {
    detector: String,
    /// What it is called in the report, when no test says its own name.
    name: String,
    program: PathBuf,
    args: Vec<String>,
}

/// All programs, in order.
pub(super) struct Detectors {
    root: PathBuf,
    stamps: Stamps,
    trials: Vec<Trial>,
    /// How long each takes without a mutant, in seconds; nothing of one that fails.
    alone: Mutex<BTreeMap<String, Option<f64>>>,
    /// Held by who finds that out.
    trying: Mutex<()>,
}

/// Which programs were tried.
type Stamps = Vec<(PathBuf, SystemTime)>;

/// How a mutant was noticed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Kill {
    /// Which detector.
    pub(super) detector: String,
    /// Which test, story or seed.
    pub(super) by: String,
    /// Whether it was noticed by taking too long.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) timeout: bool,
}

/// What one program came to.
enum End {
    Well,
    /// Something failed: the test's name, if there is one.
    Badly(Option<String>),
    TooLate,
}

impl Trial {
    /// The same with the tests of one file of core alone.
    fn of(&self, file: &str) -> Self {
        let path = file.trim_start_matches("core/src/").trim_end_matches(".rs");
        let path = path.trim_end_matches("/mod").replace('/', "::") + "::";
        Self { args: [self.args.clone(), vec![path]].concat(), ..self.clone() }
    }
}

impl Detectors {
    /// The detectors. How each does without a mutant is seen before it is first asked, and kept beside the copy for
    /// as long as the programs are the same.
    ///
    /// # Errors
    /// If a program is missing.
    pub(super) fn of(built: &Built, properties: &BTreeSet<String>) -> anyhow::Result<Self> {
        let mut stamps = Stamps::new();
        for path in built.programs.values() {
            stamps.push((path.clone(), fs::metadata(path)?.modified()?));
        }
        let root = built.root.clone();
        let kept: Option<(Stamps, BTreeMap<String, Option<f64>>)> =
            fs::read(root.join(KEPT)).ok().and_then(|text| serde_json::from_slice(&text).ok());
        let alone = kept.filter(|(then, _)| *then == stamps).map(|(_, alone)| alone);
        Ok(Self {
            root,
            stamps,
            trials: plan(built, properties)?,
            alone: Mutex::new(alone.unwrap_or_default()),
            trying: Mutex::new(()),
        })
    }

    /// How long a program takes without a mutant; none if it is a seed that fails on sound code, which is a matter
    /// of its own.
    ///
    /// # Errors
    /// If another fails.
    fn alone(&self, trial: &Trial) -> anyhow::Result<Option<f64>> {
        let died = "a thread died";
        let key = format!("{} {}", trial.detector, trial.name);
        let known = || anyhow::Ok(self.alone.lock().map_err(|_| anyhow!(died))?.get(&key).copied());
        if let Some(alone) = known()? {
            return Ok(alone);
        }
        // One at a time, and whoever else needs it waits.
        let _one = self.trying.lock().map_err(|_| anyhow!(died))?;
        if let Some(alone) = known()? {
            return Ok(alone);
        }
        let start = Instant::now();
        let alone = match self.run(trial, None, PATIENCE)? {
            End::Well => Some(start.elapsed().as_secs_f64()),
            _ if trial.detector == "swarm" => None,
            End::Badly(test) => bail!(
                "{} {} fails without a mutant ({}): mend that first",
                trial.detector,
                trial.name,
                test.unwrap_or_default()
            ),
            End::TooLate => {
                bail!("{} {} does not end without a mutant", trial.detector, trial.name)
            }
        };
        let mut all = self.alone.lock().map_err(|_| anyhow!(died))?;
        all.insert(key, alone);
        fs::write(self.root.join(KEPT), serde_json::to_vec(&(&self.stamps, &*all))?)?;
        Ok(alone)
    }

    /// Whether a detector notices this mutant.
    ///
    /// # Errors
    /// If a program can't be run, or fails without a mutant.
    pub(super) fn notice(&self, mutant: &Site, detector: &str) -> anyhow::Result<Option<Kill>> {
        for trial in self.trials.iter().filter(|t| t.detector == detector) {
            let Some(took_s) = self.alone(trial)? else { continue };
            let allowed = Duration::from_secs_f64(took_s * SLOWER + GRACE_S);
            let on = Some(mutant.number());
            // Most are noticed by the tests beside them, which take no time.
            let beside = if trial.detector == "unit" {
                self.run(&trial.of(&mutant.file), on, allowed)?
            } else {
                End::Well
            };
            let mut end =
                if matches!(beside, End::Well) { self.run(trial, on, allowed)? } else { beside };
            // A machine that is busy is late with sound code too.
            if matches!(end, End::TooLate) {
                end = self.run(trial, on, allowed * PATIENT)?;
            }
            let (by, timeout) = match end {
                End::Well => continue,
                End::Badly(test) => (test.unwrap_or_else(|| trial.name.clone()), false),
                End::TooLate => (trial.name.clone(), true),
            };
            return Ok(Some(Kill { detector: trial.detector.clone(), by, timeout }));
        }
        Ok(None)
    }

    /// Runs a program, and stops it at its first failed test.
    fn run(&self, trial: &Trial, mutant: Option<u64>, allowed: Duration) -> anyhow::Result<End> {
        let deadline = Instant::now() + allowed;
        let mut child = self.start(trial, mutant)?;
        let out = BufReader::new(child.stdout.take().context("its output")?);
        let (sender, lines) = channel();
        let reader = std::thread::spawn(move || {
            out.lines().map_while(Result::ok).take_while(|l| sender.send(l.clone()).is_ok()).count()
        });
        let mut end = None;
        while end.is_none() {
            match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    let failed =
                        line.strip_prefix("test ").and_then(|l| l.strip_suffix(" ... FAILED"));
                    end = failed.map(|test| End::Badly(Some(test.trim().to_owned())));
                }
                Err(RecvTimeoutError::Timeout) => end = Some(End::TooLate),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        if end.is_some() {
            child.kill().context("stop it")?;
        }
        let status = child.wait()?;
        drop(lines);
        let _ = reader.join();
        // Whoever stops the run stops these too; that is nobody's finding.
        if end.is_none() && matches!(status.signal(), Some(1 | 2 | 15)) {
            bail!("{} was stopped from outside", trial.name);
        }
        Ok(end.unwrap_or(if status.success() { End::Well } else { End::Badly(None) }))
    }

    fn start(&self, trial: &Trial, mutant: Option<u64>) -> anyhow::Result<Child> {
        let limited = format!("ulimit -v {MEMORY_KIB} 2>/dev/null; exec \"$0\" \"$@\"");
        let mut command = Command::new("sh");
        command.args(["-c", &limited]).arg(&trial.program).args(&trial.args);
        // Tests read files beside them; those of the simulator stand in its folder, the program at the root.
        let folder = match trial.detector.as_str() {
            "unit" => "core",
            "property" | "scenario" if trial.name == "core" => "core",
            "property" | "scenario" => "sim",
            _ => "",
        };
        command
            .current_dir(self.root.join(folder))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .env("NO_COLOR", "1")
            .env("INSTA_UPDATE", "no")
            .env("PROPTEST_RNG_SEED", "1")
            .env_remove(VARIABLE);
        if let Some(number) = mutant {
            command.env(VARIABLE, number.to_string());
        }
        command.spawn().with_context(|| trial.program.display().to_string())
    }
}

fn program(built: &Built, name: &str) -> anyhow::Result<PathBuf> {
    built.programs.get(name).cloned().with_context(|| format!("{name} was not built"))
}

/// All programs that are built, in order.
fn plan(built: &Built, properties: &BTreeSet<String>) -> anyhow::Result<Vec<Trial>> {
    let trial = |detector: &str, name: &str, program: &Path, args: Vec<String>| Trial {
        detector: detector.to_owned(),
        name: name.to_owned(),
        program: program.to_owned(),
        args,
    };
    let one = || vec!["--test-threads".to_owned(), "1".to_owned()];
    let core = program(built, "ivory_core")?;
    let listed = Command::new(&core).args(["--list", "--format=terse"]).output()?;
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let tests: Vec<&str> = listed.lines().filter_map(|l| l.strip_suffix(": test")).collect();
    // Those of whole plans are properties too, though written without a generator.
    let is_property = |test: &&&str| {
        let last = test.rsplit("::").next().unwrap_or_default();
        test.starts_with("steps::tests::") || properties.contains(last)
    };
    let (mut property, mut unit) = (one(), one());
    for test in tests.iter().filter(is_property) {
        property.push((*test).to_owned());
        unit.extend(["--skip".to_owned(), (*test).to_owned()]);
    }
    ensure!(property.len() > 2 && tests.len() > property.len(), "core's tests are missing");
    property.push("--exact".to_owned());
    let mut trials = vec![trial("unit", "core", &core, unit)];
    if !built.has_simulator() {
        return Ok(trials);
    }
    trials.extend([
        trial("property", "core", &core, property),
        trial("property", "kube_laws", &program(built, "kube_laws")?, one()),
        trial("property", "worlds", &program(built, "worlds")?, one()),
        trial("scenario", "scenarios", &program(built, "scenarios")?, one()),
    ]);
    for story in SWEPT {
        let args = ["sweep", story, "--json", "--jobs", "1", "--budget", BUDGET].map(str::to_owned);
        trials.push(trial("sweep", story, &program(built, "ivory-sim")?, args.into()));
    }
    for seed in SEEDS {
        let args = ["explore", "--json", "--seed", &seed.to_string()].map(str::to_owned);
        let name = format!("seed {seed}");
        trials.push(trial("swarm", &name, &program(built, "ivory-sim")?, args.into()));
    }
    Ok(trials)
}
