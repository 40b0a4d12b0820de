//! Creating objects.

use std::sync::Arc;

use ivory_core::Kind;
use ivory_core::object::{Managed, Meta, Object, StringMap};
use ivory_core::ssa::{Manager, compare_objects, update_by};

use super::handle::Cx;
use super::request::{Reply, Response};
use super::status::{FieldError, Status};
use super::store::ApiServer;
use super::strategy;

impl ApiServer {
    pub(crate) fn create(&mut self, cx: &mut Cx<'_>, object: &Arc<Object>) -> Response {
        let mut new = (**object).clone();
        if new.meta.resource_version != 0 {
            let message = "resourceVersion should not be set on objects to be created";
            return Err(Status::new(500, "", message));
        }
        self.decode(cx, &mut new, None)?;
        new.meta = fresh(&new.meta);
        self.create_decoded(cx, new, None)
    }

    /// Creates what is decoded already. `managed` is given for an apply.
    pub(crate) fn create_decoded(
        &mut self,
        cx: &mut Cx<'_>,
        mut new: Object,
        managed: Option<Vec<Managed>>,
    ) -> Response {
        let kind = new.kind;
        if kind.namespaced() && new.meta.namespace.is_empty() {
            let message = "an empty namespace may not be set during creation";
            return Err(Status::bad_request(message));
        }
        new.meta.managed = match managed {
            Some(managed) => managed.into(),
            None => {
                let empty = self.empty(kind);
                let who = Manager {
                    name: cx.request.manager_name(),
                    subresource: "",
                    api_version: kind.api_version(),
                };
                let changes = compare_objects(self.schema(kind), &empty, &new);
                let ignored = strategy::ignored(self, kind, super::Subresource::None);
                update_by(changes, &[], who, ignored, cx.now).into()
            }
        };
        self.admit_create(cx, &mut new)?;
        if new.meta.name.is_empty()
            && let Some(prefix) = &new.meta.generate_name
        {
            // A generated name has at most 63 symbols, like a label.
            let prefix: String = prefix.chars().take(58).collect();
            new.meta.name = format!("{prefix}{}", cx.suffix()).into();
        }
        if new.meta.name.is_empty() {
            let wrong = FieldError::required("metadata.name", "name or generateName is required");
            return Err(Status::invalid(kind, "", &[wrong]));
        }
        new.meta.uid = cx.uid();
        new.meta.created_at = Some(cx.now);
        self.prepare_for_create(cx, &mut new)?;
        let errors = self.validate_create(&new);
        if !errors.is_empty() {
            return Err(Status::invalid(kind, &new.meta.name, &errors));
        }
        if self.get(kind, &new.meta.namespace, &new.meta.name).is_some() {
            return Err(Status::already_exists(kind, &new.meta.name));
        }
        let stored = self.put(new);
        self.after_write(cx, &stored);
        Ok(Reply::object(201, stored))
    }

    /// An object of a kind with nothing set, in the form that is stored: what a new object is compared
    /// with to tell what its creator set.
    pub(crate) fn empty(&self, kind: Kind) -> Object {
        let mut empty = Object::new(kind, "", "");
        if !self.custom.contains_key(&kind) {
            let body = serde_json::Value::Object((*empty.body).clone());
            let mut findings = ivory_core::ssa::Findings::default();
            let body = ivory_core::ssa::normalise(self.schema(kind), body, &mut findings);
            if let serde_json::Value::Object(body) = body {
                empty.body = Arc::new(body);
            }
        }
        empty
    }
}

/// The metadata that a client may set on a new object.
pub(crate) fn fresh(meta: &Meta) -> Meta {
    Meta {
        name: Arc::clone(&meta.name),
        generate_name: meta.generate_name.clone(),
        namespace: Arc::clone(&meta.namespace),
        labels: meta.labels.clone(),
        annotations: meta.annotations.clone(),
        owners: meta.owners.clone(),
        finalizers: meta.finalizers.clone(),
        ..Meta::default()
    }
}

/// Adds a label.
pub(crate) fn label(labels: &mut Arc<StringMap>, key: &str, value: &str) {
    if labels.get(key).map(String::as_str) != Some(value) {
        Arc::make_mut(labels).insert(key.to_owned(), value.to_owned());
    }
}
