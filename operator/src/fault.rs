//! What can go wrong with a request, as far as the driver treats it differently.

use std::fmt;

use ivory_core::grants::Grant;

/// Why a request did not do what it should.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault {
    /// What kind of failure.
    pub kind: FaultKind,
    /// For people. Holds what the API server said, never a body that was sent.
    pub text: String,
}

/// Kinds of failure.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FaultKind {
    /// The object is not there.
    NotFound,
    /// It exists already, is another life of it, or changed meanwhile.
    Conflict,
    /// A permission is missing. Nothing was done.
    Forbidden(Vec<Grant>),
    /// The API server said no, for another reason, or failed at it.
    Refused(u16),
    /// Nobody knows whether it was done.
    Unknown,
    /// A command ran, and failed.
    Command,
    /// A command ran before what it needs was there; it comes by itself.
    TooEarly,
}

impl Fault {
    /// A failure of which nobody knows whether it did something.
    pub fn unknown(text: impl Into<String>) -> Self {
        Self { kind: FaultKind::Unknown, text: text.into() }
    }

    /// A short word for metrics: the status code, or what there is instead.
    #[must_use]
    pub fn code(&self) -> String {
        match &self.kind {
            FaultKind::NotFound => "404".into(),
            FaultKind::Conflict => "409".into(),
            FaultKind::Forbidden(_) => "403".into(),
            FaultKind::Refused(code) => code.to_string(),
            FaultKind::Unknown => "unknown".into(),
            FaultKind::Command => "command".into(),
            FaultKind::TooEarly => "too-early".into(),
        }
    }

    /// Sorts an error of the client. `needs` is what the request would have needed.
    pub fn of(error: kube::Error, needs: impl FnOnce() -> Vec<Grant>) -> Self {
        let kube::Error::Api(status) = error else {
            return Self::unknown(innermost(&error));
        };
        let kind = match status.code {
            // Quotas, webhooks and the Pod Security admission answer with the same code and reason.
            403 if status.message.contains("cannot ") => FaultKind::Forbidden(needs()),
            404 => FaultKind::NotFound,
            409 => FaultKind::Conflict,
            // Timeouts and gateways may have done their work.
            408 | 501..=599 => FaultKind::Unknown,
            code => FaultKind::Refused(code),
        };
        let text = match status.message.as_str() {
            "" => format!("status {}", status.code),
            message => message.to_owned(),
        };
        Self { kind, text }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Fault {}

/// The errors of the client name layers; what happened is said by the last of the chain.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ivory_core::Kind;

    #[test]
    fn answers_are_sorted_by_what_is_certain() {
        let needs = || vec![Grant::new(Kind::Pod, "delete")];
        let (quota, role) = (
            "pods \"p\" is forbidden: exceeded quota: q, requested: pods=1",
            "pods is forbidden: User \"u\" cannot create resource \"pods\" in API group \"\"",
        );
        for (code, reason, words, expected) in [
            (404, "NotFound", "words", FaultKind::NotFound),
            (409, "Conflict", "words", FaultKind::Conflict),
            (409, "AlreadyExists", "words", FaultKind::Conflict),
            (403, "Forbidden", role, FaultKind::Forbidden(needs())),
            (403, "Forbidden", quota, FaultKind::Refused(403)),
            (422, "Invalid", "words", FaultKind::Refused(422)),
            (429, "TooManyRequests", "words", FaultKind::Refused(429)),
            (500, "InternalError", "words", FaultKind::Refused(500)),
            (504, "Timeout", "words", FaultKind::Unknown),
        ] {
            let status = kube::core::Status::failure(words, reason).with_code(code);
            let fault = Fault::of(kube::Error::Api(status.boxed()), needs);
            assert_eq!(fault.kind, expected, "{code} {reason}");
            assert_eq!(fault.text, words);
        }
    }
}
