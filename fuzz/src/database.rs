//! What programs in containers and people's Secrets say: Patroni's annotations, pgBackRest's report, output of commands,
//! certificates.

use ivory_core::Sensitive;
use ivory_core::command::{
    ArchiveState, Command, Failure, ParameterState, SourceState, StandbyState, VolumeTrouble,
    WalPlace, init_sql,
};
use ivory_core::crypto::pki::{Authority, Leaf, Root, is_private_key};
use ivory_core::object::StringMap;
use ivory_core::patroni::dcs::{Config, Leader};
use ivory_core::patroni::status::Status;
use ivory_core::pgbackrest::info::Info;
use ivory_core::read::Output;

use super::halves;

/// Patroni's annotations, one `key value` a line; the key `status` is a member's.
///
/// # Panics
/// If a member that is read to take writes or to stream does not run, if it does both, or if an empty text is a name.
pub fn patroni(data: &[u8]) -> bool {
    let text = String::from_utf8_lossy(data);
    let lines = text.lines().filter_map(|line| line.split_once(' '));
    let annotations: StringMap = lines.map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
    let leader = Leader::read(&annotations);
    assert_ne!(leader.name.as_deref(), Some(""), "nobody leads");
    let config = Config::read(&annotations);
    assert_ne!(config.system_identifier.as_deref(), Some(""), "a bootstrap that only began");
    let Some(status) = annotations.get("status").and_then(|s| Status::parse(s)) else {
        return false;
    };
    assert!(status.running() || !status.writable() && !status.streaming());
    assert!(!status.writable() || !status.streaming());
    assert!(!status.waits_for_data() || !status.running());
    true
}

/// pgBackRest's report of its repositories.
///
/// # Panics
/// If a repository is said to hold backups and has none, or what is somebody's is said to be another's.
pub fn pgbackrest(data: &[u8]) -> bool {
    let text = String::from_utf8_lossy(data);
    let Some(info) = Info::parse(&text) else { return false };
    for (number, repo) in &info.repos {
        assert_eq!(info.has_backup(*number).is_none(), repo.failed);
        assert!(info.has_backup(*number) != Some(true) || !repo.backups.is_empty());
        assert!(repo.backups.is_sorted_by_key(|b| b.stop_s), "oldest first");
    }
    let owners: Vec<_> = info.repos.values().filter_map(|r| r.system_identifier.as_ref()).collect();
    let mine = |id: &str| info.belongs_to(id);
    assert!(!mine("nobody's") || owners.is_empty());
    assert!(owners.iter().all(|id| !mine(id) || owners.iter().all(|other| other == id)));
    true
}

/// What a command says: exit status, standard output and, after a line of `--`, standard error; the same text as a
/// command line.
///
/// # Panics
/// If what a failure quotes is long, or something is taken for a command that renders to something else.
pub fn commands(data: &[u8]) -> bool {
    let Some((exit, rest)) = data.split_first() else { return false };
    let text = String::from_utf8_lossy(rest);
    let (stdout, stderr) = halves(&text);
    let argv: Vec<String> = stdout.lines().map(str::to_owned).collect();
    let stdin = (!stderr.is_empty()).then(|| Sensitive::text(stderr));
    let command = Command::parse(&argv, stdin.as_ref());
    let is_command = command.is_some();
    if let Some(command) = command {
        let rendered = command.render();
        assert_eq!((rendered.argv, rendered.stdin), (argv, stdin));
    }
    let exit = i32::from(exit.wrapping_sub(b'0'));
    let output = Output { exit, stdout: stdout.into(), stderr: stderr.into() };
    for command in some_commands() {
        match command.outcome(&output) {
            Ok(()) => assert_eq!(exit, 0, "{command:?}"),
            Err(Failure::Refused(said) | Failure::Extensions(said)) => {
                assert!(said.chars().count() <= 300, "{said}");
            }
            Err(Failure::Exit { code, text }) => {
                assert!(code == exit && text.chars().count() <= 300, "{text}");
            }
            Err(Failure::NotYet(_) | Failure::ForeignRepository) => assert_ne!(exit, 0),
        }
    }
    let archiving = ArchiveState::read(&output);
    let _ = archiving.as_ref().map(ArchiveState::stuck_s);
    is_command
        || exit != 0
        || output.stdout.starts_with("Successfully")
        || archiving.is_some()
        || ParameterState::read(&output).is_some()
        || SourceState::read(&output).is_some()
        || StandbyState::read(&output).is_some()
        || VolumeTrouble::read(&output).is_some()
        || WalPlace::read(&output).is_some()
        || init_sql::State::read(&output).is_some()
}

fn some_commands() -> [Command; 7] {
    let word = || "hippo".to_owned();
    [
        Command::Databases { databases: vec![word()], extensions: vec![word()] },
        Command::Users { users: Vec::new() },
        Command::Switchover { scope: word(), leader: word(), candidate: None },
        Command::Failover { scope: word(), candidate: word() },
        Command::RestartPending { scope: word(), member: word() },
        Command::StanzaCreate { config_hash: word(), postgres_version: 18 },
        Command::BackupInfo,
    ]
}

/// A certificate or several and, after a line of `--`, a key, as people put them into Secrets.
///
/// # Panics
/// If a bundle of what was read trusts others, or fewer.
pub fn certificates(data: &[u8]) -> bool {
    let text = String::from_utf8_lossy(data);
    let (certificates, key) = halves(&text);
    let all = Authority::list(certificates);
    let again = Authority::list(&Authority::bundle(&all));
    assert!(again.iter().all(|a| all.contains(a)), "trusts others");
    assert!(all.iter().all(|a| again.contains(a)), "trusts fewer");
    let _ = is_private_key(key);
    let key = Sensitive::text(key);
    if let Ok(root) = Root::read(certificates, &key) {
        let _ = (root.check(jiff::Timestamp::UNIX_EPOCH), root.renew_at());
    }
    if let Ok(leaf) = Leaf::read(certificates, &key) {
        let _ = (leaf.dns_names(), leaf.renew_at(), leaf.not_after());
        let _ = all.iter().any(|authority| leaf.signed_by(authority));
    }
    !all.is_empty()
}
