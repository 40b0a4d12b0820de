//! The page of edits and their effects is what `ivory-sim try OLD --then NEW` says of each. `UPDATE_EFFECTS=1 cargo test
//! -p ivory-sim --test effects` writes it anew.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "it starts the program as a user does; no World is concerned"
)]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

const PAGE: &str = "../scenarios/EFFECTS.md";
const HEAD: &str = "# What an edit does

Each row is the answer of `ivory-sim try OLD --then NEW` for the manifest [05-replicas.yaml](../examples/tutorial/05-replicas.yaml)
(a primary and a replica) and one edit; ask it for your own before you apply one. A test compares this page with the
program. Writes stop for as long as a client that commits every 100 ms through the Service sees; on a real cluster add what
your storage and nodes take.

| edit | what restarts, in order | what is new | writes stop | data |
| --- | --- | --- | --- | --- |
";

/// The manifest, with fields of its spec merged in; `size` stands for the size of a set's data volume.
fn manifest(changes: [&Value; 2]) -> Value {
    let text = std::fs::read_to_string(root("../examples/tutorial/05-replicas.yaml"));
    let mut manifest: Value = serde_saphyr::from_str(&text.expect("the example")).expect("YAML");
    for change in changes {
        json_patch::merge(&mut manifest["spec"], change);
    }
    for set in manifest["spec"]["instances"].as_array_mut().expect("sets") {
        let size = set.as_object_mut().and_then(|s| s.remove("size")).unwrap_or(json!("1Gi"));
        set["dataVolumeClaimSpec"] =
            json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}});
    }
    manifest
}

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// What the program says of one edit.
fn answer(index: usize, row: &Value) -> String {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (from, with) = (row.get("from").unwrap_or(&json!({})).clone(), &row["with"]);
    let write = |name: &str, manifest: Value| {
        let path = folder.join(format!("effect-{index}-{name}.yaml"));
        std::fs::write(&path, manifest.to_string()).expect("a file");
        path
    };
    let (old, new) =
        (write("old", manifest([&from, &json!({})])), write("new", manifest([&from, with])));
    let mut program = Command::new(env!("CARGO_BIN_EXE_ivory-sim"));
    let output = program.arg("try").arg(old).arg("--then").arg(new).env("NO_COLOR", "1").output();
    let output = output.expect("the program");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let report = text.split("What this edit does").nth(1).map(str::to_owned);
    report.unwrap_or_else(|| panic!("{row}: {text}{}", String::from_utf8_lossy(&output.stderr)))
}

/// One line of the page.
fn line(edit: &str, report: &str) -> String {
    let after = |label: &str| report.lines().find_map(|l| l.strip_prefix(label));
    let indented = |label: &str| {
        let lines = report.lines().skip_while(|l| !l.starts_with(label)).skip(1);
        let list: Vec<&str> = lines.take_while(|l| l.starts_with("  ")).map(str::trim).collect();
        list.join("; ")
    };
    let restarts = match after("Restarts: ") {
        Some(_) => "nothing".to_owned(),
        None => indented("Restarts, in this order:"),
    };
    let new = after("New Pods: ").unwrap_or("–").trim_end_matches('.');
    let gap = after("Write gap: ").and_then(|g| g.split(';').next()).unwrap_or("?");
    let gap = gap.replace("none that an application would notice", "not noticeably");
    let data = match after("Data: ") {
        Some(_) => "stays".to_owned(),
        None => indented("Data:"),
    };
    format!("| {edit} | {restarts} | {new} | {gap} | {data} |\n")
}

#[test]
fn the_page_says_what_the_program_says() {
    let rows: Vec<Value> =
        serde_saphyr::from_str(include_str!("effects.yaml")).expect("a list of edits");
    let half = rows.len().div_ceil(2);
    let told = |part: &[Value], from: usize| {
        let line = |(i, row): (usize, &Value)| {
            line(row["edit"].as_str().expect("a name"), &answer(from + i, row))
        };
        part.iter().enumerate().map(line).collect::<String>()
    };
    let (first, second) = rows.split_at(half);
    let (first, second) = std::thread::scope(|scope| {
        let other = scope.spawn(|| told(second, half));
        (told(first, 0), other.join().expect("no panic"))
    });
    let mut page = HEAD.to_owned();
    let _ = write!(page, "{first}{second}");
    if std::env::var_os("UPDATE_EFFECTS").is_some() {
        std::fs::write(root(PAGE), &page).expect("the page");
    }
    let found = std::fs::read_to_string(root(PAGE)).unwrap_or_default();
    assert!(
        found == page,
        "scenarios/EFFECTS.md is out of date; UPDATE_EFFECTS=1 cargo test -p ivory-sim --test effects writes it:\n{page}"
    );
}
