//! The operator's command line.

use clap::{Parser, Subcommand};

/// The IvorySQL operator for Kubernetes.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Print the CustomResourceDefinitions as YAML
    Crd,
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::Crd => print!("{}", crds()?),
    }
    Ok(())
}

/// Both definitions, as two YAML documents.
fn crds() -> anyhow::Result<String> {
    use ivory_core::api::{crd_ivorycluster, crd_ivyupgrade};
    let documents = [crd_ivorycluster(), crd_ivyupgrade()];
    let texts: Result<Vec<String>, _> = documents.iter().map(serde_saphyr::to_string).collect();
    Ok(texts?.join("---\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printed_definitions_read_back_as_they_are() {
        use ivory_core::api::{crd_ivorycluster, crd_ivyupgrade};
        let printed: Vec<serde_json::Value> =
            serde_saphyr::from_multiple(&crds().unwrap()).unwrap();
        assert_eq!(printed, [crd_ivorycluster(), crd_ivyupgrade()]);
    }
}
