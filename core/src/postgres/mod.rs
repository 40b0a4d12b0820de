//! What PostgreSQL is told: parameters, access rules, connection strings and the SQL that the operator
//! runs. How it gets there (Patroni's configuration, a command in a container) stands elsewhere.

pub mod hba;
pub mod parameters;
pub mod sql;
pub mod uri;

/// An identifier in double quotes, as SQL and `pg_hba.conf` read it.
#[must_use]
pub fn quote_identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
