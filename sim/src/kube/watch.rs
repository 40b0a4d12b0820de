//! What a watch is sent, from a version until now. Its delivery, and that it stays open, is the world's matter.

use std::sync::Arc;

use ivory_core::Kind;
use ivory_core::object::Object;

use super::request::Filter;
use super::store::{ApiServer, Change, ChangeType, Expired};

impl Change {
    /// The change as a selective watch sees it. An object that begins to match comes; one that ceases to match goes,
    /// and is sent as it was, with the version of the change.
    pub fn seen_by(&self, matches: impl Fn(&Object) -> bool) -> Option<(ChangeType, Arc<Object>)> {
        let before = self.old.as_ref().is_some_and(|old| matches(old));
        let after = self.what != ChangeType::Deleted && matches(&self.object);
        let what = match (before, after) {
            (false, false) => return None,
            (false, true) => ChangeType::Added,
            (true, true) => ChangeType::Modified,
            (true, false) => ChangeType::Deleted,
        };
        let object = match &self.old {
            Some(old) if what == ChangeType::Deleted && self.what != what => {
                let mut last = Object::clone(old);
                last.meta.resource_version = self.resource_version;
                Arc::new(last)
            }
            _ => Arc::clone(&self.object),
        };
        Some((what, object))
    }
}

impl ApiServer {
    /// The events of a watch that began at a version, or with all that there is (`from` 0).
    ///
    /// # Errors
    /// When changes since then are forgotten; the real server then sends this error as an event.
    pub fn watch(
        &self,
        kind: Kind,
        namespace: Option<&str>,
        filter: &Filter,
        from: u64,
    ) -> Result<Vec<(ChangeType, Arc<Object>)>, Expired> {
        if from == 0 {
            let all = self.list(kind, namespace).filter(|o| filter.matches(o));
            return Ok(all.map(|o| (ChangeType::Added, Arc::clone(o))).collect());
        }
        let changes = self.changes_since(from, Some(kind))?;
        let here = changes.filter(|change| {
            namespace.is_none_or(|wanted| *wanted == *change.object.meta.namespace)
        });
        Ok(here.filter_map(|change| change.seen_by(|object| filter.matches(object))).collect())
    }
}
