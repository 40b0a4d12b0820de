//! Which parameters arrive in a server's files, and what it makes of them. Owns what Patroni filters out before it writes
//! them (Patroni 4.1 `postgresql/validator.py`: names that no server knows, switches and numbers that are none) and what
//! PostgreSQL itself refuses. Of the values that only PostgreSQL can judge it knows time zones and libraries. Limits,
//! and the words of enumerations, are not modelled.

use std::collections::BTreeMap;
use std::sync::LazyLock;

/// Names and types, as `postgres --describe-config` of PostgreSQL 15 lists them.
static KNOWN: LazyLock<BTreeMap<&str, &str>> = LazyLock::new(|| {
    include_str!("acceptance.txt").lines().filter_map(|line| line.split_once(' ')).collect()
});

/// The libraries in the image.
const LIBRARIES: [&str; 8] = [
    "auto_explain",
    "ivorysql_ora",
    "liboracle_parser",
    "passwordcheck",
    "pg_cron",
    "pg_stat_statements",
    "pgaudit",
    "set_user",
];
/// The first words of the names of time zones.
const ZONES: [&str; 14] = [
    "africa",
    "america",
    "antarctica",
    "arctic",
    "asia",
    "atlantic",
    "australia",
    "etc",
    "europe",
    "gmt",
    "indian",
    "pacific",
    "us",
    "utc",
];

/// Whether Patroni writes a parameter into the server's files.
#[must_use]
pub fn is_written(name: &str, value: &str) -> bool {
    let known = KNOWN.get(&*name.to_lowercase());
    match known.copied() {
        Some("boolean") => {
            ["on", "off", "true", "false", "yes", "no", "1", "0"].contains(&&*value.to_lowercase())
        }
        Some("integer" | "real") => is_number(value),
        Some(_) => true,
        // Extensions have a dot.
        None => name.contains('.'),
    }
}

/// A number, perhaps with a unit.
fn is_number(value: &str) -> bool {
    let digits = value.trim_end_matches(|c: char| c.is_ascii_alphabetic()).trim();
    let unit = value[digits.len()..].trim();
    let units = ["", "B", "kB", "MB", "GB", "TB", "us", "ms", "s", "min", "h", "d"];
    digits.parse::<f64>().is_ok() && units.contains(&unit)
}

/// What a running server has against a value that was written; it would not start with it.
#[must_use]
pub fn error(name: &str, value: &str) -> Option<&'static str> {
    let zone = ["timezone", "log_timezone"].contains(&&*name.to_lowercase());
    let area = value.split('/').next().unwrap_or_default().to_lowercase();
    (zone && !ZONES.contains(&&*area)).then_some("setting could not be applied")
}

/// The libraries of a list that are not there. A server that is to load one does not start.
#[must_use]
pub fn missing(list: &str) -> Vec<String> {
    let names = list.split(',').map(|name| name.trim().trim_matches('"'));
    names.filter(|n| !n.is_empty() && !LIBRARIES.contains(n)).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patroni_leaves_out_what_has_no_form() {
        for (name, value, written) in [
            ("work_mem", "8MB", true),
            ("work_mem", "lots", false),
            ("work_mem", "8 XB", false),
            ("random_page_cost", "1.1", true),
            ("jit", "maybe", false),
            ("JIT", "Off", true),
            ("nonsense", "1", false),
            ("my.thing", "anything", true),
            ("timezone", "Mars/Phobos", true),
        ] {
            assert_eq!(is_written(name, value), written, "{name} = {value}");
        }
    }

    #[test]
    fn postgresql_refuses_the_rest() {
        assert!(error("TimeZone", "Mars/Phobos").is_some());
        assert_eq!(error("timezone", "Europe/Berlin"), None);
        assert_eq!(missing("pgaudit, nosuch"), ["nosuch"]);
    }
}
