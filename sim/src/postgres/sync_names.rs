//! `synchronous_standby_names`: whom a commit waits for.

use std::sync::Arc;

use crate::postgres::wal::Lsn;

/// The setting.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub enum SyncNames {
    /// Empty: nobody.
    #[default]
    None,
    /// `*`: any one.
    Any,
    /// `n (a, b)`: the first `n` in this order that are connected.
    First(usize, Vec<Arc<str>>),
    /// `ANY n (a, b)`: any `n` of these.
    Quorum(usize, Vec<Arc<str>>),
}

impl SyncNames {
    /// Whether a commit up to `lsn` may be acknowledged, given what the connected standbys have flushed.
    #[must_use]
    pub fn satisfied(
        &self,
        lsn: Lsn,
        acked: impl Fn(&str) -> Option<Lsn>,
        any: Option<Lsn>,
    ) -> bool {
        match self {
            SyncNames::None => true,
            SyncNames::Any => any.is_some_and(|a| a >= lsn),
            SyncNames::First(n, names) => {
                let mut connected = names.iter().filter_map(|name| acked(name)).take(*n);
                let mut count = 0;
                connected.all(|a| {
                    count += 1;
                    a >= lsn
                }) && count >= *n
            }
            SyncNames::Quorum(n, names) => {
                let have = names.iter().filter_map(|name| acked(name)).filter(|a| *a >= lsn);
                have.count() >= *n
            }
        }
    }

    /// As PostgreSQL has it.
    #[must_use]
    pub fn text(&self) -> String {
        let quoted = |names: &[Arc<str>]| {
            let each: Vec<String> = names.iter().map(|n| quote(n)).collect();
            each.join(",")
        };
        match self {
            SyncNames::None => String::new(),
            SyncNames::Any => "*".into(),
            SyncNames::First(1, names) if names.len() == 1 => quote(&names[0]),
            SyncNames::First(n, names) => format!("{n} ({})", quoted(names)),
            SyncNames::Quorum(n, names) => format!("ANY {n} ({})", quoted(names)),
        }
    }

    /// Whether the setting names a standby.
    #[must_use]
    pub fn names(&self, name: &str) -> bool {
        match self {
            SyncNames::None => false,
            SyncNames::Any => true,
            SyncNames::First(_, names) | SyncNames::Quorum(_, names) => {
                names.iter().any(|n| &**n == name)
            }
        }
    }
}

fn quote(name: &str) -> String {
    let plain = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    if plain && !name.starts_with(|c: char| c.is_ascii_digit()) {
        name.to_owned()
    } else {
        format!("\"{name}\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_must_have_a_commit() {
        let names = || vec![Arc::from("a"), Arc::from("b")];
        let acked =
            |a: Option<u64>, b: Option<u64>| move |name: &str| if name == "a" { a } else { b };
        for (setting, a, b, expected) in [
            (SyncNames::None, None, None, true),
            (SyncNames::Any, None, None, false),
            (SyncNames::Any, None, Some(10), true),
            (SyncNames::First(1, names()), Some(9), Some(10), false),
            (SyncNames::First(1, names()), Some(10), None, true),
            (SyncNames::First(1, names()), None, Some(10), true),
            (SyncNames::First(2, names()), Some(10), None, false),
            (SyncNames::First(2, names()), Some(10), Some(11), true),
            (SyncNames::Quorum(1, names()), Some(9), Some(10), true),
            (SyncNames::Quorum(2, names()), Some(9), Some(10), false),
        ] {
            let any = a.max(b);
            assert_eq!(
                setting.satisfied(10, acked(a, b), any),
                expected,
                "{setting:?} {a:?} {b:?}"
            );
        }
        assert_eq!(SyncNames::First(1, vec!["pod-0".into()]).text(), "\"pod-0\"");
        assert_eq!(SyncNames::First(2, names()).text(), "2 (a,b)");
        assert_eq!(SyncNames::Quorum(1, names()).text(), "ANY 1 (a,b)");
    }
}
