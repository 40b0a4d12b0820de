//! What of the user's dynamic configuration does not hold, because it must be otherwise. Nothing of a spec is
//! dropped without a word: an Event names it.

use serde_json::{Map, Value};

/// The settings that the user wrote and that are otherwise in the document `made` from them
/// ([`super::dynamic::configuration`]): path and value, in the order of the paths.
#[must_use]
pub fn kept(user: &Map<String, Value>, made: &Value) -> Vec<String> {
    let mut found = Vec::new();
    for (key, value) in user {
        match (&**key, value) {
            ("postgresql", Value::Object(section)) => {
                let made = made.get("postgresql").unwrap_or(&Value::Null);
                postgresql(section, made, &mut found);
            }
            // Made up of several fields of the spec, and no setting of its own.
            ("standby_cluster", _) => {}
            _ => compare(key, value, made.get(key), &mut found),
        }
    }
    found
}

fn postgresql(section: &Map<String, Value>, made: &Value, found: &mut Vec<String>) {
    for (key, value) in section {
        match (&**key, value) {
            ("parameters", Value::Object(parameters)) => {
                for (name, value) in parameters {
                    let made = made.get("parameters").and_then(|p| p.get(name.to_lowercase()));
                    // Libraries are added to ours.
                    if name.to_lowercase() != "shared_preload_libraries" {
                        let path = format!("postgresql.parameters.{name}");
                        compare(&path, value, made, found);
                    }
                }
            }
            // Rules are added to ours.
            ("pg_hba", Value::Array(_)) => {}
            _ => compare(&format!("postgresql.{key}"), value, made.get(key), found),
        }
    }
}

fn compare(path: &str, user: &Value, made: Option<&Value>, found: &mut Vec<String>) {
    match (user, made) {
        (Value::Null, None) => {}
        (_, Some(made)) if same(user, made) => {}
        (_, Some(made)) => found.push(format!("{path} is {}", text(made))),
        (_, None) => found.push(format!("{path} is left out")),
    }
}

/// Whether PostgreSQL or Patroni would take both for the same.
pub(crate) fn same(user: &Value, made: &Value) -> bool {
    let truth = |value: &Value| match &*text(value).to_lowercase() {
        "on" | "true" | "yes" | "1" => Some(true),
        "off" | "false" | "no" | "0" => Some(false),
        _ => None,
    };
    user == made
        || text(user) == text(made)
        || truth(user).is_some_and(|user| truth(made) == Some(user))
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_does_not_hold_is_named_and_nothing_else() {
        let made = json!({
            "ttl": 30, "synchronous_mode": true,
            "postgresql": {
                "use_pg_rewind": true,
                "parameters": {"ssl": "on", "work_mem": "4MB", "jit": "on", "max_connections": "5"},
            },
        });
        let parameters = |value: Value| json!({"postgresql": {"parameters": value}});
        for (user, expected) in [
            (json!({}), vec![]),
            (json!({"ttl": 30, "synchronous_mode": true}), vec![]),
            (json!({"ttl": 99}), vec!["ttl is 30"]),
            (json!({"postgresql": {"use_pg_rewind": "yes", "pg_hba": ["x"]}}), vec![]),
            (
                json!({"postgresql": {"use_pg_rewind": false}}),
                vec!["postgresql.use_pg_rewind is true"],
            ),
            (parameters(json!({"ssl": true, "WORK_MEM": "4MB", "max_connections": 5})), vec![]),
            (parameters(json!({"jit": null})), vec!["postgresql.parameters.jit is on"]),
            (parameters(json!({"huge": null, "shared_preload_libraries": "x"})), vec![]),
            (
                parameters(json!({"SSL": "off", "array": [1]})),
                vec!["postgresql.parameters.SSL is on", "postgresql.parameters.array is left out"],
            ),
        ] {
            let user = user.as_object().cloned().unwrap_or_default();
            assert_eq!(kept(&user, &made), expected, "{user:?}");
        }
    }
}
