//! The fields whose behaviour is not built yet. None is ignored in silence: a Warning Event names those that
//! a spec uses. This table shrinks to nothing; a test fails when a row is no longer true.

use crate::api::IvoryClusterSpec;

/// A field, and whether a spec uses it.
pub struct Unbuilt {
    /// Its path.
    pub path: &'static str,
    /// Whether a spec uses it.
    pub used: fn(&IvoryClusterSpec) -> bool,
}

/// The table.
pub const TABLE: &[Unbuilt] = &[
    Unbuilt {
        path: "spec.backups.pgbackrest.manual",
        used: |s| s.backups.pgbackrest.manual.is_some(),
    },
    Unbuilt {
        path: "spec.backups.pgbackrest.repos[].schedules",
        used: |s| s.backups.pgbackrest.repos.iter().any(|r| r.schedules != Default::default()),
    },
    Unbuilt {
        path: "spec.backups.pgbackrest.restore",
        used: |s| s.backups.pgbackrest.restore.as_ref().is_some_and(|r| r.enabled),
    },
    Unbuilt { path: "spec.dataSource", used: |s| s.data_source.is_some() },
    Unbuilt {
        path: "spec.monitoring.pgmonitor.exporter",
        used: |s| s.monitoring.pgmonitor.exporter.is_some(),
    },
    Unbuilt { path: "spec.proxy.pgBouncer", used: |s| s.proxy.is_some() },
    Unbuilt { path: "spec.userInterface.pgAdmin", used: |s| s.user_interface.is_some() },
];

/// The paths of the table that a spec uses.
#[must_use]
pub fn used(spec: &IvoryClusterSpec) -> Vec<&'static str> {
    TABLE.iter().filter(|row| (row.used)(spec)).map(|row| row.path).collect()
}
