//! What the API server refuses with: `metav1.Status`, in the real server's words.

use std::fmt;

use ivory_core::Kind;
use serde_json::Value;

/// A refusal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Status {
    /// HTTP status code.
    pub code: u16,
    /// The machine-readable word, for example `NotFound`.
    pub reason: &'static str,
    /// For people.
    pub message: String,
    /// Details per field or manager.
    pub causes: Vec<Cause>,
}

/// One detail of a refusal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cause {
    /// The field, for example `spec.replicas`; may be empty.
    pub field: String,
    /// The machine-readable word, for example `FieldValueInvalid`.
    pub reason: &'static str,
    /// For people.
    pub message: String,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.code, self.reason, self.message.replace('\n', " "))
    }
}

impl std::error::Error for Status {}

/// `plural.group`, or the plural alone in the core group.
pub(crate) fn resource(kind: Kind) -> String {
    qualified(kind.plural(), kind)
}

pub(crate) fn qualified(word: &str, kind: Kind) -> String {
    match kind.group() {
        "" => word.to_owned(),
        group => format!("{word}.{group}"),
    }
}

impl Status {
    pub(crate) fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), causes: Vec::new() }
    }

    /// 504: nobody knows whether it was done.
    #[must_use]
    pub fn timeout(message: &str) -> Self {
        Self::new(504, "Timeout", message)
    }

    /// 503: nobody is there to do it.
    #[must_use]
    pub fn unavailable(message: &str) -> Self {
        Self::new(503, "ServiceUnavailable", message)
    }

    /// 500.
    #[must_use]
    pub fn internal(message: &str) -> Self {
        Self::new(500, "InternalError", message)
    }

    /// 409, of no object in particular: what a busy server says.
    #[must_use]
    pub fn conflicting() -> Self {
        Self::new(
            409,
            "Conflict",
            "the object has been modified; please apply your changes to the latest version",
        )
    }

    /// 429.
    #[must_use]
    pub fn throttled() -> Self {
        Self::new(429, "TooManyRequests", "too many requests, please try again later")
    }

    /// 403, as quotas and webhooks answer.
    #[must_use]
    pub fn refused(kind: Kind, why: &str) -> Self {
        Self::new(403, "Forbidden", format!("{} is forbidden: {why}", resource(kind)))
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    /// The token is not, or no longer, valid.
    #[must_use]
    pub fn unauthorized() -> Self {
        Self::new(401, "Unauthorized", "Unauthorized".to_owned())
    }

    /// 404.
    #[must_use]
    pub fn not_found(kind: Kind, name: &str) -> Self {
        let message = format!("{} \"{name}\" not found", resource(kind));
        Self::new(404, "NotFound", message)
    }

    pub(crate) fn already_exists(kind: Kind, name: &str) -> Self {
        let message = format!("{} \"{name}\" already exists", resource(kind));
        Self::new(409, "AlreadyExists", message)
    }

    pub(crate) fn conflict(kind: Kind, name: &str, why: &str) -> Self {
        let message =
            format!("Operation cannot be fulfilled on {} \"{name}\": {why}", resource(kind));
        Self::new(409, "Conflict", message)
    }

    pub(crate) fn modified(kind: Kind, name: &str) -> Self {
        let why = "the object has been modified; please apply your changes to the latest version and try again";
        Self::conflict(kind, name, why)
    }

    pub(crate) fn forbidden(kind: Kind, name: &str, why: &str) -> Self {
        let message = format!("{} \"{name}\" is forbidden: {why}", resource(kind));
        Self::new(403, "Forbidden", message)
    }

    pub(crate) fn invalid(kind: Kind, name: &str, errors: &[FieldError]) -> Self {
        let texts: Vec<_> = errors.iter().map(FieldError::to_string).collect();
        let all = match texts.as_slice() {
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        let kind = qualified(kind.name(), kind);
        let mut status = Self::new(422, "Invalid", format!("{kind} \"{name}\" is invalid: {all}"));
        status.causes = errors
            .iter()
            .map(|e| Cause { field: e.field.clone(), reason: e.wrong.reason(), message: e.body() })
            .collect();
        status
    }

    pub(crate) fn expired(message: &str) -> Self {
        Self::new(410, "Expired", message)
    }

    pub(crate) fn with_cause(mut self, field: &str, reason: &'static str, message: &str) -> Self {
        self.causes.push(Cause { field: field.to_owned(), reason, message: message.to_owned() });
        self
    }
}

/// One finding of validation.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct FieldError {
    pub(crate) field: String,
    pub(crate) wrong: Wrong,
    pub(crate) detail: String,
}

/// What is wrong with a field.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Wrong {
    Required,
    Invalid(Value),
    Forbidden,
    Duplicate(Value),
    NotSupported(Value),
    TypeInvalid(Value),
    NotFound(Value),
    TooLong,
    TooMany,
}

impl Wrong {
    fn reason(&self) -> &'static str {
        match self {
            Self::Required => "FieldValueRequired",
            Self::Invalid(_) => "FieldValueInvalid",
            Self::Forbidden => "FieldValueForbidden",
            Self::Duplicate(_) => "FieldValueDuplicate",
            Self::NotSupported(_) => "FieldValueNotSupported",
            Self::TypeInvalid(_) => "FieldValueTypeInvalid",
            Self::NotFound(_) => "FieldValueNotFound",
            Self::TooLong => "FieldValueTooLong",
            Self::TooMany => "FieldValueTooMany",
        }
    }
}

impl FieldError {
    pub(crate) fn new(field: impl Into<String>, wrong: Wrong, detail: impl Into<String>) -> Self {
        Self { field: field.into(), wrong, detail: detail.into() }
    }

    pub(crate) fn required(field: impl Into<String>, detail: &str) -> Self {
        Self::new(field, Wrong::Required, detail)
    }

    pub(crate) fn invalid(
        field: impl Into<String>,
        value: impl Into<Value>,
        detail: impl Into<String>,
    ) -> Self {
        Self::new(field, Wrong::Invalid(value.into()), detail)
    }

    pub(crate) fn forbidden(field: impl Into<String>, detail: &str) -> Self {
        Self::new(field, Wrong::Forbidden, detail)
    }

    pub(crate) fn not_supported(field: impl Into<String>, value: &str, supported: &[&str]) -> Self {
        let list: Vec<_> = supported.iter().map(|s| format!("{s:?}")).collect();
        Self::new(
            field,
            Wrong::NotSupported(value.into()),
            format!("supported values: {}", list.join(", ")),
        )
    }

    /// The message without the field.
    fn body(&self) -> String {
        let with = |word: &str, value: &Value| {
            let value = match value {
                Value::Object(_) | Value::Array(_) => value.to_string(),
                Value::Null => "null".to_owned(),
                scalar => scalar.to_string(),
            };
            format!("{word}: {value}")
        };
        let head = match &self.wrong {
            Wrong::Required => "Required value".to_owned(),
            Wrong::Forbidden => "Forbidden".to_owned(),
            Wrong::TooLong => "Too long".to_owned(),
            Wrong::TooMany => "Too many".to_owned(),
            Wrong::Invalid(v) | Wrong::TypeInvalid(v) => with("Invalid value", v),
            Wrong::NotFound(v) => with("Not found", v),
            Wrong::Duplicate(v) => with("Duplicate value", v),
            Wrong::NotSupported(v) => with("Unsupported value", v),
        };
        if self.detail.is_empty() { head } else { format!("{head}: {}", self.detail) }
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.body())
    }
}
