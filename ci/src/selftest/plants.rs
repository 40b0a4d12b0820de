//! The table of things to break, and the words by which a gate shows that it saw each.

use anyhow::ensure;

use crate::cargo::cargo;
use crate::copy::Copy;

/// A word that stands nowhere in a sound tree but in this folder.
pub(super) const MARK: &str = "planted";

/// One thing wrong.
pub(super) struct Plant {
    pub(super) gate: &'static str,
    pub(super) what: &'static str,
    pub(super) put: fn(&Copy) -> anyhow::Result<()>,
    /// Stands in each finding that counts.
    pub(super) mark: &'static str,
    /// Each must stand in a finding, with the mark.
    pub(super) signs: &'static [&'static str],
}

const CRD: &str =
    "examples/kustomize/install/crd/bases/ivory-operator.ivorysql.org_ivoryclusters.yaml";

/// Code that does what a pure crate must not.
const IMPURE: &str = "\
//! Planted.

/// Planted.
pub fn planted() -> std::collections::HashMap<u8, u8> {
    println!(\"{:?} {:?}\", std::time::SystemTime::now(), std::env::var(\"HOME\"));
    std::thread::sleep(std::time::Duration::ZERO);
    std::collections::HashMap::new()
}
";
const IMPURE_SIGNS: &[&str] =
    &["HashMap", "println", "SystemTime::now", "env::var", "thread::sleep"];

pub(super) const PLANTS: &[Plant] = &[
    Plant {
        gate: "tidy",
        what: "a file that says nothing of itself, with work left open",
        put: |copy| {
            let lines = concat!("fn a() {} \n\tto", "do!()\n#[ig", "nore]\n// FIX", "ME X", "XX\n");
            copy.write("core/src/planted.rs", lines)
        },
        mark: "core/src/planted.rs",
        signs: &[
            "open with `//!`",
            "white space",
            "a tab",
            concat!("to", "do!"),
            concat!("#[ig", "nore"),
            concat!("FIX", "ME"),
            concat!("X", "XX"),
        ],
    },
    Plant {
        gate: "tidy",
        what: "a file that is too long",
        put: |copy| copy.write("sim/src/planted.rs", &"//! Planted.\n".repeat(801)),
        mark: "sim/src/planted.rs",
        signs: &["801 lines"],
    },
    Plant {
        gate: "tidy",
        what: "a path of one machine",
        put: |copy| copy.write("examples/planted.yaml", concat!("path: /ro", "ot/x\n")),
        mark: "examples/planted.yaml",
        signs: &["one machine only"],
    },
    Plant {
        gate: "tidy",
        what: "a folder that the map does not show",
        put: |copy| copy.write("operator/src/planted/mod.rs", "//! Planted.\n"),
        mark: "ARCHITECTURE.md",
        signs: &["name `operator/src/planted/`"],
    },
    Plant {
        gate: "tidy",
        what: "a scenario without a transcript, and the reverse",
        put: |copy| {
            copy.write("scenarios/planted-a.yaml", "\n")?;
            copy.write("snapshots/planted-b.txt", "\n")
        },
        mark: MARK,
        signs: &["scenarios/planted-a.yaml: has no transcript", "snapshots/planted-b: is the"],
    },
    Plant {
        gate: "tidy",
        what: "a page of promises that names what is not there",
        put: |copy| {
            let names = "`planted.yaml` `core/src/steps/tests.rs::planted` `sim/src/planted.rs`\n";
            copy.append("scenarios/PROMISES.md", names)
        },
        mark: MARK,
        signs: &["planted.yaml` is gone", "::planted` is no test", "planted.rs` is gone"],
    },
    Plant {
        gate: "clippy-toml",
        what: "a ban taken out, and another without advice",
        put: |copy| {
            copy.replace(
                "core/clippy.toml",
                "path = \"std::collections::HashMap\"",
                "path = \"x\"",
            )?;
            copy.replace("sim/clippy.toml", "sleep\", reason = \"", "sleep\", reason = \"\" } # ")
        },
        mark: "clippy.toml",
        signs: &[
            "core/clippy.toml: disallowed-types lacks std::collections::HashMap",
            "std::thread::sleep: say",
        ],
    },
    Plant {
        gate: "graph",
        what: "chance in core",
        put: |copy| depend(copy, "core", "rand.workspace = true"),
        mark: "ivory-core",
        signs: &["rand is in its tree"],
    },
    Plant {
        gate: "graph",
        what: "the operator built on the simulator, ci on core",
        put: |copy| {
            depend(copy, "operator", "ivory-sim.workspace = true")?;
            depend(copy, "ci", "ivory-core.workspace = true")
        },
        mark: "must not depend on",
        signs: &[
            "ivory-operator: must not depend on ivory-sim",
            "ivory-ci: must not depend on ivory-core",
        ],
    },
    Plant {
        gate: "fmt",
        what: "code in nobody's style",
        put: |copy| module(copy, "core", "//! Planted.\n/// A.\npub fn a()\n{\n}\n"),
        mark: "core/src/planted.rs",
        signs: &["cargo fmt"],
    },
    Plant {
        gate: "lints",
        what: "a hash map, a clock, the environment, printing and waiting in core",
        put: |copy| module(copy, "core", IMPURE),
        mark: "core/src/planted.rs",
        signs: IMPURE_SIGNS,
    },
    Plant {
        gate: "lints",
        what: "the same in the simulator",
        put: |copy| module(copy, "sim", IMPURE),
        mark: "sim/src/planted.rs",
        signs: IMPURE_SIGNS,
    },
    Plant {
        gate: "fresh",
        what: "a generated file edited by hand",
        put: |copy| copy.append(CRD, "# planted\n"),
        mark: MARK,
        signs: &["-# planted"],
    },
];

/// Adds a module of this text to a member's library.
fn module(copy: &Copy, member: &str, text: &str) -> anyhow::Result<()> {
    copy.write(&format!("{member}/src/planted.rs"), text)?;
    copy.append(&format!("{member}/src/lib.rs"), "\npub mod planted;\n")
}

/// Adds a dependency to a member, and to the lock file, so that `--locked` is not what fails.
fn depend(copy: &Copy, member: &str, line: &str) -> anyhow::Result<()> {
    let head = "[dependencies]\n";
    copy.replace(&format!("{member}/Cargo.toml"), head, &format!("{head}{line}\n"))?;
    copy.touch("Cargo.lock");
    let said = cargo(&copy.tree, &["update", "--workspace", "--offline"])?;
    ensure!(said.ok, "can't lock: {}", said.stderr.trim());
    Ok(())
}
