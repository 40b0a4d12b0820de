//! What programs say, and what that means for a command.

use super::super::UserStatement;
use super::*;
use crate::sensitive::Sensitive;
use proptest::prelude::*;

fn switchover() -> Command {
    Command::Switchover {
        scope: "hippo-ha".into(),
        leader: "hippo-00-aaaa-0".into(),
        candidate: Some("hippo-00-bbbb-0".into()),
    }
}

fn stanza() -> Command {
    Command::StanzaCreate { config_hash: "65bb57b6b5".into(), postgres_version: 18 }
}

/// Word for the outcome: `ok` or the name of the failure.
fn check(command: &Command, exit: i32, stdout: &str, stderr: &str) -> &'static str {
    let output = Output { exit, stdout: stdout.into(), stderr: stderr.into() };
    match command.outcome(&output) {
        Ok(()) => "ok",
        Err(Failure::NotYet(_)) => "not yet",
        Err(Failure::ForeignRepository) => "foreign",
        Err(Failure::Extensions(_)) => "extensions",
        Err(Failure::Refused(_)) => "refused",
        Err(Failure::Exit { .. }) => "exit",
    }
}

#[test]
fn outcomes() {
    let failover = Command::Failover { scope: "s".into(), candidate: "c".into() };
    let restart = Command::RestartPending { scope: "s".into(), member: "m".into() };
    let databases = Command::Databases { databases: vec![], extensions: vec!["pgaudit".into()] };
    let upgrade = Command::StanzaUpgrade { config_hash: "x".into(), postgres_version: 18 };
    let foreign = "ERROR: [028]: backup and archive info files exist but do not match the database";
    let all = [
        (switchover(), 0, "Successfully switched over to \"hippo-00-bbbb-0\"", "", "ok"),
        (switchover(), 0, "Switched over to \"x\" instead of \"hippo-00-bbbb-0\"", "", "refused"),
        (switchover(), 0, "Switchover failed, details: 412, no good candidates", "", "refused"),
        (switchover(), 0, "", "", "refused"),
        (switchover(), 2, "", "Error: No such option: --master", "exit"),
        (failover.clone(), 0, "Successfully failed over to \"c\"", "", "ok"),
        (
            failover.clone(),
            0,
            "Could not failover using Patroni api, falling back to DCS",
            "",
            "ok",
        ),
        (failover, 0, "Failover failed, details: 503", "", "refused"),
        (restart.clone(), 0, "Success: restart on member a", "", "ok"),
        (restart, 0, "Failed: restart for member a, status code=503", "", "refused"),
        (stanza(), 0, "", "", "ok"),
        (stanza(), 1, "", HASH_MISMATCH, "not yet"),
        (stanza(), 28, foreign, "", "foreign"),
        (stanza(), 28, "", foreign, "foreign"),
        (stanza(), 56, "", "ERROR: [056]: unable to find primary cluster", "exit"),
        (upgrade.clone(), 1, "", HASH_MISMATCH, "not yet"),
        (upgrade, 28, "", foreign, "exit"),
        (databases.clone(), 20, "", "ERROR: extension", "extensions"),
        (databases.clone(), 3, "", "ERROR: permission denied", "exit"),
        (databases, 0, "", "", "ok"),
        (Command::BackupInfo, 0, "[]", "", "ok"),
    ];
    for (command, exit, stdout, stderr, expected) in all {
        assert_eq!(check(&command, exit, stdout, stderr), expected, "{command:?} {stdout}{stderr}");
    }
}

fn commands() -> impl Strategy<Value = Command> {
    let name = || "[^\0]{1,12}";
    let user = ("\\PC*", ".*", prop::collection::vec(".*", 0..3), "\\PC*").prop_map(
        |(name, options, databases, verifier)| UserStatement {
            name,
            options,
            databases,
            verifier: Sensitive::text(&verifier),
        },
    );
    prop_oneof![
        (prop::collection::vec(".*", 0..4), prop::collection::vec(name(), 0..3))
            .prop_map(|(databases, extensions)| Command::Databases { databases, extensions }),
        prop::collection::vec(user, 0..4).prop_map(|users| Command::Users { users }),
        ".*".prop_map(|config| Command::ReplaceDynamicConfiguration { config }),
        (name(), name(), prop::option::of(name())).prop_map(|(scope, leader, candidate)| {
            Command::Switchover { scope, leader, candidate }
        }),
        (name(), name()).prop_map(|(scope, candidate)| Command::Failover { scope, candidate }),
        (name(), name()).prop_map(|(scope, member)| Command::RestartPending { scope, member }),
        (name(), 10..40i32).prop_map(|(config_hash, postgres_version)| {
            Command::StanzaCreate { config_hash, postgres_version }
        }),
        (name(), 10..40i32).prop_map(|(config_hash, postgres_version)| {
            Command::StanzaUpgrade { config_hash, postgres_version }
        }),
        Just(Command::BackupInfo),
        ("[0-9a-f]{4,12}", ".*")
            .prop_map(|(token, sql)| Command::StartInitSql { token, sql: Sensitive::text(&sql) }),
        (name(), any::<u16>()).prop_map(|(host, port)| Command::SourceState { host, port }),
        "[0-9a-f]{4,12}".prop_map(|token| Command::InitSqlState { token }),
        any::<u32>().prop_map(|timeout_s| Command::Checkpoint { timeout_s }),
        "[0-9a-f]{4,12}".prop_map(|configuration| Command::ParameterState { configuration }),
        Just(Command::WalDirectory),
        any::<(u64, u64)>()
            .prop_map(|(timeline, position)| Command::WalPlace { timeline, position }),
        Just(Command::ArchiveState),
        Just(Command::StandbyState),
        Just(Command::VolumeState),
    ]
}

proptest! {
    #[test]
    fn what_is_rendered_is_read_back(command in commands()) {
        let rendered = command.render();
        prop_assert_eq!(Command::parse(&rendered.argv, rendered.stdin.as_ref()), Some(command));
    }

    #[test]
    fn anything_else_is_no_command(command in commands(), word in "[a-z]{1,9}", at in 0..9usize) {
        let mut rendered = command.render();
        let at = at % (rendered.argv.len() + 1);
        rendered.argv.insert(at, word);
        let parsed = Command::parse(&rendered.argv, rendered.stdin.as_ref());
        // One more extension is another command, and so is nothing else.
        let fine = parsed.is_none() || matches!(parsed, Some(Command::Databases { .. }));
        prop_assert!(fine, "{parsed:?}");
    }

    #[test]
    fn no_verifier_is_in_an_argument_or_a_label(command in commands()) {
        if let Command::Users { users } = &command {
            let shown = format!("{:?} {:?} {command:?}", command.render().argv, command.label());
            for user in users.iter().filter(|u| u.verifier.expose().len() > 8) {
                let verifier = user.verifier.expose_text().unwrap_or_default();
                prop_assert!(!shown.contains(verifier));
            }
        }
    }
}

#[test]
fn a_refusal_quotes_the_last_line_that_says_something() {
    let refusal = |stdout: &str, stderr: &str| {
        let output = Output { exit: 0, stdout: stdout.into(), stderr: stderr.into() };
        match switchover().outcome(&output) {
            Err(Failure::Refused(said)) => said,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(refusal("no\n", "first\nlast\n  \n\n"), "last");
    assert_eq!(refusal("first\nno\n\n", "\n"), "no");
}

#[test]
fn what_only_asks_is_a_query() {
    assert!(Command::WalDirectory.is_query() && Command::BackupInfo.is_query());
    assert!(!switchover().is_query() && !stanza().is_query());
}

#[test]
fn a_command_is_read_back_from_its_words() {
    let queries = [Command::BackupInfo, Command::WalDirectory, Command::VolumeState];
    for command in queries.into_iter().chain([switchover()]) {
        let rendered = command.render();
        assert_eq!(Command::parse(&rendered.argv, rendered.stdin.as_ref()), Some(command));
    }
    assert_eq!(Command::parse(&["true".to_owned()], None), None);
    assert!(Command::WalDirectory.is_query() && !switchover().is_query());
}
