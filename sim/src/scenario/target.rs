//! How a scenario names things: by what they are to the cluster, not by names that were derived or
//! drawn. This file reads such a name; `resolve.rs` finds what it means at a moment.

use std::fmt;

use ivory_core::Kind;

use super::fields::nearest;

/// Something that a step or an expectation is about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Target {
    /// `cluster`: the IvoryCluster that the scenario is about.
    Cluster,
    /// `it`: the object whose turn it is in `each`.
    It,
    /// `Service hippo-primary`.
    Named(Kind, String),
    /// `StatefulSet of primary`, or only `primary`, which means the Pod.
    Of(Kind, Member),
}

/// Which Pods of the cluster.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Member {
    /// What they are.
    pub who: Who,
    /// Of which instance set; none for any.
    pub set: Option<String>,
    /// Which of several.
    pub pick: Pick,
}

/// What a Pod is to its cluster.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Who {
    /// The instance that leads.
    Primary,
    /// An instance that follows.
    Replica,
    /// Any instance.
    Instance,
    /// The repository host.
    RepoHost,
}

/// Which of several, in the order of their birth.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pick {
    /// The first of those that are.
    Oldest,
    /// The last.
    Newest,
    /// The one that was born as the n-th of its set, as transcripts number them.
    Born(usize),
    /// All of them.
    Every,
}

impl Target {
    /// The thing that a text in braces stands for, such as `{StatefulSet of replica}`: in a patch, its name. None for every
    /// other text.
    #[must_use]
    pub fn in_braces(text: &str) -> Option<Result<Self, String>> {
        let inner = text.strip_prefix('{')?.strip_suffix('}')?;
        Some(Self::parse(inner))
    }

    /// Reads a name.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        match text {
            "cluster" => return Ok(Self::Cluster),
            "it" => return Ok(Self::It),
            _ => {}
        }
        if let Some((kind, member)) = text.split_once(" of ")
            && let Ok(kind) = kind.parse::<Kind>()
        {
            const OF: [Kind; 7] = [
                Kind::Pod,
                Kind::StatefulSet,
                Kind::ConfigMap,
                Kind::Secret,
                Kind::PersistentVolumeClaim,
                Kind::PersistentVolume,
                Kind::Node,
            ];
            if !OF.contains(&kind) {
                let names = OF.map(Kind::name).join(", ");
                return Err(format!("an instance has no {kind} of its own; it has {names}"));
            }
            return Ok(Self::Of(kind, Member::parse(member)?));
        }
        if let Some((kind, name)) = text.split_once(' ')
            && !matches!(kind, "every")
            && !name.starts_with("of ")
        {
            let kind: Kind = kind.parse().map_err(|_| {
                let known = Kind::ALL.iter().map(|k| k.name());
                match nearest(kind, known) {
                    Some(near) => format!("unknown kind `{kind}`; did you mean `{near}`?"),
                    None => format!("unknown kind `{kind}`"),
                }
            })?;
            let name = name.trim();
            if name.is_empty() || name.contains(char::is_whitespace) {
                return Err(format!("`{name}` is no name; write `{kind} NAME`"));
            }
            return Ok(Self::Named(kind, name.to_owned()));
        }
        Ok(Self::Of(Kind::Pod, Member::parse(text)?))
    }
}

impl Member {
    /// Reads `primary`, `replica[newest] of instance1`, `instance1[2]`, `every instance`, `repo-host`.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let (every, rest) = match text.strip_prefix("every ") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (head, set) = match rest.split_once(" of ") {
            Some((head, set)) => (head.trim(), Some(set.trim().to_owned())),
            None => (rest, None),
        };
        let (word, pick) = match head.split_once('[') {
            Some((word, inner)) => {
                let inner =
                    inner.strip_suffix(']').ok_or_else(|| format!("`{text}` lacks its `]`"))?;
                (word, Some(Pick::parse(inner)?))
            }
            None => (head, None),
        };
        if every && pick.is_some() {
            return Err(format!("`{text}` says both `every` and which one"));
        }
        let who = match word {
            "primary" => Who::Primary,
            "replica" => Who::Replica,
            "instance" => Who::Instance,
            "repo-host" => Who::RepoHost,
            set_name if pick.is_some() && set.is_none() && !set_name.is_empty() => {
                return Ok(Self {
                    who: Who::Instance,
                    set: Some(set_name.to_owned()),
                    pick: pick.unwrap_or(Pick::Oldest),
                });
            }
            other => {
                const SHAPES: &str = "primary, replica, replica[newest], replica of SET, SET[1], SET[oldest], \
                     every instance, every replica, repo-host, `KIND of …` or `KIND NAME`";
                let near = nearest(other, ["primary", "replica", "instance", "repo-host"]);
                return Err(match near {
                    Some(near) => format!("nothing is called `{other}`; did you mean `{near}`?"),
                    None => format!("nothing is called `{other}`; write {SHAPES}"),
                });
            }
        };
        let pick = if every { Pick::Every } else { pick.unwrap_or(Pick::Oldest) };
        Ok(Self { who, set, pick })
    }
}

impl Pick {
    fn parse(text: &str) -> Result<Self, String> {
        Ok(match text {
            "oldest" => Self::Oldest,
            "newest" => Self::Newest,
            "every" => Self::Every,
            number => match number.parse() {
                Ok(n) if n > 0 => Self::Born(n),
                _ => {
                    return Err(format!(
                        "`[{number}]` is none of [oldest], [newest], [every] and [1], [2], …"
                    ));
                }
            },
        })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cluster => f.write_str("cluster"),
            Self::It => f.write_str("it"),
            Self::Named(kind, name) => write!(f, "{kind} {name}"),
            Self::Of(Kind::Pod, member) => write!(f, "{member}"),
            Self::Of(kind, member) => write!(f, "{kind} of {member}"),
        }
    }
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.who {
            Who::Primary => "primary",
            Who::Replica => "replica",
            Who::Instance => "instance",
            Who::RepoHost => "repo-host",
        };
        match self.pick {
            Pick::Every => write!(f, "every {word}")?,
            Pick::Oldest => f.write_str(word)?,
            Pick::Newest => write!(f, "{word}[newest]")?,
            Pick::Born(n) => write!(f, "{word}[{n}]")?,
        }
        match &self.set {
            Some(set) => write!(f, " of {set}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_shown() {
        for (text, shown) in [
            ("cluster", "cluster"),
            ("it", "it"),
            ("primary", "primary"),
            ("replica", "replica"),
            ("replica[newest]", "replica[newest]"),
            ("replica of instance1", "replica of instance1"),
            ("instance1[oldest]", "instance of instance1"),
            ("instance1[2]", "instance[2] of instance1"),
            ("every instance", "every instance"),
            ("every replica of instance1", "every replica of instance1"),
            ("StatefulSet of primary", "StatefulSet of primary"),
            ("statefulsets of every instance", "StatefulSet of every instance"),
            ("Node of replica[newest] of instance1", "Node of replica[newest] of instance1"),
            (
                "PersistentVolumeClaim of instance1[1]",
                "PersistentVolumeClaim of instance[1] of instance1",
            ),
            ("repo-host", "repo-host"),
            ("Service hippo-primary", "Service hippo-primary"),
        ] {
            let target = Target::parse(text).expect(text);
            assert_eq!(target.to_string(), shown, "{text}");
            assert_eq!(Target::parse(shown), Ok(target), "{shown} means the same");
        }
    }

    #[test]
    fn what_is_no_name_is_refused_with_help() {
        for (text, part) in [
            ("primry", "did you mean `primary`"),
            ("Servce hippo", "did you mean `Service`"),
            ("Service of primary", "an instance has no Service"),
            ("replica[last]", "none of [oldest]"),
            ("replica[0]", "none of [oldest]"),
            ("instance1[2", "lacks its `]`"),
            ("Service", "nothing is called"),
            ("every replica[2]", "both `every`"),
            ("Service a b", "is no name"),
            ("", "nothing is called"),
        ] {
            let message = Target::parse(text).expect_err(text);
            assert!(message.contains(part), "{text:?}: {message}");
        }
    }
}
