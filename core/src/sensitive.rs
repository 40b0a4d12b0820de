//! Bytes that must never be shown: passwords, private keys, entropy. This type has no `Debug` that
//! prints, no `Display` and no `Serialize`, so that a leak is a compile error. It does not erase memory.

use std::fmt;
use std::sync::Arc;

/// Secret bytes. They leave only through [`Sensitive::expose`], whose name is easy to search for.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sensitive(Arc<[u8]>);

impl Sensitive {
    /// Wraps secret bytes.
    pub fn new(bytes: impl Into<Arc<[u8]>>) -> Self {
        Self(bytes.into())
    }

    /// Wraps secret text.
    #[must_use]
    pub fn text(text: &str) -> Self {
        Self(Arc::from(text.as_bytes()))
    }

    /// The bytes themselves. Whoever calls this must not put them where people or logs can read.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// The bytes as text, if they are UTF-8. The warning of [`Sensitive::expose`] holds.
    #[must_use]
    pub fn expose_text(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }

    /// Whether there are no bytes at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Sensitive {
    /// Says only that something is hidden here, so that types holding secrets can derive `Debug`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sensitive(..)")
    }
}
