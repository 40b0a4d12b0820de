//! Several stories at a time: each lane is a namespace of its own, in which one story after the other is played.
//! A story that breaks what all share, or names namespaces itself, in manifests or in certificates, is played alone.

use ivory_core::Kind;
use ivory_sim::scenario::language::{Act, Scenario, Step};
use serde_json::Value;

use super::faults;

/// The namespace of a lane, by its number from 1.
pub(crate) fn namespace(number: usize) -> String {
    format!("ivory-story-{number}")
}

/// The story in another namespace; none if it must be alone.
pub(crate) fn moved(scenario: &Scenario, to: &str) -> Option<Scenario> {
    let mut moved = scenario.clone();
    let from = std::mem::replace(&mut moved.namespace, to.to_owned());
    let road = Road { from: &from, to };
    road.steps(&mut moved.steps).then_some(moved)
}

/// How a certificate begins, and how that begins in base64.
const CERTIFICATE: &str = "-----BEGIN CERTIFICATE";
const CERTIFICATE_BASE64: &str = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS";

struct Road<'a> {
    from: &'a str,
    to: &'a str,
}

impl Road<'_> {
    /// Whether all steps could be moved.
    fn steps(&self, steps: &mut [Step]) -> bool {
        steps.iter_mut().all(|step| match &mut step.act {
            Act::Apply(manifests) => manifests.iter_mut().all(|m| self.manifest(m)),
            Act::Patch { with, .. } => {
                self.addresses(with);
                true
            }
            Act::Connect(client) => self.name(&mut client.namespace),
            Act::Fault(fault) => faults::within_namespace(fault),
            Act::Each { steps, .. } => self.steps(steps),
            _ => true,
        })
    }

    fn manifest(&self, manifest: &mut Value) -> bool {
        let kind = manifest["kind"].as_str().unwrap_or_default();
        if !Kind::ALL.iter().any(|k| k.name() == kind && k.namespaced()) {
            return false;
        }
        // The names in a certificate are signed.
        let texts = ["stringData", "data"].into_iter().filter_map(|key| manifest[key].as_object());
        let mut texts = texts.flat_map(|data| data.values()).filter_map(Value::as_str);
        if texts.any(|text| text.contains(CERTIFICATE) || text.contains(CERTIFICATE_BASE64)) {
            return false;
        }
        self.addresses(manifest);
        match manifest.pointer_mut("/metadata/namespace") {
            Some(Value::String(namespace)) => self.name(namespace),
            _ => false,
        }
    }

    fn name(&self, namespace: &mut String) -> bool {
        let ours = namespace == self.from;
        self.to.clone_into(namespace);
        ours
    }

    /// Addresses of Services hold their namespace.
    fn addresses(&self, value: &mut Value) {
        match value {
            Value::String(text) => {
                let (from, to) = (format!(".{}.svc", self.from), format!(".{}.svc", self.to));
                *text = text.replace(&from, &to);
            }
            Value::Array(all) => all.iter_mut().for_each(|v| self.addresses(v)),
            Value::Object(map) => map.values_mut().for_each(|v| self.addresses(v)),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn story(steps: &str) -> Scenario {
        let text = format!("description: x\nsteps:\n{steps}");
        ivory_sim::scenario::parse::parse("story", std::path::Path::new("."), &text)
            .expect("a story")
    }

    /// The story with these steps, moved, is the one with those.
    fn check(steps: &str, expected: Option<&str>) {
        let moved = moved(&story(steps), "there");
        let acts = |s: &Scenario| s.steps.iter().map(|s| s.act.clone()).collect::<Vec<_>>();
        assert_eq!(moved.as_ref().map(acts), expected.map(|e| acts(&story(e))), "{steps}");
        assert!(moved.is_none_or(|m| m.namespace == "there"));
    }

    #[test]
    fn a_story_moves_with_all_that_names_its_namespace() {
        let map = |namespace: &str, host: &str| {
            format!(
                "- apply: {{apiVersion: v1, kind: ConfigMap, metadata: {{name: a, namespace: {namespace}}}, data: {{host: {host}}}}}"
            )
        };
        check(&map("ivory-operator", "a.ivory-operator.svc"), Some(&map("there", "a.there.svc")));
        check(&map("other", "b"), None);
        check(
            "- connect: {secret: a-pguser-b}",
            Some("- connect: {secret: a-pguser-b, namespace: there}"),
        );
        check("- connect: {secret: a-pguser-b, namespace: other}", None);
        let secret = |key: &str| {
            format!(
                "- apply: {{apiVersion: v1, kind: Secret, metadata: {{name: a, namespace: NS}}, stringData: {{key: {key}}}}}"
            )
        };
        let [here, there] = ["ivory-operator", "there"].map(|ns| secret("word").replace("NS", ns));
        check(&here, Some(&there));
        let signed = secret("-----BEGIN CERTIFICATE-----").replace("NS", "ivory-operator");
        check(&signed, None);
        check(
            &signed
                .replace("stringData", "data")
                .replace("-----BEGIN CERTIFICATE-----", "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCg=="),
            None,
        );
        check("- delete: cluster", Some("- delete: cluster"));
    }

    #[test]
    fn what_all_share_is_broken_by_a_story_alone() {
        check("- apply: {apiVersion: v1, kind: Namespace, metadata: {name: a}}", None);
        check("- fault: {operator: down}", None);
        check("- fault: {api_outage: 1m}", None);
        check("- each: {of: Service, do: [{fault: {crash_node: node1}}]}", None);
        check("- fault: {kill_pod: primary}", Some("- fault: {kill_pod: primary}"));
    }
}
