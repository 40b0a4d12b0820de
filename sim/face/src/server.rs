//! One request from its head to its answer: read, permitted, disturbed if a rule says so, carried into the world, and
//! recorded. What connects a client to it is elsewhere.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use http::{HeaderMap, Request as HttpRequest, Response as HttpResponse, header};
use ivory_core::Kind;
use ivory_sim::kube::{Request, Status, Verb};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::discovery;
use crate::exec::{self, Asker, Outside, Runner};
use crate::faults::{Action, Asked, Faults, Told};
use crate::living::Living;
use crate::rights;
use crate::tokens::{Holder, Tokens};
use crate::watch;
use crate::wire::{self, Address, Call, Head};

/// Why a connection broke.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
/// What a client gets: an answer, or a broken connection.
pub type Answer = Result<HttpResponse<Body>, BoxError>;

/// Who asks.
#[derive(Clone)]
pub struct Caller {
    /// Its name in records and in rules of faults.
    pub name: String,
    /// Whom its token names.
    pub holder: Holder,
    /// The user agent; up to the first `/` it is the field manager of whoever names none.
    pub agent: Arc<str>,
    /// The field manager where a request names none, if it is not the agent's.
    pub manager: Option<Arc<str>>,
}

/// The server of one Kubernetes.
#[derive(Clone)]
pub struct Server {
    /// Its world.
    pub living: Arc<Living>,
    /// What goes wrong, and the record.
    pub faults: Arc<Faults>,
    /// The tokens that let clients in.
    pub tokens: Arc<Tokens>,
    /// Who runs commands in external Pods.
    pub outside: Option<Arc<dyn Outside>>,
}

impl Caller {
    /// Somebody who may do everything, by a user agent.
    #[must_use]
    pub fn admin(name: &str, agent: &str) -> Self {
        Self { name: name.to_owned(), holder: Holder::Admin, agent: agent.into(), manager: None }
    }

    /// Whoever holds a token.
    #[must_use]
    pub fn of(holder: Holder, headers: &HeaderMap) -> Self {
        let agent = text(headers, header::USER_AGENT.as_str()).unwrap_or("unknown");
        let name = holder.short().to_owned();
        Self { name, holder, agent: agent.into(), manager: None }
    }
}

pub(crate) fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

impl Server {
    /// A server of a living world, without faults and tokens.
    #[must_use]
    pub fn new(living: Arc<Living>) -> Self {
        Self { living, faults: Arc::default(), tokens: Arc::default(), outside: None }
    }

    /// Answers one request.
    ///
    /// # Errors
    /// When a fault breaks the connection.
    pub async fn answer(&self, caller: &Caller, mut request: HttpRequest<Bytes>) -> Answer {
        let upgrade = request.extensions_mut().remove::<hyper::upgrade::OnUpgrade>();
        let (parts, body) = request.into_parts();
        let head = Head {
            method: parts.method.as_str(),
            path: parts.uri.path(),
            query: parts.uri.query().unwrap_or_default(),
            content_type: text(&parts.headers, header::CONTENT_TYPE.as_str()).unwrap_or_default(),
            accept: text(&parts.headers, header::ACCEPT.as_str()).unwrap_or_default(),
        };
        if head.method == "GET"
            && let Some(answer) = discovery::answer(head.path)
        {
            return Ok(match answer {
                discovery::Answer::Json(value) => said(200, &value, &[]),
                discovery::Answer::Text(word) => HttpResponse::new(Body::from(word)),
            });
        }
        let read = || {
            let address = Address::of(&head)?;
            let call = wire::read(&head, &address, &body)?;
            let metadata_alone = wire::metadata_alone(&head, &call)?;
            Ok((address, call, metadata_alone))
        };
        let (address, call, metadata_alone) = match read() {
            Ok(read) => read,
            Err(status) => return Ok(refused(&status)),
        };
        let asked = asked(caller, &head, &address, &call);
        let lost = match self.disturbed(&asked).await {
            Ok(lost) => lost,
            Err(answer) => return *answer,
        };
        let permitted = self
            .living
            .with(|world, kube| rights::check(&world.kube(kube).api, &caller.holder, &asked));
        if let Err(status) = permitted {
            self.tell(&asked, Some(403), false);
            return Ok(refused(&status));
        }
        match call {
            Call::Request { verb, manager, dry_run, unknown_fields } => {
                let request = Request {
                    manager: manager.or_else(|| caller.manager.clone()),
                    dry_run,
                    unknown_fields,
                    service_account: match &caller.holder {
                        Holder::Account { namespace, name, .. } => {
                            Some(format!("{namespace}/{name}").into())
                        }
                        Holder::Admin => None,
                    },
                    ..Request::new(&caller.agent, *verb)
                };
                self.request(asked, request, lost, metadata_alone).await
            }
            Call::Watch { filter, from, initial, timeout_s, .. } => {
                self.tell(&asked, Some(200), true);
                let namespace = address.within().map(str::to_owned);
                let kind = address.kind;
                let wanted = watch::Wanted {
                    kind,
                    namespace,
                    filter,
                    metadata_alone,
                    from,
                    initial,
                    timeout_s,
                };
                let body = watch::body(&self.living, &self.faults, wanted);
                Ok(HttpResponse::builder()
                    .header(header::CONTENT_TYPE, "application/json")
                    .body(body)?)
            }
            Call::Exec { argv, container, stdin } => {
                let opened = self.command(&address, argv, container).and_then(|asker| {
                    let upgrade = upgrade.ok_or_else(|| not_here("upgrade request required"))?;
                    let runner = Runner { server: self.clone(), asked: asked.clone(), lost };
                    exec::open(runner, asker, stdin, &parts.headers, upgrade)
                });
                // One that runs is recorded when it has ended.
                Ok(opened.unwrap_or_else(|status| {
                    self.tell(&asked, Some(status.code), true);
                    refused(&status)
                }))
            }
        }
    }

    /// What a rule does to a request before it arrives: whether its answer will be lost, or the end of it.
    async fn disturbed(&self, asked: &Asked) -> Result<bool, Box<Answer>> {
        let refuse = || {
            self.tell(asked, None, false);
            Err(Box::new(Err("connection refused".into())))
        };
        match self.faults.of(asked) {
            None => Ok(false),
            Some(Action::Answer(code, reason)) => {
                self.tell(asked, Some(code), false);
                let message = match code {
                    403 => format!("planted: User \"operator\" cannot {} this", asked.verb),
                    _ => format!("planted: {reason}"),
                };
                let status = Status { code, reason, message, causes: Vec::new() };
                Err(Box::new(Ok(refused(&status))))
            }
            Some(Action::Refuse) => refuse(),
            Some(Action::Delay(span)) => {
                sleep(span).await;
                Ok(false)
            }
            // A watch has no answer that could be lost.
            Some(Action::LoseAnswer) if asked.verb == "watch" => refuse(),
            Some(Action::LoseAnswer) => Ok(true),
        }
    }

    async fn request(
        &self,
        asked: Asked,
        request: Request,
        lost: bool,
        metadata_alone: bool,
    ) -> Answer {
        let holder = self.holder();
        let response = self.living.request(&asked.by, request).await;
        let code = match &response {
            Ok(reply) => reply.code,
            Err(status) => status.code,
        };
        self.record(&asked, Some(code).filter(|_| !lost), true, holder);
        if lost {
            std::future::pending::<()>().await;
        }
        Ok(match response {
            Ok(reply) => {
                let mut value = wire::granted(asked.kind, &asked.name, &reply.content);
                if metadata_alone {
                    value = wire::without_content(&value);
                }
                said(reply.code, &value, &reply.warnings)
            }
            Err(status) => refused(&status),
        })
    }

    fn command(
        &self,
        address: &Address,
        argv: Vec<String>,
        container: Option<String>,
    ) -> Result<Asker, Status> {
        let (namespace, pod) = (address.namespace.clone(), address.name.clone());
        let found = self
            .living
            .with(|world, kube| world.kube(kube).api.get(Kind::Pod, &namespace, &pod).cloned());
        let found = found.ok_or_else(|| Status::not_found(Kind::Pod, &pod))?;
        let only = || {
            let containers = found.at(&["spec", "containers"]).and_then(Value::as_array);
            Some(containers?.first()?["name"].as_str()?.to_owned())
        };
        let container = container.or_else(only).unwrap_or_default();
        Ok(Asker { namespace, pod, container, argv, stdin: None })
    }

    /// Notes a request that did not reach the world, or a watch.
    pub fn tell(&self, asked: &Asked, code: Option<u16>, arrived: bool) {
        self.record(asked, code, arrived, self.holder());
    }

    /// Notes a request and what came of it.
    pub fn record(&self, asked: &Asked, code: Option<u16>, arrived: bool, holder: String) {
        let at = Instant::now();
        self.faults.record(Told { at, asked: asked.clone(), code, arrived, holder });
    }

    /// Who holds the operators' lease now; empty if nobody does.
    #[must_use]
    pub fn holder(&self) -> String {
        self.living.with(|world, kube| {
            let mut leases =
                world.kube(kube).api.list(Kind::Lease, Some(ivory_sim::lab::NAMESPACE));
            let holder = leases.next().and_then(|l| l.str_at(&["spec", "holderIdentity"]));
            holder.unwrap_or_default().to_owned()
        })
    }
}

fn not_here(message: &str) -> Status {
    Status { code: 400, reason: "BadRequest", message: message.to_owned(), causes: Vec::new() }
}

fn asked(caller: &Caller, head: &Head<'_>, address: &Address, call: &Call) -> Asked {
    let verb = match call {
        Call::Request { verb, .. } => Some(&**verb),
        _ => None,
    };
    let name = match verb {
        Some(Verb::Create(object)) => object.meta.name.to_string(),
        _ => address.name.clone(),
    };
    let uid = match verb {
        Some(Verb::Delete { options, .. }) => options.uid.as_deref(),
        _ => None,
    };
    Asked {
        by: caller.name.clone(),
        verb: wire::word(head.method, address, call),
        kind: address.kind,
        resource: address.resource(),
        namespace: address.namespace.clone(),
        name,
        detail: uid.unwrap_or_default().to_owned(),
    }
}

pub(crate) fn refused(status: &Status) -> HttpResponse<Body> {
    said(status.code, &wire::refused(status), &[])
}

fn said(code: u16, value: &Value, warnings: &[String]) -> HttpResponse<Body> {
    let mut response = HttpResponse::new(Body::from(value.to_string()));
    *response.status_mut() =
        http::StatusCode::from_u16(code).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    for warning in warnings {
        let quoted = warning.replace(['\\', '"'], "'");
        if let Ok(value) = header::HeaderValue::from_str(&format!("299 - \"{quoted}\"")) {
            headers.append(header::WARNING, value);
        }
    }
    response
}
