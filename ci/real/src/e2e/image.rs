//! The operator's image as an archive (the form of `docker save`): one layer with one static binary, or with
//! the libraries that it needs beside it. No container engine is needed to make it, and every one can load it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};
use serde_json::json;
use sha2::{Digest as _, Sha256};

/// The image's size in bytes must not be more: 25 MB.
pub(crate) const SIZE_MAX_BYTES: u64 = 25_000_000;
const TARGET: &str = "x86_64-unknown-linux-musl";

/// An image archive.
pub(crate) struct Image {
    /// The archive.
    pub(crate) archive: PathBuf,
    /// What the image holds, in bytes.
    pub(crate) size_bytes: u64,
    /// A digest of it.
    pub(crate) digest: String,
}

/// Builds the operator as it is shipped, and gives the binary.
///
/// # Errors
/// When it does not build.
pub(crate) fn build(root: &Path) -> anyhow::Result<PathBuf> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let arguments = ["build", "--release", "--locked", "-p", "ivory-operator", "--target", TARGET];
    let mut command = Command::new(&cargo);
    command.current_dir(root).args(arguments);
    // These describe this program; with them, build scripts that read them would run anew.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    let status = command.status()?;
    ensure!(
        status.success(),
        "the operator does not build; a static binary needs `rustup target add {TARGET}` and musl-tools, \
         or give one with --binary"
    );
    let target =
        std::env::var("CARGO_TARGET_DIR").map_or_else(|_| root.join("target"), PathBuf::from);
    Ok(target.join(TARGET).join("release/ivory-operator"))
}

/// The shared libraries of a binary, the loader included; none of a static one.
fn libraries(binary: &Path) -> anyhow::Result<Vec<String>> {
    let said = Command::new("ldd").arg(binary).output().context("ldd is needed")?;
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    // `libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x…)` and `/lib64/ld-linux-x86-64.so.2 (0x…)`.
    let path = |line: &str| line.split_whitespace().find(|w| w.starts_with('/')).map(str::to_owned);
    Ok(said.lines().filter_map(path).collect())
}

/// Writes the archive of an image that holds the binary and what it needs.
///
/// # Errors
/// When a file can't be read or written.
pub(crate) fn pack(binary: &Path, name: &str, folder: &Path) -> anyhow::Result<Image> {
    let program =
        std::fs::read(binary).with_context(|| format!("{} can't be read", binary.display()))?;
    let mut layer = Vec::new();
    entry(&mut layer, "ivory-operator", 0o755, &program);
    for library in libraries(binary)? {
        let content = std::fs::read(&library)?;
        entry(&mut layer, library.trim_start_matches('/'), 0o755, &content);
    }
    end(&mut layer);
    let diff = hex(&layer);
    let architecture = match std::env::consts::ARCH {
        "aarch64" => "arm64",
        _ => "amd64",
    };
    // As the Containerfile has it.
    let config = json!({
        "architecture": architecture,
        "os": "linux",
        "config": {
            "User": "65532:65532",
            "ExposedPorts": {"8080/tcp": {}, "8081/tcp": {}},
            "Entrypoint": ["/ivory-operator"],
        },
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{diff}")]},
    });
    let config = serde_json::to_vec(&config)?;
    let digest = hex(&config);
    let (config_file, layer_file) = (format!("{digest}.json"), format!("{diff}.tar"));
    let manifest = json!([{"Config": config_file, "RepoTags": [name], "Layers": [layer_file]}]);
    let mut archive = Vec::new();
    entry(&mut archive, &config_file, 0o644, &config);
    entry(&mut archive, &layer_file, 0o644, &layer);
    entry(&mut archive, "manifest.json", 0o644, &serde_json::to_vec(&manifest)?);
    end(&mut archive);
    let path = folder.join("ivory-operator.tar");
    std::fs::write(&path, archive)?;
    Ok(Image { archive: path, size_bytes: layer.len() as u64, digest })
}

/// Hands the archive to whatever loads images into the cluster: a command to which its path is added.
///
/// # Errors
/// When the command fails.
pub(crate) fn load(command: &str, archive: &Path) -> anyhow::Result<()> {
    let status = Command::new("sh")
        .args(["-c", &format!("{command} \"$0\""), &archive.display().to_string()])
        .stdout(std::process::Stdio::null())
        .status()?;
    ensure!(status.success(), "`{command} {}` failed", archive.display());
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

const BLOCK: usize = 512;

/// Adds a file to a tar archive (POSIX ustar): a header of 512 bytes, then the content in blocks of 512.
fn entry(archive: &mut Vec<u8>, name: &str, mode: u32, content: &[u8]) {
    let mut header = [0_u8; BLOCK];
    let mut field = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
    field(0, name.as_bytes());
    field(100, format!("{mode:07o}\0").as_bytes());
    field(108, b"0000000\0");
    field(116, b"0000000\0");
    field(124, format!("{:011o}\0", content.len()).as_bytes());
    field(136, b"00000000000\0");
    field(148, b"        ");
    field(156, b"0");
    field(257, b"ustar\x0000");
    let sum: u32 = header.iter().map(|b| u32::from(*b)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    archive.extend_from_slice(&header);
    archive.extend_from_slice(content);
    archive.resize(archive.len().next_multiple_of(BLOCK), 0);
}

fn end(archive: &mut Vec<u8>) {
    archive.resize(archive.len() + 2 * BLOCK, 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tar_reads_what_was_packed() {
        let folder = std::env::temp_dir().join(format!("ivory-e2e-pack-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("writable");
        let binary = folder.join("binary");
        std::fs::write(&binary, vec![7_u8; 1000]).expect("writable");
        let image = pack(&binary, "example/operator:1", &folder).expect("packed");
        let run = |arguments: &[&str]| {
            let out = Command::new("tar").current_dir(&folder).args(arguments).output();
            let out = out.expect("tar is there");
            assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
            String::from_utf8_lossy(&out.stdout).into_owned()
        };
        let archive = image.archive.display().to_string();
        let listed = run(&["-tf", &archive]);
        assert_eq!(listed.lines().count(), 3, "{listed}");
        run(&["-xf", &archive]);
        let layer = listed.lines().find(|l| l.ends_with(".tar")).expect("a layer");
        assert!(run(&["-tvf", layer]).starts_with("-rwxr-xr-x 0/0"));
        run(&["-xf", layer]);
        assert_eq!(std::fs::read(folder.join("ivory-operator")).expect("there"), vec![7_u8; 1000]);
        std::fs::remove_dir_all(folder).expect("removable");
    }
}
