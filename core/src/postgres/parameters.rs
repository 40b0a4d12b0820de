//! PostgreSQL's parameters: those that must be so, those that are so unless the user says otherwise,
//! and how a user's are merged with them (`reference/reconcile.md` §3.3, §4.1).

use std::collections::BTreeMap;

use serde_json::Value;

use crate::names::STANZA;

/// The parameter that is a list, to which users add instead of replacing it.
const LIBRARIES: &str = "shared_preload_libraries";

/// Where sockets are; `PGHOST` in the containers.
pub const SOCKET_DIRECTORY: &str = "/tmp/postgres";

/// What the parameters depend on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Inputs {
    /// The exporter runs beside the instances.
    pub exporter: bool,
    /// Some instance set has a limit of huge pages above zero.
    pub huge_pages: bool,
    /// The repository (1 to 4) from which a standby cluster reads its WAL.
    pub standby_repo: Option<u8>,
}

/// The parameters before the user is heard. Names are lower-case.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Parameters {
    /// These win over the user's.
    mandatory: BTreeMap<&'static str, String>,
    /// The user's win over these.
    defaults: BTreeMap<&'static str, String>,
    /// Libraries that are always loaded, in this order, before the user's.
    libraries: Vec<&'static str>,
}

impl Parameters {
    /// The parameters of a cluster.
    #[must_use]
    pub fn new(inputs: Inputs) -> Self {
        let text = str::to_owned;
        let mut mandatory = BTreeMap::from([
            ("unix_socket_directories", text(SOCKET_DIRECTORY)),
            ("wal_level", text("logical")),
            ("ssl", text("on")),
            ("ssl_cert_file", text("/pgconf/tls/tls.crt")),
            ("ssl_key_file", text("/pgconf/tls/tls.key")),
            ("ssl_ca_file", text("/pgconf/tls/ca.crt")),
            ("archive_mode", text("on")),
            ("archive_command", format!(r#"pgbackrest --stanza={STANZA} archive-push "%p""#)),
            ("restore_command", restore_command(inputs.standby_repo)),
        ]);
        let huge_pages = if inputs.huge_pages { "try" } else { "off" };
        let defaults = BTreeMap::from([
            ("jit", text("off")),
            ("password_encryption", text("scram-sha-256")),
            ("archive_timeout", text("60s")),
            ("huge_pages", text(huge_pages)),
        ]);
        let mut libraries = vec!["pgaudit", "liboracle_parser", "ivorysql_ora"];
        if inputs.exporter {
            libraries.splice(0..0, ["pg_stat_statements", "pgnodemx"]);
            mandatory.insert("pgnodemx.kdapi_path", text("/etc/database-containerinfo"));
        }
        Self { mandatory, defaults, libraries }
    }

    /// The parameters as they go into Patroni's configuration. `user` is `postgresql.parameters` as the
    /// user wrote it, of any shape; what is no mapping, and values that are lists or mappings, count
    /// for nothing. A `null` takes a default away, so that PostgreSQL's own holds.
    ///
    /// Names are compared in lower case, as PostgreSQL does; of two spellings the lower one wins.
    #[must_use]
    pub fn merge(&self, user: Option<&Value>) -> BTreeMap<String, String> {
        let owned = |(name, value): (&&str, &String)| ((*name).to_owned(), value.clone());
        let mut merged: BTreeMap<String, String> = self.defaults.iter().map(owned).collect();
        let mut user_libraries = None;
        // Capitals sort before small letters, so the lower-case spelling comes last.
        for (name, value) in user.and_then(Value::as_object).into_iter().flatten() {
            let name = name.to_lowercase();
            if name == LIBRARIES {
                user_libraries = value.as_str();
                continue;
            }
            match value {
                Value::Null => merged.remove(&name),
                Value::Bool(true) => merged.insert(name, "on".to_owned()),
                Value::Bool(false) => merged.insert(name, "off".to_owned()),
                Value::Number(number) => merged.insert(name, number.to_string()),
                Value::String(text) => merged.insert(name, text.clone()),
                Value::Array(_) | Value::Object(_) => None,
            };
        }
        merged.extend(self.mandatory.iter().map(owned));
        merged.insert(LIBRARIES.to_owned(), self.libraries(user_libraries));
        merged
    }

    /// What `restore_command` is, which a standby cluster's section repeats.
    #[must_use]
    pub fn restore_command(&self) -> &str {
        &self.mandatory["restore_command"]
    }

    /// Ours, then those of the user's that are not among them. A user's list with quotes is added as
    /// it is: splitting it at commas could break a name.
    fn libraries(&self, user: Option<&str>) -> String {
        let mut list = self.libraries.clone();
        match user {
            Some(text) if text.contains('"') => list.push(text),
            Some(text) => {
                for name in text.split(',').map(str::trim).filter(|n| !n.is_empty()) {
                    if !list.contains(&name) {
                        list.push(name);
                    }
                }
            }
            None => {}
        }
        list.join(",")
    }
}

fn restore_command(repo: Option<u8>) -> String {
    let repo = repo.map_or_else(String::new, |n| format!(" --repo={n}"));
    format!(r#"pgbackrest --stanza={STANZA} archive-get %f "%p"{repo}"#)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn merged(inputs: Inputs, user: Value, name: &str) -> Option<String> {
        Parameters::new(inputs).merge(Some(&user)).remove(name)
    }

    #[test]
    fn all_of_them_without_a_user() {
        let lines: Vec<_> = Parameters::new(Inputs::default())
            .merge(None)
            .into_iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        assert_eq!(
            lines,
            [
                r#"archive_command=pgbackrest --stanza=db archive-push "%p""#,
                "archive_mode=on",
                "archive_timeout=60s",
                "huge_pages=off",
                "jit=off",
                "password_encryption=scram-sha-256",
                r#"restore_command=pgbackrest --stanza=db archive-get %f "%p""#,
                "shared_preload_libraries=pgaudit,liboracle_parser,ivorysql_ora",
                "ssl=on",
                "ssl_ca_file=/pgconf/tls/ca.crt",
                "ssl_cert_file=/pgconf/tls/tls.crt",
                "ssl_key_file=/pgconf/tls/tls.key",
                "unix_socket_directories=/tmp/postgres",
                "wal_level=logical",
            ]
        );
    }

    #[test]
    fn the_users_are_merged() {
        let plain = Inputs::default();
        let exporter = Inputs { exporter: true, ..plain };
        let standby = Inputs { standby_repo: Some(2), huge_pages: true, ..plain };
        let ours = "pgaudit,liboracle_parser,ivorysql_ora";
        for (inputs, user, name, expected) in [
            (plain, json!({"jit": true}), "jit", Some("on")),
            (plain, json!({"JIT": "on"}), "jit", Some("on")),
            (plain, json!({"jit": "low", "Jit": "high"}), "jit", Some("low")),
            (plain, json!({"jit": null}), "jit", None),
            (plain, json!({"jit": ["on"]}), "jit", Some("off")),
            (plain, json!({"max_connections": 50}), "max_connections", Some("50")),
            (plain, json!({"seq_page_cost": 1.5}), "seq_page_cost", Some("1.5")),
            (plain, json!({"SSL": false, "ssl": "off"}), "ssl", Some("on")),
            (plain, json!(["ssl"]), "jit", Some("off")),
            (plain, json!({LIBRARIES: 5}), LIBRARIES, Some(ours)),
            (plain, json!({LIBRARIES: ""}), LIBRARIES, Some(ours)),
            (
                plain,
                json!({"Shared_Preload_Libraries": "x, pgaudit,y"}),
                LIBRARIES,
                Some("pgaudit,liboracle_parser,ivorysql_ora,x,y"),
            ),
            (
                plain,
                json!({LIBRARIES: "\"a,b\""}),
                LIBRARIES,
                Some("pgaudit,liboracle_parser,ivorysql_ora,\"a,b\""),
            ),
            (
                exporter,
                json!({}),
                LIBRARIES,
                Some("pg_stat_statements,pgnodemx,pgaudit,liboracle_parser,ivorysql_ora"),
            ),
            (exporter, json!({}), "pgnodemx.kdapi_path", Some("/etc/database-containerinfo")),
            (standby, json!({}), "huge_pages", Some("try")),
            (
                standby,
                json!({"restore_command": "x"}),
                "restore_command",
                Some(r#"pgbackrest --stanza=db archive-get %f "%p" --repo=2"#),
            ),
        ] {
            assert_eq!(merged(inputs, user.clone(), name).as_deref(), expected, "{user}");
        }
    }
}
