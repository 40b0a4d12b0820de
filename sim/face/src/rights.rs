//! What a ServiceAccount may do: the rules of the Roles and ClusterRoles that are bound to it, and nothing else.

use ivory_core::Kind;
use ivory_core::object::Object;
use ivory_sim::kube::{ApiServer, Status};
use serde_json::Value;

use crate::faults::Asked;
use crate::tokens::Holder;

/// Whether a request is permitted.
///
/// # Errors
/// 403, in the real server's words.
pub(crate) fn check(api: &ApiServer, holder: &Holder, asked: &Asked) -> Result<(), Status> {
    let Holder::Account { namespace, name, .. } = holder else {
        return Ok(());
    };
    let bound = |binding: &&std::sync::Arc<Object>| {
        let subjects = binding.at(&["subjects"]).and_then(Value::as_array);
        subjects.into_iter().flatten().any(|subject| {
            let text = |key: &str| subject[key].as_str();
            text("kind") == Some("ServiceAccount")
                && text("name") == Some(name)
                && text("namespace").is_none_or(|n| n == namespace)
        })
    };
    let everywhere = api.list(Kind::ClusterRoleBinding, None);
    let here =
        api.list(Kind::RoleBinding, Some(&asked.namespace)).filter(|_| !asked.namespace.is_empty());
    let permitted = everywhere.chain(here).filter(bound).any(|binding| {
        let role = binding.str_at(&["roleRef", "name"]).unwrap_or_default();
        let role = match binding.str_at(&["roleRef", "kind"]) {
            Some("ClusterRole") => api.get(Kind::ClusterRole, "", role),
            _ => api.get(Kind::Role, &binding.meta.namespace, role),
        };
        let rules = role.and_then(|role| role.at(&["rules"])?.as_array());
        rules.into_iter().flatten().any(|rule| permits(rule, asked))
    });
    if permitted {
        return Ok(());
    }
    let (kind, group) = (asked.kind, asked.kind.group());
    let what = match group {
        "" => asked.resource.clone(),
        group => format!("{}.{group}", asked.resource),
    };
    let what = if asked.name.is_empty() { what } else { format!("{what} \"{}\"", asked.name) };
    let place = match &*asked.namespace {
        "" => "at the cluster scope".to_owned(),
        namespace => format!("in the namespace \"{namespace}\""),
    };
    let message = format!(
        "{what} is forbidden: User \"{}\" cannot {} resource \"{}\" in API group \"{}\" {place}",
        holder.user(),
        asked.verb,
        asked.resource,
        kind.group(),
    );
    Err(Status { code: 403, reason: "Forbidden", message, causes: Vec::new() })
}

/// Whether a rule of a Role permits what is asked.
#[must_use]
pub fn permits(rule: &Value, asked: &Asked) -> bool {
    let has = |key: &str, wanted: &str| {
        let list = rule[key].as_array().into_iter().flatten();
        list.filter_map(Value::as_str).any(|word| word == "*" || word == wanted)
    };
    let names = rule["resourceNames"].as_array().filter(|names| !names.is_empty());
    has("apiGroups", asked.kind.group())
        && has("resources", &asked.resource)
        && has("verbs", asked.verb)
        && names.is_none_or(|names| names.iter().any(|n| n.as_str() == Some(&*asked.name)))
}
