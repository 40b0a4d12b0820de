//! What a controller may decide: requests in order, disks, and when to look again.

use std::sync::Arc;

use ivory_core::Kind;
use ivory_core::object::Object;
use ivory_core::plan::Propagation;
use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::kube::{
    Content, DeleteOptions, Filter, ObjectRef, Request, Response, Subresource, Verb,
};
use crate::rng::Stream;
use crate::time::{Span, Time};
use crate::world::journal::Milestone;

/// What to do with an answer: more steps, to be done before the rest.
pub type Then = Arc<dyn Fn(&Response) -> Vec<Step> + Send + std::marker::Sync>;

/// One thing to do.
#[derive(Clone)]
pub enum Step {
    /// A request. That what shall be changed or deleted is gone is no error; any other drops the rest.
    Request(Request),
    /// A request whose answer, good or bad, decides what comes next.
    Ask(Request, Then),
    /// A change of a disk.
    Disk(Disk),
    /// A line for people.
    Note(Milestone),
    /// Drops the rest, and looks again after this time.
    Stop(Span),
    /// Drops the rest, and tries again after the back-off.
    Fail,
}

/// A change of a disk of this Kubernetes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Disk {
    /// Makes one with nothing on it.
    Add {
        /// Its name, which is the PersistentVolume's.
        volume: Arc<str>,
        /// How much fits, in bytes.
        capacity_bytes: u64,
    },
    /// Makes one larger.
    Grow {
        /// Its name.
        volume: Arc<str>,
        /// How much shall fit, in bytes.
        capacity_bytes: u64,
    },
    /// Destroys one.
    Remove {
        /// Its name.
        volume: Arc<str>,
    },
}

/// What came of looking at a key, while it is written.
pub struct Sync {
    /// The user agent, `kcm/…`.
    pub user: Arc<str>,
    /// Now.
    pub now: Time,
    /// The controller's random stream.
    pub rng: Stream,
    /// What to do, in order.
    pub steps: Vec<Step>,
    /// When to look again, if nothing changes before.
    pub requeue: Option<Span>,
    /// Whether the last look at this key came to a write that failed.
    pub failed_before: bool,
}

impl Sync {
    /// Nothing to do yet.
    #[must_use]
    pub fn new(user: Arc<str>, now: Time, rng: Stream) -> Self {
        Self { user, now, rng, steps: Vec::new(), requeue: None, failed_before: false }
    }

    /// Now, as the API knows it.
    #[must_use]
    pub fn timestamp(&self) -> Timestamp {
        self.now.timestamp()
    }

    /// Now, as text in an object.
    #[must_use]
    pub fn time_text(&self) -> String {
        ivory_core::object::time_text(self.now.timestamp())
    }

    /// A request in this controller's name.
    #[must_use]
    pub fn request(&self, verb: Verb) -> Request {
        Request::new(&self.user, verb)
    }

    /// Adds a request.
    pub fn send(&mut self, request: Request) {
        self.steps.push(Step::Request(request));
    }

    /// Asks, and decides by the answer.
    pub fn ask(
        &mut self,
        request: Request,
        then: impl Fn(&Response) -> Vec<Step> + Send + std::marker::Sync + 'static,
    ) {
        self.steps.push(Step::Ask(request, Arc::new(then)));
    }

    /// Creates an object.
    pub fn create(&mut self, object: Object) {
        self.send(self.request(Verb::Create(Arc::new(object))));
    }

    /// Replaces an object, if it is still in the version that `object` was made from.
    pub fn update(&mut self, object: Object) {
        self.send(self.update_request(object, Subresource::None));
    }

    /// Replaces the status of an object, if that differs from `status`.
    pub fn status(&mut self, object: &Object, status: Map<String, Value>) {
        let status = Value::Object(status);
        if object.body.get("status") == Some(&status) {
            return;
        }
        let mut object = object.clone();
        object.body_mut().insert("status".into(), status);
        self.send(self.update_request(object, Subresource::Status));
    }

    /// Deletes an object (this life of it only) in the background.
    pub fn delete(&mut self, object: &Object) {
        self.send(self.delete_request(object, Propagation::Background));
    }

    /// The replacement of an object, if it is still in the version that `object` was made from.
    #[must_use]
    pub fn update_request(&self, object: Object, subresource: Subresource) -> Request {
        self.request(Verb::Update { object: Arc::new(object), subresource })
    }

    /// The deletion of this life of an object.
    #[must_use]
    pub fn delete_request(&self, object: &Object, propagation: Propagation) -> Request {
        self.deletion(object, propagation, None, None)
    }

    fn deletion(
        &self,
        object: &Object,
        propagation: Propagation,
        resource_version: Option<u64>,
        grace_s: Option<i64>,
    ) -> Request {
        self.request(Verb::Delete {
            target: ObjectRef::of(object),
            options: DeleteOptions {
                uid: Some(object.meta.uid.clone()),
                resource_version,
                propagation: Some(propagation),
                grace_s,
            },
        })
    }

    /// The deletion of this very version of an object.
    #[must_use]
    pub fn delete_this_version_request(&self, object: &Object, how: Propagation) -> Request {
        self.deletion(object, how, Some(object.meta.resource_version), None)
    }

    /// The deletion of this life of a Pod without waiting for its containers.
    #[must_use]
    pub fn delete_now_request(&self, pod: &Object) -> Request {
        self.deletion(pod, Propagation::Background, None, Some(0))
    }

    /// Replaces the finalizers of a namespace.
    pub fn finalize(&mut self, namespace: Object) {
        self.send(self.update_request(namespace, Subresource::Finalize));
    }

    /// The question for the newest state of an object.
    #[must_use]
    pub fn get_request(&self, kind: Kind, namespace: &str, name: &str) -> Request {
        self.request(Verb::Get(ObjectRef::new(kind, namespace, name)))
    }

    /// The question for all objects of a kind in a namespace.
    #[must_use]
    pub fn list_request(&self, kind: Kind, namespace: &str) -> Request {
        self.request(Verb::List {
            kind,
            namespace: Some(namespace.into()),
            filter: Filter::default(),
            limit: 0,
            continue_token: None,
        })
    }

    /// Looks again after a time, or earlier if that was wanted already.
    pub fn look_again(&mut self, after: Span) {
        let after = Span(after.0.max(1));
        self.requeue = Some(self.requeue.map_or(after, |r| r.min(after)));
    }

    /// Changes a disk.
    pub fn disk(&mut self, disk: Disk) {
        self.steps.push(Step::Disk(disk));
    }

    /// Writes a line for people, once everything before it is done.
    pub fn note(&mut self, milestone: Milestone) {
        self.steps.push(Step::Note(milestone));
    }
}

/// The object that an answer brought.
#[must_use]
pub fn object_in(response: &Response) -> Option<&Arc<Object>> {
    match &response.as_ref().ok()?.content {
        Content::Object(object) => Some(object),
        _ => None,
    }
}

/// The objects that an answer brought.
#[must_use]
pub fn items_in(response: &Response) -> Option<&[Arc<Object>]> {
    match &response.as_ref().ok()?.content {
        Content::List { items, .. } => Some(items),
        _ => None,
    }
}
