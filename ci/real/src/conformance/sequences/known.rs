//! Known differences between the real controllers and their models, each with its reason. One that no sequence shows any
//! more fails the comparison, so that the table stays true.

/// A known difference.
pub(super) struct Known {
    /// The word by which requests of scripts say that they show it; empty where any may.
    pub(super) word: &'static str,
    /// The object, as `Kind/name` or its beginning; `order` where it is the order between objects.
    pub(super) object: &'static str,
    /// The field of its states that differs, key by key. Empty where it is the states themselves.
    pub(super) path: &'static [&'static str],
    /// Why it is left.
    pub(super) reason: &'static str,
}

impl Known {
    /// Whether an object may show it after a request with this word.
    pub(super) fn fits(&self, word: &str, object: &str) -> bool {
        (self.word.is_empty() || self.word == word) && object.starts_with(self.object)
    }
}

/// All of them.
pub(super) const TABLE: &[Known] = &[
    Known {
        word: "",
        object: "Endpoint",
        path: &["annotations", "endpoints.kubernetes.io/last-change-trigger-time"],
        reason: "a time for whoever measures how long a change takes to reach the proxies; it comes and goes by itself",
    },
    Known {
        word: "",
        object: "Namespace",
        path: &["status", "conditions"],
        reason: "what remains in a namespace that goes is told to people alone",
    },
    Known {
        word: "two-controllers",
        object: "order",
        path: &[],
        reason: "two controllers hear of a new Service at the same time, and the one of slices is quicker in reality",
    },
    Known {
        word: "mirrored",
        object: "EndpointSlice",
        path: &["annotations"],
        reason: "Patroni's annotations of Endpoints are copied to the slices that mirror them, with every heartbeat; nobody here reads them there",
    },
    Known {
        word: "dependents",
        object: "order",
        path: &[],
        reason: "twenty workers collect the dependents of one owner, here one does in the order of names",
    },
    Known {
        word: "namespace-content",
        object: "order",
        path: &[],
        reason: "what is in a namespace goes kind by kind, in the random order of a map",
    },
    Known {
        word: "namespace-content",
        object: "StatefulSet",
        path: &[],
        reason: "a set that may not make its Pod any more writes its status in reality; here the refusal ends what it does",
    },
    Known {
        word: "name-taken",
        object: "StatefulSet",
        path: &[],
        reason: "as a set in a namespace that goes",
    },
    Known {
        word: "forgotten",
        object: "Job",
        path: &["status", "terminating"],
        reason: "the real one remembers the failure of a Pod that is gone, and waits; the model makes the next at once",
    },
    Known {
        word: "quick-successor",
        object: "PodDisruptionBudget",
        path: &["status"],
        reason: "an evicted Pod is known by its name: the model misses the gap before its successor, and counts that one as evicted for two minutes",
    },
];
