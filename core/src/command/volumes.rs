//! What the file systems of an instance's volumes are like, whatever its PostgreSQL does.

use crate::read::Output;

/// Where they are mounted.
pub(super) const MOUNTS: [&str; 2] = ["/pgdata", "/pgwal"];

/// One line for each that is there: where, how many KiB are free for whoever is no superuser, and `ro` or `rw`.
pub(super) const SCRIPT: &str = r#"for mount in "$@"; do
  [[ -d ${mount} ]] || continue
  free=$(df -Pk -- "${mount}" | { read -r _; read -r _ _ _ free _; echo "${free}"; })
  mode=rw
  while read -r _ at _ options _; do
    if [[ ${at} == "${mount}" && ,${options}, == *,ro,* ]]; then mode=ro; fi
  done < /proc/mounts
  echo "${mount} ${free} ${mode}"
done"#;

/// Below so much PostgreSQL can't make another segment of its log: 16 MiB, its default.
const SEGMENT_KIB: u64 = 16 << 10;

/// What is wrong with a volume.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum VolumeTrouble {
    /// There is no room for another segment of the log.
    Full,
    /// Its file system takes no writes.
    ReadOnly,
}

impl VolumeTrouble {
    /// What is wrong with which of an instance's volumes, by the answer to [`super::Command::VolumeState`]: the mount, and
    /// what. Empty when nothing is; none for anything that is no such answer.
    #[must_use]
    pub fn read(output: &Output) -> Option<Vec<(String, Self)>> {
        let mut found = Vec::new();
        for line in output.stdout.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [mount, free_kib, mode] = words[..] else { return None };
            let full = free_kib.parse::<u64>().ok()? < SEGMENT_KIB;
            match (mode, full) {
                ("ro", _) => found.push((mount.to_owned(), Self::ReadOnly)),
                ("rw", true) => found.push((mount.to_owned(), Self::Full)),
                ("rw", false) => {}
                _ => return None,
            }
        }
        (!output.stdout.trim().is_empty()).then_some(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read() {
        let one = |mount: &str, what| Some(vec![(mount.to_owned(), what)]);
        for (text, expected) in [
            ("/pgdata 1000000 rw\n", Some(Vec::new())),
            ("/pgdata 0 rw\n", one("/pgdata", VolumeTrouble::Full)),
            ("/pgdata 16384 rw\n/pgwal 16383 rw\n", one("/pgwal", VolumeTrouble::Full)),
            ("/pgdata 0 ro\n", one("/pgdata", VolumeTrouble::ReadOnly)),
            ("", None),
            ("/pgdata none rw\n", None),
            ("/pgdata 1 rx\n", None),
            ("/pgdata 1\n", None),
        ] {
            let output = Output { exit: 0, stdout: text.into(), stderr: "".into() };
            assert_eq!(VolumeTrouble::read(&output), expected, "{text}");
        }
    }
}
