//! Known differences between the real API server and the model, each with its reason. One that no exchange shows
//! any more fails the comparison, so that the table stays true.

/// A known difference.
pub(crate) struct Known {
    /// The word by which requests of scripts say that they show it; empty where any may.
    pub(crate) word: &'static str,
    /// Where in the answer it is seen: how the path begins.
    pub(crate) path: &'static str,
    /// What the real server's value contains; empty where any does.
    pub(crate) says: &'static str,
    /// Why it is left.
    pub(crate) reason: &'static str,
}

/// All of them.
pub(crate) const TABLE: &[Known] = &[
    Known {
        word: "",
        path: "body.details.name",
        says: "",
        reason: "a refusal of the model names the object in its message alone; no client here reads it from details",
    },
    Known { word: "", path: "body.details.kind", says: "", reason: "as details.name" },
    Known { word: "", path: "body.details.group", says: "", reason: "as details.name" },
    Known {
        word: "",
        path: "body.details.retryAfterSeconds",
        says: "",
        reason: "who evicts has a back-off of its own",
    },
    Known {
        word: "",
        path: "warnings",
        says: "Endpoints is deprecated",
        reason: "a warning for people, at every request to Endpoints; Patroni writes them every few seconds",
    },
    Known {
        word: "",
        path: "warnings",
        says: "child pods are preserved",
        reason: "a warning for people",
    },
    Known {
        word: "",
        path: "body.message",
        says: "json: cannot unmarshal",
        reason: "metadata of a wrong type never becomes an object of the model; the words are the decoder's of another language",
    },
    Known {
        word: "update-words",
        path: "body.details.causes",
        says: "in body must be of type",
        reason: "when an update is judged, the real server's words name the last part of the path; field and reason agree",
    },
    Known {
        word: "selectors",
        path: "",
        says: "",
        reason: "selectors ask for values and keys of labels, metadata.name and spec.nodeName; no client here asks more",
    },
    Known {
        word: "token",
        path: "body.message",
        says: "",
        reason: "what is wrong with a token is told in words of its encoding, and the model has another",
    },
    Known {
        word: "collection",
        path: "body",
        says: "",
        reason: "the answer to the deletion of a collection is not given; nobody reads it",
    },
    Known {
        word: "empty-rules",
        path: "body",
        says: "",
        reason: "an empty list of rules is stored as null, and yet owned; nobody here writes an empty one",
    },
    Known {
        word: "bookmarks",
        path: "events[1]",
        says: "",
        reason: "the server promises no bookmark within seconds, but for the end of the first events; the model can always tell one",
    },
    Known {
        word: "taint",
        path: "body",
        says: "",
        reason: "a new Node gets the taint not-ready until a controller sees it ready; the simulated nodes are ready when they come",
    },
];
