//! Requests to the API server, one function each, in core's types. Every one has a time limit; none is
//! repeated here, since whoever repeats must read first.

use std::sync::Arc;
use std::time::Duration;

use axum::http::header::ACCEPT;
use axum::http::{HeaderValue, Request};
use ivory_core::command::Command;
use ivory_core::grants::Grant;
use ivory_core::names::FIELD_MANAGER;
use ivory_core::plan::Propagation;
use ivory_core::read::{Output, Target};
use ivory_core::{Kind, Object};
use kube::Client;
use kube::api::PropagationPolicy;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::client::Body;
use serde_json::Value;
use tokio::sync::{Mutex, Notify, Semaphore};
use tokio::time::timeout;

use crate::exec;
use crate::fault::Fault;
use crate::metrics::Metrics;
use crate::wire::Wire;

/// A request that takes longer has an unknown outcome.
const REQUEST_MAX: Duration = Duration::from_secs(10);

/// So many watches read a page of their list at once. Some twenty begin together, and while it is read a page takes
/// megabytes.
const PAGES: usize = 3;
/// The media type of objects of which only the metadata is sent, as by a watch …
const METADATA_ALONE: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
/// … and of lists of them. An API server refuses the one where it has the other.
const METADATA_LIST: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";

/// The API server, as the driver uses it.
#[derive(Clone)]
pub struct ApiServer {
    client: Client,
    metrics: Arc<Metrics>,
    pages: Arc<Semaphore>,
}

impl ApiServer {
    /// Speaks through a client.
    #[must_use]
    pub fn new(client: Client, metrics: Arc<Metrics>) -> Self {
        Self { client, metrics, pages: Arc::new(Semaphore::new(PAGES)) }
    }

    /// The client, for watches.
    #[must_use]
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// Requests about one kind; an empty namespace means all, or none for kinds that have none.
    #[must_use]
    pub fn of(&self, kind: Kind, namespace: &str) -> Api<Wire> {
        if namespace.is_empty() {
            Api::all_with(self.client(), &kind)
        } else {
            Api::namespaced_with(self.client(), namespace, &kind)
        }
    }

    /// The same for a watch, which is told whenever the API server has opened a stream for it. `names` asks for no
    /// more than the metadata.
    #[must_use]
    pub fn watched(
        &self,
        kind: Kind,
        namespace: &str,
        names: bool,
        opened: &Arc<Notify>,
    ) -> Api<Wire> {
        let (inner, pages, opened) = (self.client(), self.pages.clone(), opened.clone());
        // A page is read when the next request is made.
        let reads = Arc::new(Mutex::new(None));
        let service = tower::service_fn(move |mut request: Request<Body>| {
            let (inner, pages, opened) = (inner.clone(), pages.clone(), opened.clone());
            let reads = reads.clone();
            async move {
                let query = request.uri().query().unwrap_or_default();
                let watches = query.split('&').any(|part| part == "watch=true");
                if names {
                    let media = if watches { METADATA_ALONE } else { METADATA_LIST };
                    request.headers_mut().insert(ACCEPT, HeaderValue::from_static(media));
                }
                drop(reads.lock().await.take());
                let page = match watches {
                    true => None,
                    // It is never closed.
                    false => pages.acquire_owned().await.ok(),
                };
                let answer = inner.send(request).await;
                if answer.as_ref().is_ok_and(|a| a.status().is_success()) {
                    *reads.lock().await = page;
                    if watches {
                        opened.notify_one();
                    }
                }
                answer
            }
        });
        Self { client: Client::new(service, "default"), ..self.clone() }.of(kind, namespace)
    }

    /// One object by name; none if it is not there.
    ///
    /// # Errors
    /// As the request fails.
    pub async fn get(
        &self,
        kind: Kind,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Object>, Fault> {
        let api = self.of(kind, namespace);
        let needs = || vec![Grant::new(kind, "get")];
        let found = self.within("get", kind, needs, api.get_opt(name)).await;
        found?.map(|wire| object(wire, kind)).transpose()
    }

    /// Server-side apply with our field manager and force.
    ///
    /// # Errors
    /// As the request fails.
    pub async fn apply(&self, desired: &Object, needs: Vec<Grant>) -> Result<Object, Fault> {
        let api = self.of(desired.kind, &desired.meta.namespace);
        let params = PatchParams::apply(FIELD_MANAGER).force();
        let patch = Patch::Apply(Wire::of(desired));
        let request = api.patch(&desired.meta.name, &params, &patch);
        let answer = self.within("apply", desired.kind, || needs, request).await?;
        object(answer, desired.kind)
    }

    /// Creates an object that must not exist yet.
    ///
    /// # Errors
    /// As the request fails.
    pub async fn create(&self, new: &Object, needs: Vec<Grant>) -> Result<Object, Fault> {
        let api = self.of(new.kind, &new.meta.namespace);
        let wire = Wire::of(new);
        let params = post_params();
        let request = api.create(&params, &wire);
        let answer = self.within("create", new.kind, || needs, request).await?;
        object(answer, new.kind)
    }

    /// Replaces an object; fails if it changed since it was read.
    ///
    /// # Errors
    /// As the request fails.
    pub async fn replace(&self, new: &Object) -> Result<Object, Fault> {
        let api = self.of(new.kind, &new.meta.namespace);
        let wire = Wire::of(new);
        let needs = || vec![Grant::new(new.kind, "update")];
        let params = post_params();
        let request = api.replace(&new.meta.name, &params, &wire);
        let answer = self.within("update", new.kind, needs, request).await?;
        object(answer, new.kind)
    }

    /// Deletes one life of an object. Gives the object if it stays for a while.
    ///
    /// # Errors
    /// As the request fails.
    pub async fn delete(
        &self,
        life: &Life<'_>,
        needs: Vec<Grant>,
    ) -> Result<Option<Object>, Fault> {
        let api = self.of(life.kind, life.namespace);
        let params = DeleteParams {
            preconditions: Some(Preconditions {
                uid: Some(life.uid.to_owned()),
                resource_version: life.resource_version.map(|v| v.to_string()),
            }),
            propagation_policy: Some(match life.propagation {
                Propagation::Background => PropagationPolicy::Background,
                Propagation::Foreground => PropagationPolicy::Foreground,
                Propagation::Orphan => PropagationPolicy::Orphan,
            }),
            ..DeleteParams::default()
        };
        let request = api.delete(life.name, &params);
        let answer = self.within("delete", life.kind, || needs, request).await?;
        let still_there = answer.left().map(|wire| object(wire, life.kind));
        Ok(still_there.transpose()?.filter(|o| *o.meta.uid == *life.uid))
    }

    /// JSON merge patch, of the object or of its status.
    ///
    /// # Errors
    /// As the request fails.
    pub async fn merge(
        &self,
        (kind, namespace, name): (Kind, &str, &str),
        patch: &Value,
        status: bool,
        needs: Vec<Grant>,
    ) -> Result<Object, Fault> {
        let api = self.of(kind, namespace);
        let params =
            PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let patch = Patch::Merge(patch);
        let answer = if status {
            let request = api.patch_status(name, &params, &patch);
            self.within("status", kind, || needs, request).await?
        } else {
            let request = api.patch(name, &params, &patch);
            self.within("patch", kind, || needs, request).await?
        };
        object(answer, kind)
    }

    /// Runs a command in a container, at most for `deadline`. Closing the stream does not stop the program.
    ///
    /// # Errors
    /// As the request fails; a program that ran is no failure, whatever its exit status.
    pub async fn exec(
        &self,
        target: &Target,
        command: &Command,
        deadline: Duration,
        needs: Vec<Grant>,
    ) -> Result<Output, Fault> {
        let run = exec::run(self.client(), target, command, needs);
        let result = timeout(deadline, run).await.unwrap_or_else(|_| {
            let text = format!("no end of it within {} s", deadline.as_secs());
            Err(Fault::unknown(text))
        });
        result.inspect_err(|fault| self.metrics.api_error("exec", Kind::Pod, &fault.code()))
    }

    async fn within<T>(
        &self,
        verb: &'static str,
        kind: Kind,
        needs: impl FnOnce() -> Vec<Grant>,
        request: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, Fault> {
        let result = match timeout(REQUEST_MAX, request).await {
            Ok(answer) => answer.map_err(|error| Fault::of(error, needs)),
            Err(_) => Err(Fault::unknown(format!("no answer within {} s", REQUEST_MAX.as_secs()))),
        };
        self.metrics.api_request(verb, kind);
        result.inspect_err(|fault| self.metrics.api_error(verb, kind, &fault.code()))
    }
}

/// One life of an object, to be deleted.
pub struct Life<'a> {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
    /// Its UID.
    pub uid: &'a str,
    /// Only if unchanged since this version.
    pub resource_version: Option<u64>,
    /// What becomes of the objects that it owns.
    pub propagation: Propagation,
}

fn post_params() -> PostParams {
    PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() }
}

/// An answer that can't be read: the request was carried out all the same.
fn object(wire: Wire, kind: Kind) -> Result<Object, Fault> {
    wire.object(kind).map_err(|error| Fault::unknown(error.to_string()))
}
