//! Known differences between the real API server and the model, each with its reason. One that no exchange shows
//! any more fails the comparison, so that the table stays true.

/// A known difference.
pub(crate) struct Known {
    /// The word by which requests of scripts say that they show it; empty where any may.
    pub(crate) word: &'static str,
    /// Where in the answer it is seen: how the path begins.
    pub(crate) path: &'static str,
    /// Why it is left.
    pub(crate) reason: &'static str,
}

/// All of them.
pub(crate) const TABLE: &[Known] = &[
    Known {
        word: "",
        path: "body.details.name",
        reason: "a refusal of the model names the object in its message alone; no client reads it from details",
    },
    Known {
        word: "",
        path: "body.details.kind",
        reason: "as details.name",
    },
    Known {
        word: "",
        path: "body.details.group",
        reason: "as details.name",
    },
    Known {
        word: "",
        path: "body.details.uid",
        reason: "as details.name",
    },
    Known {
        word: "selectors",
        path: "",
        reason: "selectors ask for values and keys of labels, metadata.name and spec.nodeName; no client here asks more",
    },
    Known {
        word: "token",
        path: "body.message",
        reason: "what is wrong with a token is told in words of its encoding, and the model has another",
    },
    Known {
        word: "collection",
        path: "body",
        reason: "the answer to the deletion of a collection is not given; nobody reads it",
    },
];
