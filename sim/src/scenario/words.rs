//! Every word of the scenario language, once. The parser takes its known words from here, and a test
//! compares `scenarios/README.md` with it, so that neither can know a word that the other does not.

/// Where a word may stand.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Group {
    /// At the top of the file.
    Top,
    /// In `world`.
    World,
    /// In one Kubernetes of `world`.
    Kubernetes,
    /// A step.
    Step,
    /// Beside a step's word.
    Beside,
    /// In `wait` and `expect`.
    Expectation,
    /// In `fault`.
    Fault,
    /// In the final `expect` only.
    Final,
}

/// Whether a live run on a real cluster can do it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Live {
    /// Yes.
    Yes,
    /// No: a live run leaves it out, and says so.
    Simulator,
}

/// One word.
#[derive(Clone, Copy, Debug)]
pub struct Word {
    /// The word.
    pub word: &'static str,
    /// Where it may stand.
    pub group: Group,
    /// Whether it works on a real cluster.
    pub live: Live,
}

macro_rules! words {
    ($($group:ident $live:ident: $($word:literal)*;)*) => {
        /// The whole language.
        pub const WORDS: &[Word] = &[$($(Word { word: $word, group: Group::$group, live: Live::$live },)*)*];
    };
}

words! {
    Top Yes: "description" "cluster" "namespace" "steps" "expect";
    Top Simulator: "world";
    World Simulator: "seed" "patroni" "kubernetes";
    Kubernetes Simulator: "nodes" "storage" "images_failing" "buckets" "objects";
    Step Yes: "apply" "patch" "annotate" "label" "delete" "scale" "wait" "expect" "connect" "disconnect"
        "sql" "fault" "advance" "mark" "each";
    Beside Yes: "cluster" "within" "for" "refused";
    Beside Simulator: "optional" "in";
    Expectation Yes: "ready" "instances" "pods" "primary" "roles" "timeline" "exists" "absent" "gone" "field"
        "changed" "unchanged" "condition" "event" "service" "spread" "client" "quiet";
    Fault Yes: "kill_pod" "kill_container" "operator" "refuse";
    Fault Simulator: "crash_node" "restart_node" "lose_node" "partition" "heal" "api_outage" "lose_volume"
        "images" "messages" "lag" "second_operator" "drain" "uncordon" "hang_patroni" "kill_postgres"
        "replication" "disk" "oom" "kill_backend" "pause_node" "clock" "dns" "upgrade";
    Final Yes: "write_gap_s" "lost_rows" "writes_when_quiet" "writes";
}

/// The words of one group, in the order of the table.
#[must_use]
pub fn words(group: Group) -> Vec<&'static str> {
    let of_group = WORDS.iter().filter(|w| w.group == group);
    of_group.map(|w| w.word).collect()
}

/// The words of several groups.
#[must_use]
pub fn words_of(groups: &[Group]) -> Vec<&'static str> {
    groups.iter().flat_map(|g| words(*g)).collect()
}
