//! The way of a request through the server, up to the verb that does it.

use std::sync::Arc;

use ivory_core::Kind;
use ivory_core::object::{Object, Uid};
use ivory_core::ssa::{Findings, Schema, normalise};
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::request::{Content, ObjectRef, Reply, Request, Response, UnknownFields, Verb};
use super::status::Status;
use super::store::ApiServer;

/// What the whole handling of one request shares.
pub(crate) struct Cx<'a> {
    pub(crate) now: Timestamp,
    pub(crate) uids: &'a mut dyn FnMut() -> u128,
    pub(crate) request: &'a Request,
    pub(crate) warnings: Vec<String>,
}

impl Cx<'_> {
    pub(crate) fn uid(&mut self) -> Uid {
        uid((self.uids)())
    }

    /// The random end of a generated name.
    pub(crate) fn suffix(&mut self) -> String {
        let mut bits = (self.uids)();
        let alphabet = ivory_core::hash::ALPHABET;
        let mut text = String::with_capacity(5);
        for _ in 0..5 {
            text.push(char::from(alphabet[(bits % 27) as usize]));
            bits /= 27;
        }
        text
    }

    fn unknown(&mut self, kind: Kind, paths: &[String]) -> Result<(), Status> {
        if paths.is_empty() {
            return Ok(());
        }
        let texts: Vec<_> = paths.iter().map(|p| format!("unknown field {p:?}")).collect();
        match self.request.unknown_fields {
            UnknownFields::Ignore => {}
            UnknownFields::Warn => self.warnings.extend(texts),
            UnknownFields::Strict => {
                let texts = texts.join(", ");
                return Err(undecodable(kind, &format!("strict decoding error: {texts}")));
            }
        }
        Ok(())
    }
}

/// The UID that the server makes of random bits.
fn uid(bits: u128) -> Uid {
    // Version and variant bits of a random (v4) UUID.
    let bits = (bits & !(0xf000_u128 << 64) & !(0xc000_u128 << 48))
        | (0x4000_u128 << 64)
        | (0x8000_u128 << 48);
    let hex = format!("{bits:032x}");
    let parts = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]];
    parts.join("-").into()
}

/// What the server says of a body that it can't read.
pub(crate) fn undecodable(kind: Kind, why: &str) -> Status {
    let version = kind.version();
    Status::bad_request(format!(
        "{kind} in version \"{version}\" cannot be handled as a {kind}: {why}"
    ))
}

impl ApiServer {
    /// Does what a request asks. `now` is the server's clock, `uids` its source of randomness.
    ///
    /// # Errors
    /// With the status that the real server would answer.
    pub fn handle(
        &mut self,
        now: Timestamp,
        uids: &mut dyn FnMut() -> u128,
        request: &Request,
    ) -> Response {
        if let Some((namespace, pod)) = &request.bound_to
            && !self.token_lives(now, namespace, pod)
        {
            return Err(Status::unauthorized());
        }
        let mut cx = Cx {
            now: Timestamp::from_second(now.as_second()).unwrap_or(now),
            uids,
            request,
            warnings: Vec::new(),
        };
        let mut reply = if request.dry_run {
            // A copy is cheap, and what happens to it is nobody's concern.
            let mut reply = self.clone().dispatch(&mut cx)?;
            if let Content::Object(object) = &mut reply.content {
                let old = self.get(object.kind, &object.meta.namespace, &object.meta.name);
                Arc::make_mut(object).meta.resource_version =
                    old.map_or(0, |old| old.meta.resource_version);
            }
            reply
        } else {
            self.dispatch(&mut cx)?
        };
        reply.warnings.append(&mut cx.warnings);
        Ok(reply)
    }

    /// Takes in a definition of a custom resource as another server stored it at this very time: all is as if it had
    /// been created here, but for the work, and large definitions are shared.
    pub fn adopt_definition(&mut self, stored: &Object, uids: &mut dyn FnMut() -> u128) {
        let mut object = stored.clone();
        object.meta.uid = uid(uids());
        // A created definition has two versions: the server itself writes into its status that it is served.
        self.put(object.clone());
        let stored = self.put(object);
        self.register(&stored);
    }

    fn dispatch(&mut self, cx: &mut Cx<'_>) -> Response {
        match &cx.request.verb {
            Verb::Get(target) => {
                self.served(target.kind)?;
                Ok(Reply::object(200, Arc::clone(self.existing(target)?)))
            }
            Verb::List { kind, namespace, filter, limit, continue_token } => {
                self.served(*kind)?;
                self.page(*kind, namespace.as_deref(), filter, *limit, continue_token.as_deref())
            }
            Verb::Create(object) => {
                self.served(object.kind)?;
                self.create(cx, object)
            }
            Verb::Update { object, subresource } => {
                self.served(object.kind)?;
                self.replace(cx, object, *subresource)
            }
            Verb::Patch { target, subresource, body } => {
                self.served(target.kind)?;
                self.patch(cx, target, *subresource, body)
            }
            Verb::Delete { target, options } => {
                self.served(target.kind)?;
                self.delete(cx, target, options)
            }
            Verb::DeleteCollection { kind, namespace, filter, options } => {
                self.served(*kind)?;
                let targets: Vec<_> = self
                    .list(*kind, Some(namespace))
                    .filter(|o| filter.matches(o))
                    .map(|o| ObjectRef::of(o))
                    .collect();
                for target in targets {
                    self.delete(cx, &target, options)?;
                }
                Ok(done(200))
            }
            Verb::Evict { target, options } => self.evict(cx, target, options),
            Verb::Bind { target, node } => self.bind(cx, target, node),
        }
    }

    fn served(&self, kind: Kind) -> Result<(), Status> {
        if Schema::builtin(kind).is_some() || self.custom.contains_key(&kind) {
            return Ok(());
        }
        let message = "the server could not find the requested resource";
        Err(Status::new(404, "NotFound", message))
    }

    pub(crate) fn existing(&self, target: &ObjectRef) -> Result<&Arc<Object>, Status> {
        self.get(target.kind, &target.namespace, &target.name)
            .ok_or_else(|| Status::not_found(target.kind, &target.name))
    }

    /// The schema of a kind that is served.
    pub(crate) fn schema(&self, kind: Kind) -> &Schema {
        match self.custom.get(&kind) {
            Some(custom) => &custom.schema,
            None => Schema::builtin(kind)
                .or_else(|| Schema::builtin(Kind::ConfigMap))
                .expect("the table of types has ConfigMap"),
        }
    }

    /// Brings a body into the form that is stored, defaults included. Metadata is not looked at. Gives the fields of
    /// the body that are not as in the old version then, so that nobody else has to compare them.
    pub(crate) fn decode(
        &self,
        cx: &mut Cx<'_>,
        object: &mut Object,
        old: Option<&Object>,
    ) -> Result<Vec<String>, Status> {
        let mut body = std::mem::take(&mut object.body);
        // What the old version has as well is in the form that is stored already; but a Secret's two fields of data
        // become one.
        let every = body.contains_key("stringData");
        let before = |key: &str| old.and_then(|old| old.body.get(key));
        let given = body.iter().filter(|(key, value)| every || before(key) != Some(*value));
        let given: Vec<String> = given.map(|(key, _)| key.clone()).collect();
        let of = match Arc::get_mut(&mut body) {
            Some(body) => given.iter().filter_map(|key| body.remove_entry(key)).collect(),
            None => {
                given.iter().filter_map(|key| Some((key.clone(), body.get(key)?.clone()))).collect()
            }
        };
        let mut stored = self.stored_form(cx, object, of, old)?;
        stored.retain(|key, _| given.contains(key) || !body.contains_key(key));
        let mut changed: Vec<_> = stored
            .iter()
            .filter(|(key, value)| before(key) != Some(*value))
            .map(|(key, _)| key.clone())
            .collect();
        // A body that was in this form when it came stays shared with the request.
        if stored.len() != given.len()
            || stored.iter().any(|(key, value)| body.get(key) != Some(value))
        {
            let body = Arc::make_mut(&mut body);
            given.iter().for_each(|key| drop(body.remove(key)));
            body.extend(stored);
        }
        let gone = old.into_iter().flat_map(|old| old.body.keys());
        changed.extend(gone.filter(|key| !body.contains_key(*key)).cloned());
        object.body = body;
        Ok(changed)
    }

    /// The form in which some fields of a body are stored, and those that are set by default where they are absent.
    fn stored_form(
        &self,
        cx: &mut Cx<'_>,
        object: &mut Object,
        mut fields: Map<String, Value>,
        old: Option<&Object>,
    ) -> Result<Map<String, Value>, Status> {
        if let Some(custom) = self.custom.get(&object.kind) {
            let unknown = custom.decode(&mut fields);
            cx.unknown(object.kind, &unknown)?;
            return Ok(fields);
        }
        let mut findings = Findings::default();
        let stored = normalise(self.schema(object.kind), Value::Object(fields), &mut findings);
        if let Some(wrong) = findings.wrong.first() {
            return Err(undecodable(object.kind, wrong));
        }
        cx.unknown(object.kind, &findings.unknown)?;
        if let Value::Object(stored) = stored {
            object.body = Arc::new(stored);
        }
        super::defaulting::set_defaults(object, old);
        Ok(Arc::unwrap_or_clone(std::mem::take(&mut object.body)))
    }
}

pub(crate) fn done(code: u16) -> Reply {
    Reply { code, content: Content::Done, warnings: Vec::new() }
}
