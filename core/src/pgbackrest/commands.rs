//! Command lines of pgBackRest that other programs run: Patroni and the backup and restore Jobs.

use crate::names::STANZA;

/// What Patroni runs to make a replica from repository `repo`. The data directory may be missing, which
/// pgBackRest does not forgive; `PGDATA` is set in the container.
#[must_use]
pub fn replica_create(repo: u8, wal_directory: &str) -> Vec<String> {
    let script = r#"install --directory --mode=0700 "${PGDATA?}" && exec "$@""#;
    [
        "bash",
        "-ceu",
        "--",
        script,
        "-",
        "pgbackrest",
        "restore",
        "--delta",
        &format!("--stanza={STANZA}"),
        &format!("--repo={repo}"),
        &format!("--link-map=pg_wal={wal_directory}"),
        "--type=standby",
    ]
    .map(str::to_owned)
    .to_vec()
}

/// The options of a backup, in the order of the Go operator: ours, then `extra` (the type of a scheduled
/// backup, or `spec.backups.pgbackrest.manual.options`).
#[must_use]
pub fn backup_options(repo: u8, postgres_version: i32, extra: &[String]) -> Vec<String> {
    let mut options = vec![
        format!("--stanza={STANZA}"),
        format!("--repo={repo}"),
        format!("--pg-version-force={postgres_version}"),
    ];
    options.extend_from_slice(extra);
    options
}

/// Options of a restore that the operator sets itself, and the field that takes their place.
const RESERVED: [(&str, &str); 5] = [
    ("--repo", "use the repoName field instead"),
    ("--stanza", "the stanza is known"),
    ("--pg1-path", "the data directory is known"),
    ("--target-action", "the restored cluster is always promoted"),
    ("--link-map", "the WAL directory is known"),
];

/// An option that a user may not give.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("Option '{option}' is not allowed: {instead}.")]
pub struct ReservedOption {
    /// The option, as far as its `=`.
    pub option: &'static str,
    /// What to do instead.
    pub instead: &'static str,
}

/// Whether a manual backup's options leave the repository to us.
///
/// # Errors
/// `--repo` is among them.
pub fn check_backup_options(options: &[String]) -> Result<(), ReservedOption> {
    check(options, &RESERVED[..1])
}

/// The options of a restore: the user's, then ours.
///
/// # Errors
/// The user gave one that is ours.
pub fn restore_options(
    user: &[String],
    stanza: &str,
    repo: u8,
    data_directory: &str,
    wal_directory: &str,
) -> Result<Vec<String>, ReservedOption> {
    check(user, &RESERVED)?;
    let mut options = user.to_vec();
    options.push(format!("--stanza={stanza}"));
    options.push(format!("--pg1-path={data_directory}"));
    options.push(format!("--repo={repo}"));
    if !names(user).any(|n| n == "--delta") {
        options.push("--delta".to_owned());
    }
    // `--target-timeline` and the like have no action, and pgBackRest refuses one for them.
    if names(user).any(|n| n == "--target") {
        options.push("--target-action=promote".to_owned());
    }
    options.push(format!("--link-map=pg_wal={wal_directory}"));
    Ok(options)
}

fn check(
    options: &[String],
    reserved: &[(&'static str, &'static str)],
) -> Result<(), ReservedOption> {
    let found = names(options).find_map(|n| reserved.iter().find(|(option, _)| n == *option));
    match found {
        Some(&(option, instead)) => Err(ReservedOption { option, instead }),
        None => Ok(()),
    }
}

/// The names of the options. One string may hold several, as it goes through a shell.
fn names(options: &[String]) -> impl Iterator<Item = &str> {
    let words = options.iter().flat_map(|o| o.split_whitespace());
    words.filter_map(|w| w.split('=').next())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn restore(user: &[&str]) -> Result<String, String> {
        let user: Vec<String> = user.iter().map(|o| (*o).to_owned()).collect();
        restore_options(&user, "db", 2, "/pgdata/pg18", "/pgwal/pg18_wal")
            .map(|o| o.join(" "))
            .map_err(|e| e.option.to_owned())
    }

    #[test]
    fn restores() {
        let common = "--stanza=db --pg1-path=/pgdata/pg18 --repo=2";
        let map = "--link-map=pg_wal=/pgwal/pg18_wal";
        for (user, expected) in [
            (vec![], Ok(format!("{common} --delta {map}"))),
            (vec!["--delta"], Ok(format!("--delta {common} {map}"))),
            (
                vec!["--type=time", "--target=\"2021-06-09 14:15:11-04\""],
                Ok(format!(
                    "--type=time --target=\"2021-06-09 14:15:11-04\" {common} --delta \
                     --target-action=promote {map}"
                )),
            ),
            (
                vec!["--target-timeline=3"],
                Ok(format!("--target-timeline=3 {common} --delta {map}")),
            ),
            (vec!["--set=x --repo 3"], Err("--repo".to_owned())),
            (
                vec!["--repo1-cipher-pass=x"],
                Ok(format!("--repo1-cipher-pass=x {common} --delta {map}")),
            ),
            (vec!["--stanza=x"], Err("--stanza".to_owned())),
            (vec!["--target-action=pause"], Err("--target-action".to_owned())),
        ] {
            assert_eq!(restore(&user), expected, "{user:?}");
        }
    }

    #[test]
    fn backups() {
        let extra = ["--type=full".to_owned()];
        assert_eq!(
            backup_options(1, 18, &extra).join(" "),
            "--stanza=db --repo=1 --pg-version-force=18 --type=full"
        );
        assert!(check_backup_options(&extra).is_ok());
        let refused = check_backup_options(&["--repo=2".to_owned()]).map_err(|e| e.to_string());
        assert_eq!(
            refused,
            Err("Option '--repo' is not allowed: use the repoName field instead.".to_owned())
        );
    }
}
