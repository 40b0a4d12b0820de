//! What is generated for an installation.

use ivory_core::api::{crd_ivorycluster, crd_ivyupgrade};

use crate::rbac;

/// Both CustomResourceDefinitions, as two YAML documents.
///
/// # Errors
/// When they can't be written as YAML.
pub fn crds() -> anyhow::Result<String> {
    let documents = [crd_ivorycluster(), crd_ivyupgrade()];
    let texts: Result<Vec<String>, _> = documents.iter().map(serde_saphyr::to_string).collect();
    Ok(texts?.join("---\n"))
}

/// Definitions and roles.
///
/// # Errors
/// As [`crds`].
pub fn all() -> anyhow::Result<String> {
    Ok(format!("{}---\n{}", crds()?, rbac::all()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printed_definitions_read_back_as_they_are() {
        let printed: Vec<serde_json::Value> =
            serde_saphyr::from_multiple(&crds().unwrap()).unwrap();
        assert_eq!(printed, [crd_ivorycluster(), crd_ivyupgrade()]);
    }

    #[test]
    fn everything_is_one_stream_of_documents() {
        let printed: Vec<serde_json::Value> = serde_saphyr::from_multiple(&all().unwrap()).unwrap();
        let kinds: Vec<_> = printed.iter().map(|d| d["kind"].as_str().unwrap()).collect();
        let (crd, role) = ("CustomResourceDefinition", "ClusterRole");
        assert_eq!(kinds, [crd, crd, role, "Role", "RoleBinding", role, "ClusterRoleBinding"]);
    }
}
