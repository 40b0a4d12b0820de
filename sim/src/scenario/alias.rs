//! Stable names for people: instances by set and order of birth (`instance1/1`), Jobs and other random
//! names by family and order of appearance (`backup/1`). What was drawn is never printed, so that
//! transcripts of different seeds differ only where the stories do.

use std::collections::{BTreeMap, BTreeSet};

use crate::tokens::{in_token, replace};
use crate::world::KubeId;

/// The symbols from which Kubernetes and we draw name endings: no vowels, so that no word comes out.
const SYMBOLS: &str = "bcdfghjklmnpqrstvwxz2456789";

/// The names known so far.
#[derive(Clone, Debug, Default)]
pub struct Aliases {
    /// The sets of each cluster.
    clusters: BTreeMap<String, BTreeSet<String>>,
    namespaces: BTreeSet<String>,
    /// Number by Kubernetes, family and real name.
    numbers: BTreeMap<(KubeId, Family), BTreeMap<String, usize>>,
}

/// What several drawn names have in common.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Family {
    cluster: String,
    name: String,
}

/// A drawn name inside a token.
struct Found<'a> {
    family: Family,
    /// The drawn name itself.
    name: &'a str,
    /// What follows it in the token: `-0`, `-pgdata`, `.hippo-pods`.
    rest: &'a str,
}

impl Aliases {
    /// Makes a cluster and its instance sets known; names are only recognised below a known cluster.
    pub fn cluster<'a>(
        &mut self,
        namespace: &str,
        name: &str,
        sets: impl IntoIterator<Item = &'a str>,
    ) {
        self.namespaces.insert(namespace.to_owned());
        let known = self.clusters.entry(name.to_owned()).or_default();
        known.extend(sets.into_iter().map(str::to_owned));
    }

    /// Numbers the names in a text that were not seen before. Feed it everything, in order.
    pub fn learn(&mut self, kube: KubeId, text: &str) {
        for token in tokens(text) {
            if let Some(found) = self.find(token) {
                let (family, name) = (found.family, found.name.to_owned());
                let known = self.numbers.entry((kube, family)).or_default();
                let next = known.len() + 1;
                known.entry(name).or_insert(next);
            }
        }
    }

    /// As which of its set an instance was born, from 1.
    #[must_use]
    pub fn born(&self, kube: KubeId, instance: &str) -> Option<usize> {
        let found = self.find(instance)?;
        let known = self.numbers.get(&(kube, found.family))?;
        known.get(found.name).copied()
    }

    /// A text with every drawn name replaced.
    #[must_use]
    pub fn show(&self, kube: KubeId, text: &str) -> String {
        let mut text = text.to_owned();
        for namespace in &self.namespaces {
            text = text.replace(&format!("{namespace}/"), "");
        }
        replace(&text, |token, shown| shown.push_str(&self.token(kube, token)))
    }

    fn token(&self, kube: KubeId, token: &str) -> String {
        // A sentence's full stop is no part of a name.
        let (token, stop) = match token.strip_suffix('.') {
            Some(token) => (token, "."),
            None => (token, ""),
        };
        let shown = match self.find(token) {
            Some(found) => self.alias(kube, &found),
            None => anonymous(token),
        };
        format!("{shown}{stop}")
    }

    fn alias(&self, kube: KubeId, found: &Found<'_>) -> String {
        let known = self.numbers.get(&(kube, found.family.clone()));
        let number = known.and_then(|k| k.get(found.name));
        let number = number.map_or("?".to_owned(), ToString::to_string);
        let family = &found.family.name;
        let alias = match self.clusters.len() > 1 {
            true => format!("{}/{family}/{number}", found.family.cluster),
            false => format!("{family}/{number}"),
        };
        // The Pod of an instance, or a name below it, is called as the instance.
        match found.rest {
            "" | "-0" => alias,
            rest if rest.starts_with("-0.") || rest.starts_with('.') => alias,
            rest => format!("{alias} {}", rest.trim_start_matches('-')),
        }
    }

    /// The drawn name in a token, of the cluster with the longest name that fits.
    fn find<'a>(&self, token: &'a str) -> Option<Found<'a>> {
        let fits =
            |c: &&String| token.strip_prefix(c.as_str()).is_some_and(|rest| rest.starts_with('-'));
        let mut clusters: Vec<&String> = self.clusters.keys().filter(fits).collect();
        clusters.sort_by_key(|c| std::cmp::Reverse(c.len()));
        clusters.into_iter().find_map(|cluster| {
            let rest = &token[cluster.len() + 1..];
            let offset = token.len() - rest.len();
            self.clusters[cluster]
                .iter()
                .rev()
                .find_map(|set| instance(cluster, set, token, offset))
                .or_else(|| job(cluster, token, offset))
                .or_else(|| generated(cluster, token, offset))
        })
    }
}

/// `CLUSTER-SET-xxxx…`
fn instance<'a>(cluster: &str, set: &str, token: &'a str, offset: usize) -> Option<Found<'a>> {
    let drawn = token[offset..].strip_prefix(set)?.strip_prefix('-')?;
    let symbols = drawn.get(..4)?;
    let rest = &drawn[4..];
    let ends = rest.is_empty() || rest.starts_with(['-', '.']);
    let hex = symbols.bytes().all(|b| b.is_ascii_hexdigit());
    if !ends || !(all_symbols(symbols) || hex) {
        return None;
    }
    Some(Found { family: family(cluster, set), name: &token[..token.len() - rest.len()], rest })
}

/// `CLUSTER-backup-xxxx`, `CLUSTER-repo1-full-29112345`, and their Pods.
fn job<'a>(cluster: &str, token: &'a str, offset: usize) -> Option<Found<'a>> {
    let local = &token[offset..];
    let (name, drawn) = match local.strip_prefix("backup-") {
        Some(drawn) => ("backup".to_owned(), drawn),
        None => {
            let mut parts = local.splitn(3, '-');
            let (repo, kind, drawn) = (parts.next()?, parts.next()?, parts.next()?);
            let time = drawn.split('-').next()?;
            let scheduled = time.len() >= 8 && time.bytes().all(|b| b.is_ascii_digit());
            if !repo.starts_with("repo") || !scheduled {
                return None;
            }
            (format!("{repo}-{kind}"), drawn)
        }
    };
    let length = drawn.find('-').unwrap_or(drawn.len());
    let rest = &drawn[length..];
    if length < 4 || !(rest.is_empty() || is_pod_ending(rest)) {
        return None;
    }
    Some(Found {
        family: family(cluster, &name),
        name: &token[..token.len() - rest.len()],
        rest: "",
    })
}

/// `CLUSTER-anything[-hash]-xxxxx`: Pods of Deployments and of Jobs.
fn generated<'a>(cluster: &str, token: &'a str, offset: usize) -> Option<Found<'a>> {
    let (base, ending) = token[offset..].rsplit_once('-')?;
    if ending.len() != 5 || !all_symbols(ending) {
        return None;
    }
    let base = match base.rsplit_once('-') {
        Some((base, hash)) if (6..=10).contains(&hash.len()) && all_symbols(hash) => base,
        _ => base,
    };
    Some(Found { family: family(cluster, base), name: token, rest: "" })
}

fn family(cluster: &str, name: &str) -> Family {
    Family { cluster: cluster.to_owned(), name: name.to_owned() }
}

fn is_pod_ending(rest: &str) -> bool {
    rest.len() == 6 && rest.starts_with('-') && all_symbols(&rest[1..])
}

fn all_symbols(text: &str) -> bool {
    text.chars().all(|c| SYMBOLS.contains(c))
}

fn tokens(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c| !in_token(c)).map(|t| t.trim_end_matches('.')).filter(|t| !t.is_empty())
}

/// UIDs and addresses have no names of their own.
fn anonymous(token: &str) -> String {
    let uuid = |t: &str| {
        t.len() == 36
            && t.bytes().enumerate().all(|(i, b)| match i {
                8 | 13 | 18 | 23 => b == b'-',
                _ => b.is_ascii_hexdigit(),
            })
    };
    if uuid(token) {
        "<uid>".to_owned()
    } else if token.strip_prefix("pvc-").is_some_and(uuid) {
        "<volume>".to_owned()
    } else if token.parse::<std::net::Ipv4Addr>().is_ok() {
        "<address>".to_owned()
    } else {
        token.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(clusters: &[&str]) -> Aliases {
        let mut aliases = Aliases::default();
        for cluster in clusters {
            aliases.cluster("ivory-operator", cluster, ["instance1", "00"]);
        }
        aliases
    }

    #[test]
    fn drawn_names_become_numbers() {
        let mut aliases = known(&["hippo"]);
        let kube = KubeId(0);
        aliases.learn(kube, "StatefulSet hippo-instance1-zj5s");
        aliases.learn(kube, "hippo-instance1-bbbb and hippo-instance1-zj5s-0, hippo-00-79ff");
        aliases.learn(
            kube,
            "Job hippo-backup-kkkk; hippo-backup-kkkk-x2x2x; hippo-repo1-full-29112345",
        );
        aliases.learn(kube, "hippo-pgbouncer-5d4f8c7b9-x2x2x");
        for (text, shown) in [
            ("StatefulSet hippo-instance1-zj5s:", "StatefulSet instance1/1:"),
            ("hippo-instance1-bbbb-0", "instance1/2"),
            ("ivory-operator/hippo-instance1-bbbb-0", "instance1/2"),
            ("streams from hippo-instance1-zj5s-0.hippo-pods.", "streams from instance1/1."),
            ("hippo-instance1-bbbb-pgdata", "instance1/2 pgdata"),
            ("hippo-00-79ff", "00/1"),
            ("hippo-backup-kkkk-x2x2x", "backup/1"),
            ("hippo-repo1-full-29112345", "repo1-full/1"),
            ("hippo-pgbouncer-5d4f8c7b9-x2x2x", "pgbouncer/1"),
            (
                "hippo-primary hippo-repo-host-0 hippo-instance1-certs",
                "hippo-primary hippo-repo-host-0 hippo-instance1-certs",
            ),
            ("pvc-0a1b2c3d-0000-4000-8000-0123456789ab", "<volume>"),
            ("uid 0a1b2c3d-0000-4000-8000-0123456789ab at 10.1.2.3", "uid <uid> at <address>"),
            ("version 18.1 – unchanged", "version 18.1 – unchanged"),
        ] {
            assert_eq!(aliases.show(kube, text), shown, "{text}");
        }
        assert_eq!(aliases.born(kube, "hippo-instance1-bbbb"), Some(2));
        assert_eq!(aliases.born(kube, "hippo-instance1-cccc"), None);
    }

    #[test]
    fn several_clusters_are_told_apart() {
        let mut aliases = known(&["hippo", "hippo-00"]);
        for name in ["hippo-instance1-bbbb", "hippo-00-instance1-bbbb", "hippo-00-bbbb"] {
            aliases.learn(KubeId(0), name);
        }
        for (name, shown) in [
            ("hippo-instance1-bbbb", "hippo/instance1/1"),
            ("hippo-00-instance1-bbbb", "hippo-00/instance1/1"),
            ("hippo-00-bbbb", "hippo/00/1"),
        ] {
            assert_eq!(aliases.show(KubeId(0), name), shown);
        }
        assert_eq!(
            aliases.show(KubeId(1), "hippo-00-bbbb"),
            "hippo/00/?",
            "each Kubernetes counts for itself"
        );
    }
}
