//! Argument vectors and standard input back to commands.

use super::Command;
use crate::postgres::sql;
use crate::sensitive::Sensitive;

impl Command {
    /// The command that renders to exactly these arguments and this input; none for anything else.
    #[must_use]
    pub fn parse(argv: &[String], stdin: Option<&Sensitive>) -> Option<Self> {
        let words: Vec<&str> = argv.iter().map(String::as_str).collect();
        let input = stdin.and_then(Sensitive::expose_text);
        // A guess by the words that vary; whether the rest is right too is decided by rendering it.
        let guess = guess(&words, input)?;
        let rendered = guess.render();
        (rendered.argv == argv && rendered.stdin.as_ref() == stdin).then_some(guess)
    }
}

fn guess(words: &[&str], input: Option<&str>) -> Option<Command> {
    let owned = |text: &str| text.to_owned();
    Some(match words {
        ["bash", _, _, _, _] => Command::WalDirectory,
        ["bash", _, _, _, _, token] => match input {
            Some(sql) => Command::StartInitSql { token: owned(token), sql: Sensitive::text(sql) },
            None => Command::InitSqlState { token: owned(token) },
        },
        ["bash", _, _, _, _, "/pgdata", "/pgwal"] => Command::VolumeState,
        ["bash", _, _, script, _, timeline, position] if script.contains("pg_walfile_name") => {
            let position = super::render::lsn_of(position)?;
            Command::WalPlace { timeline: timeline.parse().ok()?, position }
        }
        ["bash", _, _, _, _, host, port] if input.is_none() => {
            Command::SourceState { host: owned(host), port: port.parse().ok()? }
        }
        ["bash", _, _, _, _, hash, _, command, version, _]
            if *command == "stanza-create" || *command == "stanza-upgrade" =>
        {
            let config_hash = owned(hash);
            let postgres_version = version.parse().ok()?;
            if *command == "stanza-create" {
                Command::StanzaCreate { config_hash, postgres_version }
            } else {
                Command::StanzaUpgrade { config_hash, postgres_version }
            }
        }
        ["bash", _, _, _, _, _, _, extensions @ ..] => Command::Databases {
            databases: sql::databases::parse(input?)?,
            extensions: extensions.iter().map(|e| owned(e)).collect(),
        },
        ["psql", ..] => match sql::users::parse(input?) {
            Some(users) => Command::Users { users },
            None if input?.contains("pg_stat_wal_receiver") => Command::StandbyState,
            None if input?.contains("pg_stat_archiver") => Command::ArchiveState,
            None if input?.contains("pg_file_settings") => {
                Command::ParameterState { configuration: super::parameters::parse(input?)? }
            }
            None => Command::Checkpoint { timeout_s: checkpoint_timeout_s(input?)? },
        },
        ["patronictl", "edit-config", ..] => {
            Command::ReplaceDynamicConfiguration { config: owned(input?) }
        }
        ["patronictl", "switchover", _, _, leader, candidate, scope] => {
            let candidate = candidate.strip_prefix("--candidate=")?;
            Command::Switchover {
                scope: owned(scope),
                leader: owned(leader.strip_prefix("--leader=")?),
                candidate: (!candidate.is_empty()).then(|| owned(candidate)),
            }
        }
        ["patronictl", "failover", _, candidate, scope] => Command::Failover {
            scope: owned(scope),
            candidate: owned(candidate.strip_prefix("--candidate=")?),
        },
        ["patronictl", "restart", _, _, scope, member] => {
            Command::RestartPending { scope: owned(scope), member: owned(member) }
        }
        ["pgbackrest", "info", ..] => Command::BackupInfo,
        _ => return None,
    })
}

fn checkpoint_timeout_s(script: &str) -> Option<u32> {
    let (_, rest) = script.rsplit_once("SET statement_timeout = '")?;
    rest.split_once("s'")?.0.parse().ok()
}
