//! `spec.users`: database roles, their databases and passwords.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::shared::{is_default, some_text};

/// A database role that can log in. Its Secret is CLUSTER-pguser-NAME.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct User {
    /// Databases that are created and that this role may use. The first one stands in the
    /// connection strings of its Secret. Taking a database off the list does not drop it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(inner(length(min = 1, max = 63)), extend("x-kubernetes-list-type" = "set"))]
    pub databases: Vec<String>,
    /// The name of the role.
    #[schemars(regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"), length(min = 1, max = 63))]
    pub name: String,
    /// Options of ALTER ROLE, for example SUPERUSER or CONNECTION LIMIT 10. A password is not for
    /// here; it is in the role's Secret.
    #[serde(default, deserialize_with = "some_text", skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^[^;]*$"), length(max = 200))]
    pub options: Option<String>,
    /// How the password is made. Changing it changes no existing password.
    #[serde(default, skip_serializing_if = "is_default")]
    pub password: Password,
}

/// How a password is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Password {
    /// ASCII for letters, digits and symbols; AlphaNumeric for letters and digits.
    #[serde(rename = "type", default)]
    pub type_: PasswordType,
}

/// The characters that a password is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs, reason = "explained at `Password::type_`")]
pub enum PasswordType {
    #[default]
    #[serde(rename = "ASCII")]
    Ascii,
    AlphaNumeric,
}
