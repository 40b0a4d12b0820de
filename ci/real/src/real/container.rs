//! One member in a small container: own processes, own files, an address of this machine's loopback network. Killing
//! it ends all of it at once, as a node's death does.

use std::fmt::Write as _;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, bail};
use ivory_core::read::Output;
use ivory_core::{Sensitive, names};
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, Command};

use super::cluster::{Cluster, Member};
use super::needs::Needs;

/// The user of the published images, by number.
const USER: u32 = 26;
const SCRIPT: &str = include_str!("container.sh");

/// One member's container, running or not.
pub(super) struct Container {
    home: PathBuf,
    env: Vec<(String, String)>,
    startup: Vec<String>,
    patroni: PathBuf,
    running: Option<Child>,
}

impl Container {
    /// Lays out the files of a member. `api` is where the API server listens, with its authority's certificate.
    pub(super) fn new(
        cluster: &Cluster,
        member: &Member,
        needs: &Needs,
        folder: &Path,
        api: (std::net::SocketAddr, &str),
    ) -> anyhow::Result<Self> {
        let home = folder.join(&member.pod);
        for part in ["root", "pgdata", "serviceaccount", "files/pgconf", "files/etc/patroni"] {
            std::fs::create_dir_all(home.join(part))?;
        }
        chown(home.join("pgdata"), Some(USER), Some(USER))?;
        for (path, text) in &member.files {
            write(&home.join("files").join(path.trim_start_matches('/')), text)?;
        }
        let account = home.join("serviceaccount");
        write(&account.join("ca.crt"), &Sensitive::text(api.1))?;
        write(&account.join("namespace"), &Sensitive::text(super::cluster::NAMESPACE))?;
        let user = names::SUPERUSER;
        let passwd = format!("root:x:0:0:root:/:/bin/sh\n{user}:x:{USER}:{USER}::/tmp:/bin/bash\n");
        std::fs::write(home.join("passwd"), passwd)?;
        std::fs::write(home.join("group"), format!("root:x:0:\n{user}:x:{USER}:\n"))?;
        let mut hosts = "127.0.0.1 localhost\n".to_owned();
        for other in &cluster.members {
            let host = format!("{}.{}", other.pod, names::pod_service(super::cluster::NAME));
            let _ = writeln!(hosts, "{} {host}", other.ip);
        }
        std::fs::write(home.join("hosts"), hosts)?;
        let mut env: Vec<(String, String)> =
            member.env.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
        let path = std::env::var("PATH").unwrap_or_default();
        let beside = needs.patroni.parent().unwrap_or(Path::new("/"));
        env.push((
            "PATH".into(),
            format!("{}:{}:{path}", needs.postgres.display(), beside.display()),
        ));
        if let Ok(path) = std::env::var("PYTHONPATH") {
            env.push(("PYTHONPATH".into(), path));
        }
        env.push(("LANG".into(), "C.UTF-8".into()));
        // Its certificate is for names, and Patroni compares them.
        env.push(("KUBERNETES_SERVICE_HOST".into(), "localhost".into()));
        env.push(("KUBERNETES_SERVICE_PORT".into(), api.0.port().to_string()));
        let (startup, patroni) = (cluster.startup.clone(), needs.patroni.clone());
        Ok(Self { home, env, startup, patroni, running: None })
    }

    /// Gives it the token by which the API server knows it.
    pub(super) fn token(&self, token: &Sensitive) -> anyhow::Result<()> {
        write(&self.home.join("serviceaccount/token"), token)
    }

    /// Runs the init container's script, then Patroni.
    pub(super) fn start(&mut self) -> anyhow::Result<()> {
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.home.join("log"))
            .context("the log")?;
        // It ends with this program, however that ends.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--ipc", "--fork"]);
        command.args(["--kill-child", "sh", "-c", SCRIPT, "container"]);
        command.arg(&self.home).args([USER.to_string(), USER.to_string()]);
        command.args(self.environment());
        // The init container's, and then the container's own.
        command.args([
            "sh",
            "-c",
            "patroni=$1; shift; \"$@\" && exec \"$patroni\" /etc/patroni",
            "member",
        ]);
        command.arg(&self.patroni).args(&self.startup);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).kill_on_drop(true);
        self.running = Some(command.spawn().context("setpriv")?);
        Ok(())
    }

    fn environment(&self) -> Vec<String> {
        let pairs = self.env.iter().map(|(key, value)| format!("{key}={value}"));
        ["/usr/bin/env".to_owned(), "-i".to_owned()].into_iter().chain(pairs).collect()
    }

    /// The number of the first process in it.
    fn first(&self) -> anyhow::Result<String> {
        let outer = self.running.as_ref().and_then(Child::id).context("it does not run")?;
        let children = format!("/proc/{outer}/task/{outer}/children");
        let children = std::fs::read_to_string(children).context("its processes")?;
        Ok(children.split_whitespace().next().context("no process in it")?.to_owned())
    }

    /// Ends everything in it, here and now.
    pub(super) async fn kill(&mut self) -> anyhow::Result<()> {
        if let Some(mut child) = self.running.take() {
            child.kill().await?;
        }
        Ok(())
    }

    /// Runs a command in it to its end.
    pub(super) async fn run(
        &self,
        argv: &[String],
        stdin: Option<&Sensitive>,
    ) -> anyhow::Result<Output> {
        if argv.is_empty() {
            bail!("no command");
        }
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.first()?, "--mount", "--pid", "--ipc", "chroot"]);
        command.arg(format!("--userspec={USER}:{USER}")).arg(self.home.join("root"));
        command.args(self.environment()).args(argv);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.kill_on_drop(true).spawn().context("nsenter")?;
        if let Some(mut pipe) = child.stdin.take()
            && let Some(text) = stdin
        {
            // A program may end without reading all; its exit status tells.
            let _ = pipe.write_all(text.expose()).await;
        }
        let output = child.wait_with_output().await?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned().into();
        Ok(Output {
            exit: output.status.code().unwrap_or(255),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        })
    }

    /// The last lines of what it printed.
    pub(super) fn log(&self, lines: usize) -> String {
        let text = std::fs::read_to_string(self.home.join("log")).unwrap_or_default();
        let all: Vec<&str> = text.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }
}

/// Writes a file that only the member reads.
fn write(path: &Path, text: &Sensitive) -> anyhow::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
        chown(folder, Some(USER), Some(USER))?;
    }
    std::fs::write(path, text.expose()).with_context(|| path.display().to_string())?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    chown(path, Some(USER), Some(USER))?;
    Ok(())
}
