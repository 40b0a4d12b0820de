//! The operator's process, and what the kernel says of it.

use std::process::{Child, Command};

use anyhow::Context as _;

/// Clock ticks a second, as `/proc` counts CPU time: the same on every Linux.
const TICKS: f64 = 100.0;

/// A process that is ended with this value.
pub(super) struct Process {
    child: Child,
}

impl Process {
    /// Starts a command line with KUBECONFIG set.
    pub(super) fn start(line: &str, kubeconfig: &std::path::Path) -> anyhow::Result<Self> {
        // The shell gives way to the command, so that its process is the operator's.
        let mut command = Command::new("sh");
        command.args(["-c", &format!("exec {line}")]).env("KUBECONFIG", kubeconfig);
        let child = command.spawn().with_context(|| format!("{line} could not be started"))?;
        Ok(Self { child })
    }

    /// Fails when it has ended.
    pub(super) fn check(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => anyhow::bail!("the operator ended: {status}"),
        }
    }

    /// CPU time that it has used so far.
    pub(super) fn cpu_seconds(&self) -> anyhow::Result<f64> {
        let stat = self.proc("stat")?;
        // The name in parentheses may hold anything; what follows is numbers.
        let (_, rest) = stat.rsplit_once(')').context("/proc/PID/stat has no name")?;
        let field = |n: usize| rest.split_whitespace().nth(n).and_then(|f| f.parse::<f64>().ok());
        let (user, system) = field(11).zip(field(12)).context("/proc/PID/stat is too short")?;
        Ok((user + system) / TICKS)
    }

    /// Resident memory now, and the most that it ever was.
    pub(super) fn rss_mib(&self) -> anyhow::Result<(f64, f64)> {
        let status = self.proc("status")?;
        let kib = |key: &str| {
            let line = status.lines().find_map(|l| l.strip_prefix(key))?;
            line.split_whitespace().next()?.parse::<f64>().ok()
        };
        let (now, peak) =
            kib("VmRSS:").zip(kib("VmHWM:")).context("/proc/PID/status lacks VmRSS")?;
        Ok((now / 1024.0, peak / 1024.0))
    }

    fn proc(&self, file: &str) -> anyhow::Result<String> {
        let path = format!("/proc/{}/{file}", self.child.id());
        std::fs::read_to_string(&path).with_context(|| format!("{path} can't be read"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
