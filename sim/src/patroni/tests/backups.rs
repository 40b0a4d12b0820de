//! Repositories: stanza, archive, backups, restores, clones.

use std::sync::Arc;

use ivory_core::command::Command;
use ivory_core::crypto::pki::Root;

use super::bench::{Bench, NS, SCOPE, name};
use crate::client::{Client, lost_rows};
use crate::kube::{DeleteOptions, ObjectRef, Verb};
use crate::patroni::config::Version;
use crate::pgbackrest::backup_job::{BackupJob, BackupStart};
use crate::pgbackrest::restore_job::{RestoreJob, RestoreStart};
use crate::postgres::auth::Certificate;
use crate::time::Span;

const V4: Version = Version(4, 1, 4);

fn archiving() -> serde_json::Value {
    let mut dynamic = Bench::quick();
    dynamic["postgresql"]["parameters"] = serde_json::json!({"archive_mode": "on"});
    dynamic
}

fn stanza(hash: &str) -> Command {
    Command::StanzaCreate { config_hash: hash.into(), postgres_version: 18 }
}

fn backup(bench: &mut Bench, options: &str) -> Vec<String> {
    let start = BackupStart {
        pod: "hippo-backup-abcd".into(),
        namespace: NS.into(),
        selector: "repo=host".into(),
        container: "pgbackrest".into(),
        options: format!("--stanza=db --repo=1 {options}"),
        config_hash: "".into(),
        fast: true,
        sql_port: 5432,
    };
    bench.process(Arc::new(BackupJob::new(start)))
}

fn repository(bench: &Bench) -> &crate::pgbackrest::Stanza {
    let volume = bench.world.kube(bench.kube).volume("repo1").expect("a volume");
    volume.repository.as_ref().and_then(|r| r.stanza.as_ref()).expect("a stanza")
}

fn healthy(seed: u64) -> (Bench, String) {
    let mut bench = Bench::new(seed, V4, archiving());
    bench.repo_host(None);
    (0..3).for_each(|i| bench.add(&name(i)));
    bench.run(10.0);
    let leader = bench.leader().expect("a leader");
    let output = bench.exec(&leader, stanza(""));
    assert_eq!((output.exit, &*output.stderr), (0, ""));
    (bench, leader)
}

#[test]
fn stanza_creation_and_its_refusals() {
    let (mut bench, leader) = healthy(41);
    assert_eq!(bench.exec(&leader, stanza("")).exit, 0, "again is fine");
    let output = bench.exec(&leader, stanza("other"));
    assert_eq!(output.exit, 1);
    assert_eq!(
        stanza("other").outcome(&output),
        Err(ivory_core::command::Failure::NotYet(
            "the settings of pgBackRest have not reached the Pod"
        ))
    );
    // Somebody else's repository.
    let kube = bench.kube;
    let volume = bench.world.kube_mut(kube).volume_mut("repo1").expect("a volume");
    let held = volume.repository.as_mut().and_then(|r| r.stanza.as_mut()).expect("a stanza");
    held.system_id = 1;
    let output = bench.exec(&leader, stanza(""));
    assert_eq!(stanza("").outcome(&output), Err(ivory_core::command::Failure::ForeignRepository));
    let upgrade = Command::StanzaUpgrade { config_hash: String::new(), postgres_version: 18 };
    assert_eq!(bench.exec(&leader, upgrade).exit, 0);
}

/// Nothing reloads it here: so it is without the sidecar that does.
#[test]
fn a_server_whose_certificate_has_ended_takes_nothing() {
    let mut bench = Bench::new(47, V4, archiving());
    let begin = bench.world.now().timestamp() - jiff::SignedDuration::from_hours(365 * 24);
    let issued = Root::generate(&[1; 32], begin);
    let root = Root::read(&issued.certificate, &issued.key).expect("a root");
    // A leaf is dated back by an hour.
    let a_minute_left = begin + jiff::SignedDuration::from_secs(3600 + 60);
    let leaf = root.issue(&[2; 32], "repo", &["repo".into()], a_minute_left).expect("a leaf");
    let certificate = leaf.certificate.as_str().into();
    bench.repo_host(Some(Certificate { certificate, key: leaf.key }));
    bench.add(&name(0));
    bench.run(10.0);
    let leader = bench.leader().expect("a leader");
    assert_eq!(bench.exec(&leader, stanza("")).exit, 0);
    bench.run(100.0);
    let output = bench.exec(&leader, stanza(""));
    assert_ne!(output.exit, 0);
    let text = format!("{}{}", output.stdout, output.stderr);
    assert!(text.contains("certificate has expired"), "{text}");
}

#[test]
fn backups_and_their_listing() {
    let (mut bench, leader) = healthy(42);
    assert!(backup(&mut bench, "").iter().all(|l| !l.contains("failed")));
    assert!(backup(&mut bench, "--type=incr").iter().all(|l| !l.contains("failed")));
    let output = bench.exec(&leader, Command::BackupInfo);
    let info = ivory_core::pgbackrest::info::Info::parse(&output.stdout).expect("readable");
    assert_eq!(info.has_backup(1), Some(true));
    let id = bench.annotation("hippo-ha-config", "initialize").expect("initialized");
    assert!(info.belongs_to(&id));
    let kinds: Vec<&str> = info.repos[&1].backups.iter().map(|b| &*b.kind).collect();
    assert_eq!(kinds, ["full", "incr"]);
}

/// The archive lets a point in time be reached, and a restored cluster begins a timeline that the archive does not
/// have.
#[test]
fn restore_to_a_point_in_time() {
    let (mut bench, leader) = healthy(43);
    assert!(backup(&mut bench, "").iter().all(|l| !l.contains("failed")));
    let client = bench.client();
    bench.run(90.0);
    let target = bench.world.now();
    let then = bench.world.actor::<Client>(client).expect("alive").acked().len();
    bench.run(130.0);
    let archived = repository(&bench).archive[&1].end;
    assert!(archived > 0, "archive_timeout closes segments of an active cluster");
    bench.world.kill(client, 0);
    for index in 0..3 {
        let who = name(index);
        if who != leader {
            bench.term(&who);
        }
    }
    bench.run(3.0);
    bench.term(&leader);
    bench.run(6.0);
    let at = target.timestamp().strftime("%Y-%m-%d %H:%M:%S.%6f+00");
    let start = RestoreStart {
        namespace: NS.into(),
        pod: "hippo-pgbackrest-restore".into(),
        volume: leader.as_str().into(),
        directory: "pg18".into(),
        wal_directory: "/pgdata/pg18_wal".into(),
        options: format!("--type=time --target=\"{at}\" --stanza=db --repo=1 --delta"),
        repositories: bench.repositories.clone(),
    };
    let lines = bench.process(Arc::new(RestoreJob::new(start)));
    assert!(lines.iter().any(|l| l.contains("timeline 2")), "{lines:?}");
    for object in [SCOPE, "hippo-ha-config"] {
        bench.request(Verb::Delete {
            target: ObjectRef::new(ivory_core::Kind::Endpoints, NS, object),
            options: DeleteOptions::default(),
        });
    }
    bench.method = Some("existing");
    bench.start(&leader);
    bench.until(5.0, |b| b.leader().is_some());
    assert_eq!(bench.timeline(&leader), 2);
    let rows = bench.data(&leader).contents.rows("app").map_or(0, |r| r.len());
    assert!(rows.abs_diff(then) <= 2, "{rows} rows, {then} at the target");
    // The others follow: their data diverged.
    for index in 0..3 {
        let who = name(index);
        if who != leader {
            bench.start(&who);
        }
    }
    bench.run(30.0);
    for index in 0..3 {
        assert_eq!(bench.timeline(&name(index)), 2, "{}", bench.journal());
    }
}

/// A replica that comes from the repository catches up by streaming; a left-over `no_master` makes Patroni 4 fall
/// back to a base backup (components.md §1.11).
#[test]
fn clones_from_the_repository() {
    for (flag, word) in [("no_leader", "cloned"), ("no_master", "refuses its command line")] {
        let (mut bench, leader) = healthy(44);
        assert!(backup(&mut bench, "").iter().all(|l| !l.contains("failed")));
        let client = bench.client();
        bench.run(3.0);
        let yaml = format!(
            "postgresql: {{create_replica_methods: [pgbackrest, basebackup], pgbackrest: {{command: 'pgbackrest restore --repo=1', keep_data: true, no_params: true, {flag}: true}}}}"
        );
        bench.extra.insert(name(3), yaml);
        bench.add(&name(3));
        bench.until(20.0, |b| b.streams(&name(3)));
        bench.run(1.0);
        assert!(bench.journal().contains(word), "{}", bench.journal());
        bench.world.kill(client, 0);
        bench.run(1.0);
        let rows =
            |n: &str| bench.data(n).contents.rows("app").map(crate::postgres::contents::Rows::len);
        assert_eq!(rows(&name(3)), rows(&leader));
    }
}

/// With a shared archive a lost promotion's timeline is never used again (§6.1).
#[test]
fn timelines_do_not_repeat_with_an_archive() {
    let (mut bench, leader) = healthy(45);
    let client = bench.client();
    bench.run(2.0);
    let kube = bench.kube;
    let volume = bench.world.kube_mut(kube).volume_mut("repo1").expect("a volume");
    let held = volume.repository.as_mut().and_then(|r| r.stanza.as_mut()).expect("a stanza");
    held.archive.insert(7, crate::pgbackrest::Archive::default());
    bench.kill(&leader);
    bench.until(30.0, |b| b.leader().is_some());
    let new = bench.leader().expect("a leader");
    assert_eq!(bench.timeline(&new), 8);
    bench.world.advance(Span::s(2));
    let lost = lost_rows(&bench.world, bench.kube, NS, SCOPE, &[client]).expect("one primary");
    assert!(lost.values().map(Vec::len).sum::<usize>() <= 1, "{lost:?}");
}
