//! What must be on this machine: Patroni, PostgreSQL, and the right to make containers. What is missing is said with
//! the words that bring it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail, ensure};
use ivory_sim::patroni::config::Version;

/// What there is.
#[derive(Clone, Debug)]
pub(super) struct Needs {
    /// Patroni's program.
    pub(super) patroni: PathBuf,
    /// Its version.
    pub(super) version: Version,
    /// PostgreSQL's programs.
    pub(super) postgres: PathBuf,
    /// PostgreSQL's major version.
    pub(super) major: u32,
}

/// How both are installed.
const INSTALL: &str = "install them, as root:\n  \
    apt-get install postgresql python3-venv\n  \
    /usr/bin/python3 -m venv /opt/patroni && /opt/patroni/bin/pip install 'patroni==4.1.4' 'psycopg[binary]'\n\
    and say `--patroni /opt/patroni/bin/patroni`, or take the distribution's: apt-get install patroni";

impl Needs {
    /// Looks for everything.
    pub(super) fn find(patroni: Option<&Path>, postgres: Option<&Path>) -> anyhow::Result<Self> {
        let patroni = match patroni {
            Some(path) => path.to_owned(),
            None => {
                on_path("patroni").with_context(|| format!("no `patroni` on PATH; {INSTALL}"))?
            }
        };
        let said = output(Command::new(&patroni).arg("--version"))
            .with_context(|| format!("{} does not run; {INSTALL}", patroni.display()))?;
        let version = said.split_whitespace().last().and_then(Version::parse);
        let version = version.with_context(|| format!("`patroni --version` says {said:?}"))?;
        let postgres = match postgres {
            Some(path) => path.to_owned(),
            None => {
                newest_postgres().with_context(|| format!("no PostgreSQL server; {INSTALL}"))?
            }
        };
        let said = output(Command::new(postgres.join("postgres")).arg("--version"))
            .with_context(|| format!("{} has no `postgres`; {INSTALL}", postgres.display()))?;
        let digits: String = said.chars().skip_while(|c| !c.is_ascii_digit()).collect();
        let major = digits.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
        let major = major.parse().with_context(|| format!("`postgres --version` says {said:?}"))?;
        for program in ["unshare", "nsenter", "setpriv"] {
            ensure!(on_path(program).is_some(), "no `{program}`: apt-get install util-linux");
        }
        let may = Command::new("unshare").args(["--mount", "--pid", "--fork", "true"]).output();
        if !may.is_ok_and(|o| o.status.success()) {
            bail!("members run in namespaces of their own, which only root may make");
        }
        Ok(Self { patroni, version, postgres, major })
    }
}

fn output(command: &mut Command) -> anyhow::Result<String> {
    let output = command.output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// Where Debian has its servers.
fn newest_postgres() -> Option<PathBuf> {
    let folders = std::fs::read_dir("/usr/lib/postgresql").ok()?.flatten();
    let version = |path: &Path| path.file_name()?.to_str()?.parse::<u32>().ok();
    let servers =
        folders.map(|entry| entry.path()).filter(|path| path.join("bin/postgres").is_file());
    Some(servers.max_by_key(|path| version(path))?.join("bin"))
}
