//! Lists and their pages. All pages of a list show the moment of the first.

use std::sync::Arc;

use ivory_core::Kind;
use ivory_core::object::Object;

use super::request::{Content, Filter, Reply, Response};
use super::status::Status;
use super::store::{ApiServer, Collection};

impl ApiServer {
    pub(crate) fn page(
        &mut self,
        kind: Kind,
        namespace: Option<&str>,
        filter: &Filter,
        limit: usize,
        token: Option<&str>,
    ) -> Response {
        let (version, collection, after) = match token {
            None => (self.resource_version(), Arc::clone(self.collection(kind)), None),
            Some(token) => {
                let (version, after) =
                    parse(token).ok_or_else(|| Status::bad_request("continue key is not valid"))?;
                let open = self.open_lists.iter().find(|(v, k, _)| *v == version && *k == kind);
                let Some((_, _, collection)) = open else {
                    return Err(Status::expired(
                        "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter.",
                    ));
                };
                (version, Arc::clone(collection), Some(after))
            }
        };
        let mut matching = objects(&collection, namespace)
            .filter(|o| {
                after.is_none_or(|(ns, name)| (&*o.meta.namespace, &*o.meta.name) > (ns, name))
            })
            .filter(|o| filter.matches(o));
        let items: Vec<_> = match limit {
            0 => matching.map(Arc::clone).collect(),
            limit => {
                let items: Vec<_> = matching.by_ref().take(limit).map(Arc::clone).collect();
                let remaining = matching.count();
                if remaining > 0 {
                    if token.is_none() {
                        self.remember_list(kind);
                    }
                    let last = &items[items.len() - 1].meta;
                    let next = format!("{version}/{}/{}", last.namespace, last.name);
                    return Ok(reply(
                        items,
                        version,
                        Some(next.into()),
                        filter.is_everything().then_some(remaining),
                    ));
                }
                items
            }
        };
        Ok(reply(items, version, None, None))
    }
}

fn reply(
    items: Vec<Arc<Object>>,
    resource_version: u64,
    continue_token: Option<Arc<str>>,
    remaining: Option<usize>,
) -> Reply {
    Reply {
        code: 200,
        content: Content::List { items, resource_version, continue_token, remaining },
        warnings: Vec::new(),
    }
}

fn objects<'a>(
    collection: &'a Collection,
    namespace: Option<&'a str>,
) -> impl Iterator<Item = &'a Arc<Object>> {
    collection
        .iter()
        .filter(move |(ns, _)| namespace.is_none_or(|wanted| &***ns == wanted))
        .flat_map(|(_, names)| names.values())
}

/// A token is the version, the namespace and the name where the page before ended.
fn parse(token: &str) -> Option<(u64, (&str, &str))> {
    let (version, rest) = token.split_once('/')?;
    let (namespace, name) = rest.split_once('/')?;
    Some((version.parse().ok()?, (namespace, name)))
}
