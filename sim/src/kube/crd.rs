//! Custom resources: registered by their definition, pruned, defaulted and validated by its schema.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use ivory_core::Kind;
use ivory_core::object::{Object, time_text};
use ivory_core::ssa::Schema;
use jiff::Timestamp;
use kube_cel::{CompiledSchema, Validator, compile_schema};
use serde_json::{Map, Value, json};

use self::sight::Sight;
use super::status::{FieldError, Wrong};
use super::store::ApiServer;

mod check;
mod sight;

/// A custom kind that is served.
pub(crate) struct CustomKind {
    /// Ownership of fields.
    pub(crate) schema: Schema,
    /// Whether status is a subresource.
    pub(crate) has_status: bool,
    /// The body of the definition, shared with the stored object, and which of its versions is ours.
    body: Arc<Map<String, Value>>,
    version: usize,
    rules: CompiledSchema,
    has_rules: bool,
    /// Whether all rules stand at the root or in the spec, and those of the root by themselves.
    rules_above: bool,
    rules_of_root: CompiledSchema,
    /// All that the root's rules look at, where that is known.
    root_sees: Option<Vec<Sight>>,
    /// The rules that blame a field below the value that they judge.
    blaming: BTreeSet<String>,
    validator: Validator,
}

impl ApiServer {
    /// Serves what a stored definition defines, if it is one of our kinds.
    pub(crate) fn register(&mut self, definition: &Object) {
        let Some((kind, custom)) = CustomKind::of(definition) else {
            return;
        };
        let same = |known: &Arc<CustomKind>| Arc::ptr_eq(known, &custom);
        if self.custom.get(&kind).is_some_and(same) {
            return;
        }
        let before = Arc::make_mut(&mut self.custom).insert(kind, custom);
        self.redefined |= before.is_some();
    }

    pub(crate) fn unregister(&mut self, definition: &Object) {
        if let Some((kind, _)) = kind_of(definition) {
            Arc::make_mut(&mut self.custom).remove(&kind);
            self.redefined = true;
        }
    }
}

/// The kind that a definition defines, and which of its versions we speak.
fn kind_of(definition: &Object) -> Option<(Kind, usize)> {
    let spec = definition.body.get("spec")?;
    let group = spec.get("group")?.as_str()?;
    let name = spec.get("names")?.get("kind")?.as_str()?;
    spec.get("versions")?.as_array()?.iter().enumerate().find_map(|(at, version)| {
        let api_version = format!("{group}/{}", version.get("name")?.as_str()?);
        Some((Kind::of_manifest(&api_version, name)?, at))
    })
}

/// The status of a definition that was just created.
pub(crate) fn first_status(definition: &Object) -> Value {
    let names = json!({"kind": "", "plural": ""});
    json!({"acceptedNames": names, "conditions": null, "storedVersions": stored(definition)})
}

fn stored(definition: &Object) -> Vec<Value> {
    let versions = definition.at(&["spec", "versions"]).and_then(Value::as_array);
    versions
        .into_iter()
        .flatten()
        .filter(|v| v.get("storage") == Some(&Value::Bool(true)))
        .filter_map(|v| v.get("name").cloned())
        .collect()
}

/// The status of a definition whose names are accepted.
pub(crate) fn established_status(definition: &Object, now: Timestamp) -> Value {
    let spec = definition.body.get("spec").unwrap_or(&Value::Null);
    let time = time_text(now);
    let condition = |kind: &str, reason: &str, message: &str| {
        json!({"type": kind, "status": "True", "reason": reason, "message": message,
            "lastTransitionTime": time})
    };
    json!({
        "acceptedNames": spec.get("names"),
        "conditions": [
            condition("NamesAccepted", "NoConflicts", "no conflicts found"),
            condition("Established", "InitialNamesAccepted", "the initial names have been accepted"),
        ],
        "storedVersions": stored(definition),
    })
}

/// Definitions that were compiled before in this process. Compiling the rules of a large one takes longer than
/// a whole story.
static COMPILED: Mutex<Vec<(Kind, Arc<CustomKind>)>> = Mutex::new(Vec::new());

impl CustomKind {
    fn of(definition: &Object) -> Option<(Kind, Arc<Self>)> {
        let mut compiled = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |custom: &CustomKind| {
            Arc::ptr_eq(&custom.body, &definition.body)
                || custom.body.get("spec") == definition.body.get("spec")
        };
        if let Some(known) = compiled.iter().find(|(_, custom)| same(custom)) {
            return Some(known.clone());
        }
        let (kind, custom) = Self::new(definition)?;
        let custom = (kind, Arc::new(custom));
        compiled.push(custom.clone());
        Some(custom)
    }

    /// Its schema, as the definition has it.
    fn open_api(&self) -> &Value {
        let versions = self.body.get("spec").and_then(|spec| spec.get("versions"));
        let version = versions.and_then(|all| all.get(self.version));
        let schema = version.and_then(|v| v.get("schema")?.get("openAPIV3Schema"));
        schema.unwrap_or(&Value::Null)
    }

    fn new(definition: &Object) -> Option<(Kind, Self)> {
        let (kind, at) = kind_of(definition)?;
        let version = definition.body.get("spec")?.get("versions")?.get(at)?;
        let open_api = version.get("schema")?.get("openAPIV3Schema")?;
        let rules = compile_schema(open_api);
        let has_rules = has_rules(open_api);
        let subresources = version.get("subresources");
        let custom = Self {
            schema: Schema::of_crd(open_api),
            has_status: subresources.is_some_and(|s| s.get("status").is_some()),
            body: Arc::clone(&definition.body),
            version: at,
            blaming: blaming(open_api),
            rules,
            rules_of_root: compile_schema(&root_of(open_api)),
            has_rules,
            rules_above: rules_above(open_api),
            root_sees: sight::of_root(open_api),
            validator: Validator::new(),
        };
        Some((kind, custom))
    }

    /// Prunes and defaults a body in place; returns the paths of what was pruned.
    pub(crate) fn decode(&self, body: &mut Map<String, Value>) -> Vec<String> {
        let mut unknown = Vec::new();
        let mut value = Value::Object(std::mem::take(body));
        prune(self.open_api(), &mut value, "", &mut unknown);
        drop_nulls(self.open_api(), &mut value);
        default(self.open_api(), &mut value);
        if let Value::Object(map) = value {
            *body = map;
            // The schema's root has metadata, which lives elsewhere.
            body.remove("metadata");
            body.remove("apiVersion");
            body.remove("kind");
        }
        unknown
    }

    /// Validates by schema, and then by rules if nothing stands in their way. `old` is the version before, and what of
    /// the body differs. Of an object whose spec this definition has `judged` before, only what may have changed: its
    /// status, and the rules that look at the whole.
    pub(crate) fn validate(
        &self,
        new: &Object,
        old: Option<(&Object, &[String])>,
        judged: bool,
        out: &mut Vec<FieldError>,
    ) {
        let only_status = |changed: &[String]| changed.iter().all(|key| key == "status");
        let judged = judged && self.rules_above && old.is_some_and(|(_, c)| only_status(c));
        let before = out.len();
        if judged {
            let schema = self.open_api().get("properties").and_then(|all| all.get("status"));
            if let (Some(schema), Some(status)) = (schema, new.body.get("status")) {
                check::check(schema, status, "status", out);
            }
        } else {
            check::check(self.open_api(), &without_managed(new), "", out);
        }
        let blocking = |e: &FieldError| {
            matches!(
                e.wrong,
                Wrong::Required
                    | Wrong::NotSupported(_)
                    | Wrong::TypeInvalid(_)
                    | Wrong::TooLong
                    | Wrong::TooMany
            )
        };
        if !self.has_rules {
            return;
        }
        if out[before..].iter().any(blocking) {
            out.push(FieldError::invalid(
                "<nil>",
                Value::Null,
                "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation",
            ));
            return;
        }
        let found = match &self.root_sees {
            // What they judge is what they judged before, or a small part of the object.
            Some(sees) if judged => {
                let before = old.map(|(old, _)| old);
                if before.is_some_and(|old| sees.iter().all(|sight| sight.same(old, new))) {
                    return;
                }
                self.validator.validate_compiled(
                    &self.rules_of_root,
                    &sight::shown(sees, new),
                    None,
                )
            }
            _ => {
                let previous = old.map(|(old, _)| without_managed(old));
                let rules = if judged { &self.rules_of_root } else { &self.rules };
                self.validator.validate_compiled(rules, &without_managed(new), previous.as_ref())
            }
        };
        for error in found.err().into_iter().flat_map(|e| e.into_vec()) {
            let field = error.field_path.trim_start_matches('.').to_owned();
            // Messages show the value that was judged, whichever field is blamed; only maps have fields to blame.
            let value = match self.blaming.contains(&error.rule) {
                true => "object".into(),
                false => value_at(&without_managed(new), &field),
            };
            out.push(match error.reason.as_deref() {
                Some("FieldValueForbidden") => FieldError::forbidden(field, &error.message),
                Some("FieldValueRequired") => FieldError::required(field, &error.message),
                Some("FieldValueDuplicate") => {
                    FieldError::new(field, Wrong::Duplicate(value), error.message)
                }
                _ => FieldError::invalid(field, value, error.message),
            });
        }
    }
}

/// The wire form without managed fields, which are the most of it and which no schema looks into.
fn without_managed(object: &Object) -> Value {
    let mut bare = object.clone();
    bare.meta.managed = Arc::default();
    bare.to_value()
}

fn has_rules(schema: &Value) -> bool {
    match schema {
        Value::Object(map) => {
            map.contains_key("x-kubernetes-validations") || map.values().any(has_rules)
        }
        Value::Array(list) => list.iter().any(has_rules),
        _ => false,
    }
}

/// Whether all rules stand at the root or in the spec.
fn rules_above(schema: &Value) -> bool {
    let properties = schema.get("properties").and_then(Value::as_object);
    let mut others = properties.into_iter().flatten().filter(|(key, _)| *key != "spec");
    !others.any(|(_, below)| has_rules(below))
}

/// A schema whose only rules are those of its root.
fn root_of(schema: &Value) -> Value {
    let mut root = schema.clone();
    let properties = root.get_mut("properties").and_then(Value::as_object_mut);
    for (_, below) in properties.into_iter().flatten() {
        without_rules(below);
    }
    root
}

fn without_rules(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            map.remove("x-kubernetes-validations");
            map.values_mut().for_each(without_rules);
        }
        Value::Array(list) => list.iter_mut().for_each(without_rules),
        _ => {}
    }
}

fn blaming(schema: &Value) -> BTreeSet<String> {
    let text = |rule: &Value, key: &str| rule.get(key)?.as_str().map(str::to_owned);
    let mut found = BTreeSet::new();
    match schema {
        Value::Object(map) => {
            let rules = map.get("x-kubernetes-validations").and_then(Value::as_array);
            let rules = rules.into_iter().flatten().filter(|rule| rule.get("fieldPath").is_some());
            found.extend(rules.filter_map(|rule| text(rule, "rule")));
            found.extend(map.values().flat_map(blaming));
        }
        Value::Array(list) => found.extend(list.iter().flat_map(blaming)),
        _ => {}
    }
    found
}

/// What messages show of a value at a dotted path: the name of its type.
fn value_at(whole: &Value, path: &str) -> Value {
    let mut value = whole;
    for step in path.split(['.', '[', ']']).filter(|s| !s.is_empty()) {
        let below = match value {
            Value::Array(list) => step.parse::<usize>().ok().and_then(|at| list.get(at)),
            other => other.get(step),
        };
        match below {
            Some(below) => value = below,
            None => return Value::Null,
        }
    }
    match value {
        Value::Object(_) => "object".into(),
        Value::Array(_) => "array".into(),
        Value::String(_) => "string".into(),
        Value::Bool(_) => "boolean".into(),
        Value::Number(n) if n.is_f64() => "number".into(),
        Value::Number(_) => "integer".into(),
        Value::Null => "null".into(),
    }
}

fn flag(schema: &Value, key: &str) -> bool {
    schema.get(key) == Some(&Value::Bool(true))
}

fn prune(schema: &Value, value: &mut Value, path: &str, unknown: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            let properties = schema.get("properties").and_then(Value::as_object);
            let rest = schema.get("additionalProperties");
            let open = flag(schema, "x-kubernetes-preserve-unknown-fields")
                || rest == Some(&Value::Bool(true));
            let embedded = flag(schema, "x-kubernetes-embedded-resource");
            map.retain(|key, below| {
                let dotted = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                let always = (path.is_empty() || embedded)
                    && matches!(key.as_str(), "metadata" | "apiVersion" | "kind");
                if let Some(below_schema) = properties.and_then(|p| p.get(key)) {
                    if !always {
                        prune(below_schema, below, &dotted, unknown);
                    }
                    return true;
                }
                if let Some(rest) = rest.filter(|r| r.is_object()) {
                    prune(rest, below, &dotted, unknown);
                    return true;
                }
                if open || always {
                    return true;
                }
                unknown.push(dotted);
                false
            });
        }
        Value::Array(list) => {
            if let Some(items) = schema.get("items") {
                for (at, below) in list.iter_mut().enumerate() {
                    prune(items, below, &format!("{path}[{at}]"), unknown);
                }
            }
        }
        _ => {}
    }
}

/// Nulls vanish where the schema does not allow them; a default may then take their place.
fn drop_nulls(schema: &Value, value: &mut Value) {
    match value {
        Value::Object(map) => {
            let properties = schema.get("properties").and_then(Value::as_object);
            let rest = schema.get("additionalProperties").filter(|r| r.is_object());
            map.retain(|key, below| {
                let Some(schema) = properties.and_then(|p| p.get(key)).or(rest) else {
                    return true;
                };
                drop_nulls(schema, below);
                !below.is_null() || flag(schema, "nullable")
            });
        }
        Value::Array(list) => {
            if let Some(items) = schema.get("items") {
                list.iter_mut().for_each(|below| drop_nulls(items, below));
            }
        }
        _ => {}
    }
}

fn default(schema: &Value, value: &mut Value) {
    match value {
        Value::Object(map) => {
            let properties = schema.get("properties").and_then(Value::as_object);
            for (key, below) in properties.into_iter().flatten() {
                if let Some(default) = below.get("default")
                    && !map.contains_key(key)
                {
                    map.insert(key.clone(), default.clone());
                }
                if let Some(value) = map.get_mut(key) {
                    self::default(below, value);
                }
            }
            if let Some(rest) = schema.get("additionalProperties").filter(|r| r.is_object()) {
                let named = |key: &str| properties.is_some_and(|p| p.contains_key(key));
                for (_, below) in map.iter_mut().filter(|(key, _)| !named(key)) {
                    self::default(rest, below);
                }
            }
        }
        Value::Array(list) => {
            if let Some(items) = schema.get("items") {
                list.iter_mut().for_each(|below| self::default(items, below));
            }
        }
        _ => {}
    }
}
