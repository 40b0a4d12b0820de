//! Every target survives its seeds, what is a few bytes away from them, and what is nothing like them.

use std::path::Path;

use ivory_fuzz::{TARGETS, Target};
use proptest::prelude::*;

fn seeds(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(name);
    let mut files: Vec<_> =
        folder.read_dir().expect("seeds").map(|e| e.expect("an entry").path()).collect();
    files.sort();
    files.iter().map(|file| std::fs::read(file).expect("readable")).collect()
}

/// A small change of bytes.
#[derive(Clone, Debug)]
enum Change {
    Replace(prop::sample::Index, u8),
    Insert(prop::sample::Index, Vec<u8>),
    Remove(prop::sample::Index, usize),
    /// A piece of another place is put here.
    Copy(prop::sample::Index, prop::sample::Index, usize),
}

fn change() -> impl Strategy<Value = Change> {
    let at = any::<prop::sample::Index>;
    // What means something in JSON, PEM, numbers and times.
    let word = prop::sample::select(vec![
        "\"",
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "-",
        ".",
        "0",
        "9",
        "99999999999999999999",
        "null",
        "true",
        "e",
        "E",
        "\n",
        "\n--\n",
        " ",
        "/",
        "*",
        "@",
        "\\",
        "\u{fc}",
        "i",
        "m",
    ]);
    prop_oneof![
        (at(), any::<u8>()).prop_map(|(at, byte)| Change::Replace(at, byte)),
        (at(), word).prop_map(|(at, word)| Change::Insert(at, word.as_bytes().to_vec())),
        (at(), 1..40_usize).prop_map(|(at, length)| Change::Remove(at, length)),
        (at(), at(), 1..40_usize).prop_map(|(from, to, length)| Change::Copy(from, to, length)),
    ]
}

fn changed(mut seed: Vec<u8>, changes: &[Change]) -> Vec<u8> {
    for change in changes {
        let size = seed.len() + 1;
        match change {
            Change::Replace(at, byte) if size > 1 => seed[at.index(size - 1)] = *byte,
            Change::Replace(..) => {}
            Change::Insert(at, bytes) => {
                let at = at.index(size);
                seed.splice(at..at, bytes.iter().copied());
            }
            Change::Remove(at, length) => {
                let at = at.index(size);
                seed.drain(at..(at + length).min(seed.len()));
            }
            Change::Copy(from, to, length) => {
                let (from, to) = (from.index(size), to.index(size));
                let piece = seed[from..(from + length).min(seed.len())].to_vec();
                seed.splice(to..to, piece);
            }
        }
    }
    seed
}

fn survives(target: Target, data: &[u8]) -> Result<(), TestCaseError> {
    let told = || format!("{:?}", String::from_utf8_lossy(data));
    std::panic::catch_unwind(|| target(data)).map(drop).map_err(|_| TestCaseError::fail(told()))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_near_a_seed_is_survived(
        pick in any::<prop::sample::Index>(),
        changes in prop::collection::vec(change(), 0..4),
    ) {
        for (name, target) in TARGETS {
            let seeds = seeds(name);
            survives(*target, &changed(pick.get(&seeds).clone(), &changes))?;
        }
    }

    #[test]
    fn any_bytes_are_survived(data in prop::collection::vec(any::<u8>(), 0..60)) {
        for (_, target) in TARGETS {
            survives(*target, &data)?;
        }
    }
}

#[test]
fn seeds_are_survived() {
    for (name, target) in TARGETS {
        let seeds = seeds(name);
        assert!(!seeds.is_empty(), "{name}");
        for seed in &seeds {
            assert!(target(seed), "{name}: {:?} means nothing", String::from_utf8_lossy(seed));
        }
    }
}
