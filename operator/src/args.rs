//! Flags and environment. A value that can't be right stops the process at start, with a message that
//! names it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::builder::BoolishValueParser;
use clap::{Args, Parser, Subcommand};

use crate::logging::LogFormat;

/// The feature gates, all off unless named. A gate that a later version knows is refused by an earlier one.
pub const GATES: [&str; 4] =
    ["BridgeIdentifiers", "InstanceSidecars", "PGBouncerSidecars", "TablespaceVolumes"];

/// The IvorySQL operator for Kubernetes.
#[derive(Parser, Debug)]
#[command(version, args_conflicts_with_subcommands = true, after_help = IMAGES_HELP)]
pub struct Cli {
    /// What to do; without a word, the operator runs.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// How to run.
    #[command(flatten)]
    pub run: RunArgs,
}

const IMAGES_HELP: &str = "Images come from the environment, where a cluster names none:
  RELATED_IMAGE_IVORY_<postgresVersion>             the database
  RELATED_IMAGE_IVORY_<postgresVersion>_GIS_<postGISVersion>   the same with PostGIS
  RELATED_IMAGE_PGBACKREST, RELATED_IMAGE_PGBOUNCER, RELATED_IMAGE_PGADMIN, RELATED_IMAGE_PGEXPORTER
HIGHGO_DEBUG=true is understood as IVORY_DEBUG=true. RUST_LOG overrides the log level.";

/// What to do.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Run the operator
    Run(Box<RunArgs>),
    /// Print the CustomResourceDefinitions as YAML
    Crd,
    /// Print the operator's roles as YAML
    Rbac,
    /// Print everything that is generated for an installation: definitions and roles
    Manifests,
}

/// How to run.
#[derive(Args, Debug, Clone)]
pub struct RunArgs {
    /// The operator's own namespace, where its lease lives [default: that of the kubeconfig or Pod]
    #[arg(long, env = "IVYO_NAMESPACE", value_parser = namespace)]
    pub namespace: Option<String>,
    /// The one namespace whose clusters are looked after; empty means all
    #[arg(long, env = "IVYO_TARGET_NAMESPACE", default_value = "", hide_default_value = true, value_parser = namespace_or_empty)]
    pub target_namespace: String,
    /// Several such namespaces, with commas between them; they come on top of the one
    #[arg(long, env = "IVYO_TARGET_NAMESPACES", value_delimiter = ',', value_parser = namespace_or_empty)]
    pub target_namespaces: Vec<String>,
    /// How many clusters may be worked on at once. A pass mostly waits, so more than there are processors
    #[arg(long, env = "IVYO_WORKERS", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..))]
    pub workers: u16,
    /// Feature gates, as Name=true with commas between them: AllAlpha, AllBeta, BridgeIdentifiers,
    /// InstanceSidecars, PGBouncerSidecars, TablespaceVolumes
    #[arg(long, env = "IVYO_FEATURE_GATES", default_value = "", hide_default_value = true, value_parser = gates)]
    pub feature_gates: Gates,
    /// The Lease by which replicas agree who acts; empty for a single replica that always does
    #[arg(long, env = "IVYO_CONTROLLER_LEASE_NAME", default_value = "ivory-operator")]
    pub lease_name: String,
    /// A kubeconfig file [default: KUBECONFIG, ~/.kube/config, or the Pod's service account]
    #[arg(long)]
    pub kubeconfig: Option<PathBuf>,
    /// Log what is looked at as well
    #[arg(long, env = "IVORY_DEBUG", value_parser = BoolishValueParser::new(), default_value = "false", default_missing_value = "true", num_args = 0..=1, require_equals = true)]
    pub debug: bool,
    /// What log lines look like
    #[arg(long, env = "IVYO_LOG_FORMAT", value_enum, default_value = "human")]
    pub log_format: LogFormat,
    /// Where /healthz and /readyz are served
    #[arg(long, env = "IVYO_HEALTH_ADDRESS", default_value = "[::]:8081")]
    pub health_address: SocketAddr,
    /// Where /metrics is served
    #[arg(long, env = "IVYO_METRICS_ADDRESS", default_value = "[::]:8080")]
    pub metrics_address: SocketAddr,
}

/// The feature gates that are on.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Gates(pub BTreeSet<String>);

impl RunArgs {
    /// The namespaces to look after; one empty name means all.
    #[must_use]
    pub fn namespaces(&self) -> Vec<String> {
        let named = self.target_namespaces.iter().chain([&self.target_namespace]);
        let named: BTreeSet<String> = named.filter(|n| !n.is_empty()).cloned().collect();
        if named.is_empty() {
            return vec![String::new()];
        }
        named.into_iter().collect()
    }
}

/// The images that the environment names.
#[must_use]
pub fn images(environment: impl Iterator<Item = (String, String)>) -> BTreeMap<String, String> {
    environment
        .filter(|(name, image)| name.starts_with("RELATED_IMAGE_") && !image.is_empty())
        .collect()
}

fn namespace_or_empty(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(String::new());
    }
    namespace(text)
}

fn namespace(text: &str) -> Result<String, String> {
    let fits = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    let edge = |c: Option<&u8>| c.is_some_and(|c| *c != b'-');
    let bytes = text.as_bytes();
    let good = bytes.iter().all(|c| fits(*c)) && edge(bytes.first()) && edge(bytes.last());
    if good && bytes.len() <= 63 {
        Ok(text.to_owned())
    } else {
        Err("not the name of a namespace".into())
    }
}

fn gates(text: &str) -> Result<Gates, String> {
    let mut on = BTreeSet::new();
    for part in text.split(',').map(str::trim).filter(|p| !p.is_empty()) {
        let (name, value) =
            part.split_once('=').ok_or_else(|| format!("{part:?} is not of the form Name=true"))?;
        let value: bool =
            value.parse().map_err(|_| format!("the gate {name} is neither true nor false"))?;
        let names: &[&str] = match name {
            "AllAlpha" => &GATES,
            "AllBeta" => &[],
            _ => match GATES.iter().position(|gate| *gate == name) {
                Some(index) => &GATES[index..=index],
                None => {
                    return Err(format!("there is no gate {name}; there are {}", GATES.join(", ")));
                }
            },
        };
        for name in names {
            if value {
                on.insert((*name).to_owned());
            } else {
                on.remove(*name);
            }
        }
    }
    Ok(Gates(on))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(arguments: &[&str]) -> Result<RunArgs, String> {
        let all = ["ivory-operator"].iter().chain(arguments);
        match Cli::try_parse_from(all) {
            Ok(cli) => Ok(cli.run),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn the_definition_is_sound() {
        use clap::CommandFactory as _;
        Cli::command().debug_assert();
    }

    #[test]
    fn namespaces_are_one_several_or_all() {
        let check = |arguments: &[&str], expected: &[&str]| {
            assert_eq!(parsed(arguments).unwrap().namespaces(), expected);
        };
        check(&[], &[""]);
        check(&["--target-namespace=a"], &["a"]);
        check(&["--target-namespaces=b,a,b"], &["a", "b"]);
        check(&["--target-namespaces=b", "--target-namespace=a"], &["a", "b"]);
    }

    #[test]
    fn bad_values_are_named() {
        for (argument, words) in [
            ("--workers=0", "workers"),
            ("--workers=many", "workers"),
            ("--target-namespace=No", "not the name of a namespace"),
            ("--namespace=-x", "not the name of a namespace"),
            ("--feature-gates=Flying=true", "there is no gate Flying"),
            ("--feature-gates=InstanceSidecars", "Name=true"),
            ("--feature-gates=InstanceSidecars=maybe", "neither true nor false"),
            ("--log-format=xml", "log-format"),
            ("--health-address=here", "health-address"),
            ("--debug=perhaps", "debug"),
        ] {
            let error = parsed(&[argument]).expect_err(argument);
            assert!(error.contains(words), "{argument}: {error}");
        }
    }

    #[test]
    fn gates_add_up_from_left_to_right() {
        let on = |text: &str| gates(text).unwrap().0.into_iter().collect::<Vec<_>>();
        assert_eq!(on(""), [""; 0]);
        assert_eq!(on("TablespaceVolumes=true"), ["TablespaceVolumes"]);
        assert_eq!(on("AllAlpha=true,InstanceSidecars=false").len(), 3);
    }
}
