//! The rules of `pg_hba.conf`: who may connect how (`reference/reconcile.md` §4.3). The first line that
//! matches decides, so ours come first and cannot be weakened by a user's.

use serde_json::Value;

use super::quote_identifier as quoted;
use crate::names::{MAINTENANCE_DATABASE, REPLICATION_USER, SUPERUSER};

/// The exporter's database role.
pub const MONITORING_USER: &str = "ccp_monitoring";
/// The database role with which PgBouncer looks passwords up.
pub const PGBOUNCER_USER: &str = "_highgopgbouncer";

/// The rule that holds for everybody else, unless the user gives rules. `md5` lets in those with a
/// SCRAM verifier and those with an MD5 one.
const DEFAULT: &str = "hostssl all all all md5";

/// Which components need rules of their own.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Components {
    /// The exporter runs beside the instances.
    pub exporter: bool,
    /// PgBouncer is deployed.
    pub pgbouncer: bool,
}

/// All lines, in order. `user` is `postgresql.pg_hba` of the dynamic configuration that the user
/// wrote, of any shape: only the texts of a list count.
#[must_use]
pub fn rules(components: Components, user: Option<&Value>) -> Vec<String> {
    let replication = quoted(REPLICATION_USER);
    let mut lines = vec![
        format!("local all {} peer", quoted(SUPERUSER)),
        format!("hostssl replication {replication} all cert"),
        format!("hostssl {} {replication} all cert", quoted(MAINTENANCE_DATABASE)),
        format!("host all {replication} all reject"),
    ];
    if components.exporter {
        let user = quoted(MONITORING_USER);
        lines.push(format!("host all {user} \"127.0.0.0/8\" scram-sha-256"));
        lines.push(format!("host all {user} \"::1/128\" scram-sha-256"));
        lines.push(format!("host all {user} all reject"));
    }
    if components.pgbouncer {
        let user = quoted(PGBOUNCER_USER);
        lines.push(format!("hostssl all {user} all scram-sha-256"));
        lines.push(format!("host all {user} all reject"));
    }
    let ours = lines.len();
    let given = user.and_then(Value::as_array).into_iter().flatten();
    lines.extend(given.filter_map(Value::as_str).map(str::to_owned));
    if lines.len() == ours {
        lines.push(DEFAULT.to_owned());
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const BASE: &str = r#"local all "ivorysql" peer
hostssl replication "_ivoryrepl" all cert
hostssl "postgres" "_ivoryrepl" all cert
host all "_ivoryrepl" all reject
"#;
    const MORE: &str = r#"host all "ccp_monitoring" "127.0.0.0/8" scram-sha-256
host all "ccp_monitoring" "::1/128" scram-sha-256
host all "ccp_monitoring" all reject
hostssl all "_highgopgbouncer" all scram-sha-256
host all "_highgopgbouncer" all reject
"#;

    #[test]
    fn lines_and_their_order() {
        let none = Components::default();
        let all = Components { exporter: true, pgbouncer: true };
        let default = "hostssl all all all md5\n";
        for (components, user, expected) in [
            (none, None, format!("{BASE}{default}")),
            (all, None, format!("{BASE}{MORE}{default}")),
            (none, Some(json!(["a", 5, "b"])), format!("{BASE}a\nb\n")),
            (all, Some(json!(["a"])), format!("{BASE}{MORE}a\n")),
            (none, Some(json!([7])), format!("{BASE}{default}")),
            (none, Some(json!("a")), format!("{BASE}{default}")),
        ] {
            let text = rules(components, user.as_ref()).join("\n") + "\n";
            assert_eq!(text, expected, "{user:?}");
        }
    }
}
