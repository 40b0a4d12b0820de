//! What a database cluster holds, as far as anybody here asks: numbered rows, roles, databases.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use ivory_core::Sensitive;

use crate::postgres::wal::Change;

/// A set of row numbers, as ranges, because clients count upwards.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Rows(Vec<(u64, u64)>);

impl Rows {
    /// Adds a number.
    pub fn insert(&mut self, row: u64) {
        if let Some((_, last)) = self.0.last_mut()
            && row == *last + 1
        {
            *last = row;
            return;
        }
        let at = self.0.partition_point(|(first, _)| *first <= row);
        if at > 0 && self.0[at - 1].1 >= row {
            return;
        }
        if at > 0 && self.0[at - 1].1 + 1 == row {
            self.0[at - 1].1 = row;
        } else {
            self.0.insert(at, (row, row));
        }
        if at < self.0.len() - 1 && self.0[at].1 + 1 == self.0[at + 1].0 {
            self.0[at].1 = self.0[at + 1].1;
            self.0.remove(at + 1);
        } else if at > 0 && at < self.0.len() && self.0[at - 1].1 + 1 == self.0[at].0 {
            self.0[at - 1].1 = self.0[at].1;
            self.0.remove(at);
        }
    }

    /// Whether a number is in it.
    #[must_use]
    pub fn contains(&self, row: u64) -> bool {
        let at = self.0.partition_point(|(first, _)| *first <= row);
        at > 0 && self.0[at - 1].1 >= row
    }

    /// How many numbers are in it.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.0.iter().map(|(a, b)| b - a + 1).sum()
    }

    /// Whether nothing is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The numbers that others lack, in order.
    #[must_use]
    pub fn missing_in(&self, others: Option<&Rows>) -> Vec<u64> {
        let Some(others) = others else { return self.iter().collect() };
        let whole = |(a, b): &&(u64, u64)| others.0.iter().any(|(c, d)| c <= a && b <= d);
        let torn = self.0.iter().filter(|range| !whole(range));
        torn.flat_map(|(a, b)| *a..=*b).filter(|row| !others.contains(*row)).collect()
    }

    /// All numbers in order.
    pub fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        self.0.iter().flat_map(|(a, b)| *a..=*b)
    }
}

/// A role that may log in.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Role {
    /// Its SCRAM verifier; a role without one can't log in by password.
    pub verifier: Option<Sensitive>,
    /// Databases on which it was granted privileges.
    pub databases: BTreeSet<Arc<str>>,
}

/// The contents. A clone shares everything until one side changes.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Contents(Arc<Tables>);

#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
struct Tables {
    rows: BTreeMap<Arc<str>, Rows>,
    roles: BTreeMap<Arc<str>, Role>,
    databases: BTreeSet<Arc<str>>,
}

impl Contents {
    /// What `initdb` of IvorySQL leaves behind (reconcile.md §3.2).
    #[must_use]
    pub fn fresh() -> Self {
        let mut tables = Tables::default();
        for name in ["ivorysql", "postgres", "template1"] {
            tables.databases.insert(name.into());
        }
        tables.roles.insert(ivory_core::names::SUPERUSER.into(), Role::default());
        Self(Arc::new(tables))
    }

    /// Applies a record.
    pub fn apply(&mut self, change: &Change) {
        match change {
            Change::Row { client, row } => {
                let tables = Arc::make_mut(&mut self.0);
                match tables.rows.get_mut(client) {
                    Some(rows) => rows.insert(*row),
                    None => tables.rows.entry(client.clone()).or_default().insert(*row),
                }
            }
            Change::Database(name) => {
                Arc::make_mut(&mut self.0).databases.insert(name.clone());
            }
            Change::Role { name, verifier, databases } => {
                let tables = Arc::make_mut(&mut self.0);
                let role = tables.roles.entry(name.clone()).or_default();
                if verifier.is_some() {
                    role.verifier.clone_from(verifier);
                }
                role.databases.extend(databases.iter().cloned());
            }
            Change::Parameters(_)
            | Change::Switch
            | Change::Checkpoint { .. }
            | Change::EndOfRecovery => {}
        }
    }

    /// A client's rows.
    #[must_use]
    pub fn rows(&self, client: &str) -> Option<&Rows> {
        self.0.rows.get(client)
    }

    /// A role.
    #[must_use]
    pub fn role(&self, name: &str) -> Option<&Role> {
        self.0.roles.get(name)
    }

    /// Names of all roles, in order.
    pub fn roles(&self) -> impl Iterator<Item = &Arc<str>> {
        self.0.roles.keys()
    }

    /// Whether a database exists.
    #[must_use]
    pub fn has_database(&self, name: &str) -> bool {
        self.0.databases.contains(name)
    }

    /// Names of all databases, in order.
    pub fn databases(&self) -> impl Iterator<Item = &Arc<str>> {
        self.0.databases.iter()
    }

    /// About how large it is on disk, in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let rows: u64 = self.0.rows.values().map(Rows::len).sum();
        (24 << 20) + ((self.0.databases.len() as u64) << 23) + rows * 120
    }

    /// Feeds everything into a fingerprint but verifiers, which are drawn, and how many rows there are, which only
    /// time decides.
    pub fn fingerprint(&self, hash: &mut dyn Hasher) {
        let mut hash = hash;
        self.0.rows.keys().for_each(|client| client.hash(&mut hash));
        self.0.databases.hash(&mut hash);
        for (name, role) in &self.0.roles {
            name.hash(&mut hash);
            role.databases.hash(&mut hash);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_a_set_whatever_the_order() {
        for order in
            [vec![1, 2, 3, 5, 7], vec![7, 5, 3, 2, 1], vec![3, 7, 1, 5, 2, 2], vec![5, 7, 2, 3, 1]]
        {
            let mut rows = Rows::default();
            order.iter().for_each(|r| rows.insert(*r));
            assert_eq!(rows.iter().collect::<Vec<_>>(), [1, 2, 3, 5, 7], "{order:?}");
            assert_eq!(rows.0, [(1, 3), (5, 5), (7, 7)], "{order:?}");
            assert!(rows.contains(2) && !rows.contains(4) && !rows.contains(8));
            let mut fewer = Rows::default();
            [2, 3, 7, 9].iter().for_each(|r| fewer.insert(*r));
            assert_eq!(rows.missing_in(Some(&fewer)), [1, 5]);
            assert_eq!((rows.missing_in(None).len(), rows.missing_in(Some(&rows)).len()), (5, 0));
        }
    }
}
