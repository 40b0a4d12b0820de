//! The start script of instances, run by a real bash over directories like those of a Pod: it mends the data directory's mode,
//! moves the WAL to where it should be, and says what it can't mend.

#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "a script is run to see what it does"
)]

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;

use ivory_core::scripts;

/// The directories of a Pod below a temporary one.
struct Pod(PathBuf);

impl Pod {
    fn new(name: &str) -> Self {
        let root =
            std::env::temp_dir().join(format!("ivory-startup-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&root);
        let pod = Self(root);
        for file in ["tls.crt", "tls.key", "ca.crt"] {
            pod.write(&format!("pgconf/tls/replication/{file}"), "x", 0o644);
        }
        let postgres =
            "#!/bin/sh\n[ \"$1\" = -C ] && echo \"$PGDATA\" || echo 'postgres (PostgreSQL) 18.4'\n";
        pod.write("bin/postgres", postgres, 0o755);
        pod.write("pgdata/pg18/PG_VERSION", "18\n", 0o644);
        pod.write("pgdata/pg18/pg_wal/000000010000000000000001", "log", 0o600);
        std::fs::create_dir_all(pod.0.join("pgwal")).expect("a directory");
        pod
    }

    fn write(&self, path: &str, text: &str, mode: u32) {
        let path = self.0.join(path);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        std::fs::write(&path, text).expect("written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("a mode");
    }

    /// Runs the script as the Pod would: whether it ended well, and what it said.
    fn start(&self, version: i32, wal: &str) -> (bool, String) {
        let root = self.0.display().to_string();
        let here = |word: &String| {
            ["/pgdata", "/pgwal", "/pgconf", "/tmp/replication"]
                .iter()
                .fold(word.clone(), |text, path| text.replace(path, &format!("{root}{path}")))
        };
        let argv: Vec<String> = scripts::startup(version, wal, &[]).iter().map(here).collect();
        let path = format!("{root}/bin:{}", std::env::var("PATH").unwrap_or_default());
        let output = Command::new(&argv[0])
            .args(&argv[1..])
            .env("PATH", path)
            .env("PGDATA", format!("{root}/pgdata/pg{version}"))
            .output()
            .expect("bash runs");
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&said).replace(&root, ""))
    }

    fn mode(&self, path: &str) -> u32 {
        let found = std::fs::metadata(self.0.join(path)).expect("it is there");
        found.permissions().mode() & 0o7777
    }

    /// Where `pg_wal` leads to.
    fn wal(&self) -> String {
        let wal = self.0.join("pgdata/pg18/pg_wal");
        assert!(wal.join("000000010000000000000001").is_file(), "the log is there");
        let real = std::fs::canonicalize(wal).expect("it leads somewhere");
        let root = std::fs::canonicalize(&self.0).expect("a directory");
        real.strip_prefix(root).expect("within the Pod").display().to_string()
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn modes_are_mended_at_each_start() {
    let pod = Pod::new("modes");
    for mode in [0o755, 0o2770, 0o700] {
        let data = pod.0.join("pgdata/pg18");
        std::fs::set_permissions(&data, std::fs::Permissions::from_mode(mode)).expect("a mode");
        let (good, said) = pod.start(18, "/pgdata/pg18_wal");
        assert!(good, "{said}");
        assert_eq!(pod.mode("pgdata/pg18") & 0o777, 0o700, "from {mode:o}: {said}");
    }
    assert_eq!(pod.mode("tmp/replication/tls.key"), 0o600);
}

#[test]
fn a_directory_whose_renewal_was_cut_short_comes_back() {
    let pod = Pod::new("renewal");
    let (data, next) = ("pgdata/pg18", "pgdata/pg18.ivory-operator-new");
    std::fs::rename(pod.0.join(data), pod.0.join(next)).expect("renamed");
    let (good, said) = pod.start(18, "/pgdata/pg18_wal");
    assert!(good, "{said}");
    assert_eq!(pod.wal(), "pgdata/pg18_wal");
}

#[test]
fn wal_moves_to_where_it_should_be_and_back() {
    let pod = Pod::new("wal");
    for wal in ["/pgdata/pg18_wal", "/pgwal/pg18_wal", "/pgwal/pg18_wal", "/pgdata/pg18_wal"] {
        let (good, said) = pod.start(18, wal);
        assert!(good, "{said}");
        assert_eq!(pod.wal(), wal[1..], "{said}");
    }
}

#[test]
fn what_can_not_be_mended_is_said() {
    let pod = Pod::new("words");
    pod.write("pgdata/pg18/PG_VERSION", "15\n", 0o644);
    let (good, said) = pod.start(18, "/pgdata/pg18_wal");
    assert!(!good && said.contains("Expected PostgreSQL data version 18"), "{said}");
    let (good, said) = pod.start(17, "/pgdata/pg17_wal");
    assert!(!good && said.contains("Expected PostgreSQL version 17"), "{said}");
}
