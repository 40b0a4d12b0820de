//! The process of a backup Job (components.md §1.10): finds exactly one Pod by `SELECTOR` and has the backup
//! made there. Exit status 0 when it is made.

use std::collections::BTreeMap;
use std::sync::Arc;

use ivory_core::Kind;

use crate::kube::{Content, Filter, Request, Response, Verb};
use crate::pgbackrest::{BackrestReply, BackrestRequest, BackupKind};
use crate::time::Span;
use crate::world::call::{Call, Reply};
use crate::world::journal::Milestone;
use crate::world::{Actor, Cx, Input, Signal, Where};

/// What the process finds in its environment.
#[derive(Clone, Debug)]
pub struct BackupStart {
    /// The Pod's name.
    pub pod: Arc<str>,
    /// `NAMESPACE`.
    pub namespace: Arc<str>,
    /// `SELECTOR`.
    pub selector: String,
    /// `CONTAINER`: `pgbackrest` on the repository host, `database` for cloud repositories.
    pub container: String,
    /// `COMMAND_OPTS`.
    pub options: String,
    /// Contents of the mounted `config-hash`; compared when `COMPARE_HASH` is set.
    pub config_hash: Arc<str>,
    /// Whether the configuration sets `start-fast`.
    pub fast: bool,
    /// PostgreSQL's port in the instances.
    pub sql_port: u16,
}

impl BackupStart {
    /// From the container's environment.
    ///
    /// # Errors
    /// The name of the variable that is missing.
    pub fn read(
        env: &BTreeMap<String, String>,
        pod: &str,
        config_hash: &str,
        fast: bool,
    ) -> Result<Self, &'static str> {
        let var = |name: &'static str| env.get(name).cloned().ok_or(name);
        if var("COMMAND")? != "backup" {
            return Err("COMMAND");
        }
        Ok(Self {
            pod: pod.into(),
            namespace: var("NAMESPACE")?.into(),
            selector: var("SELECTOR")?,
            container: var("CONTAINER")?,
            options: var("COMMAND_OPTS")?,
            config_hash: config_hash.into(),
            fast,
            sql_port: 5432,
        })
    }
}

/// One requirement of a selector's text.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Requirement {
    Exists(String),
    In(String, Vec<String>),
}

/// Reads `a=b,c,d in (e,f)`.
fn requirements(text: &str) -> Vec<Requirement> {
    let mut list = Vec::new();
    let mut depth = 0;
    let parts = text.split(|c: char| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        c == ',' && depth == 0
    });
    for part in parts.map(str::trim).filter(|p| !p.is_empty()) {
        if let Some((key, values)) = part.split_once(" in ") {
            let values = values.trim_matches(|c: char| "() ".contains(c)).split(',');
            list.push(Requirement::In(
                key.trim().into(),
                values.map(|v| v.trim().into()).collect(),
            ));
        } else if let Some((key, value)) = part.split_once('=') {
            let value = value.trim_start_matches('=');
            list.push(Requirement::In(key.trim().into(), vec![value.trim().into()]));
        } else {
            list.push(Requirement::Exists(part.into()));
        }
    }
    list
}

impl Requirement {
    fn holds(&self, labels: &BTreeMap<String, String>) -> bool {
        match self {
            Requirement::Exists(key) => labels.contains_key(key),
            Requirement::In(key, values) => labels.get(key).is_some_and(|v| values.contains(v)),
        }
    }
}

/// The process.
#[derive(Clone, Debug)]
pub struct BackupJob {
    name: Arc<str>,
    start: Arc<BackupStart>,
}

impl BackupJob {
    /// A process that has yet to start.
    #[must_use]
    pub fn new(start: BackupStart) -> Self {
        Self {
            name: format!("backup/{}/{}", start.namespace, start.pod).into(),
            start: Arc::new(start),
        }
    }

    fn list(&self, cx: &mut Cx<'_>) {
        let verb = Verb::List {
            kind: Kind::Pod,
            namespace: Some(self.start.namespace.clone()),
            filter: Filter::default(),
            limit: 0,
            continue_token: None,
        };
        cx.submit(Request::new("pgbackrest", verb));
    }

    fn listed(&self, cx: &mut Cx<'_>, response: Response) {
        let Ok(Content::List { items, .. }) = response.map(|r| r.content) else {
            return self.failed(cx, "the Pods could not be listed");
        };
        let wanted = requirements(&self.start.selector);
        let fits: Vec<_> =
            items.iter().filter(|p| wanted.iter().all(|r| r.holds(&p.meta.labels))).collect();
        let [pod] = fits.as_slice() else {
            let text = format!("{} Pods match the selector, not one", fits.len());
            return self.failed(cx, &text);
        };
        let Some(ip) = pod.str_at(&["status", "podIP"]) else {
            return self.failed(cx, "the Pod has no address");
        };
        let port = if self.start.container == "database" { self.start.sql_port } else { 8432 };
        let repo = self.start.options.split("--repo=").nth(1);
        let repo =
            repo.and_then(|r| r.chars().next()?.to_digit(10)).and_then(|d| u8::try_from(d).ok());
        let request = BackrestRequest::Backup {
            repo: repo.unwrap_or(1),
            kind: BackupKind::of_options(&self.start.options),
            config_hash: self.start.config_hash.clone(),
            fast: self.start.fast || self.start.options.contains("--start-fast"),
        };
        let to = Where::Address { ip: ip.into(), port };
        cx.call(to, Call::Backrest(request), Span::s(24 * 3600));
    }

    fn failed(&self, cx: &mut Cx<'_>, why: &str) {
        cx.note(Milestone::Backup {
            text: format!("{}: the backup failed: {why}", self.start.pod),
        });
        cx.exit(1);
    }
}

impl Actor for BackupJob {
    crate::actor_boilerplate!();

    fn name(&self) -> &str {
        &self.name
    }

    fn on(&mut self, cx: &mut Cx<'_>, input: Input) {
        match input {
            Input::Start => self.list(cx),
            Input::Response(_, response) => self.listed(cx, response),
            Input::Reply(_, Ok(Reply::Backrest(BackrestReply::Done))) => cx.exit(0),
            Input::Reply(_, Ok(Reply::Backrest(BackrestReply::Failed(why)))) => {
                self.failed(cx, &why)
            }
            Input::Reply(_, _) => self.failed(cx, "the connection was lost"),
            Input::Signal(Signal::Term) => cx.exit(143),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_are_read_as_kubectl_does() {
        let labels =
            BTreeMap::from([("a".to_owned(), "b".to_owned()), ("e".to_owned(), String::new())]);
        for (text, expected) in [
            ("a=b", true),
            ("a==b", true),
            ("a=c", false),
            ("a", true),
            ("x", false),
            ("a=b,e=", true),
            ("a in (c,b),e", true),
            ("a in (c,d)", false),
            ("e=,a in (b, c)", true),
        ] {
            let holds = requirements(text).iter().all(|r| r.holds(&labels));
            assert_eq!(holds, expected, "{text}");
        }
    }
}
