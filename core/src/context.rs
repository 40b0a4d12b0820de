//! What a plan is given besides what it observes: the time, entropy, and the operator's settings.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use crate::grants::Grant;
use crate::hash::digest;
use crate::sensitive::Sensitive;
use crate::setbacks::Refusals;

/// What a plan is given besides [`Observed`](crate::observed::Observed).
#[derive(Clone, Debug)]
pub struct Context {
    /// Now, in whole microseconds.
    pub now: Timestamp,
    /// 32 fresh random bytes for this pass. Passwords, keys and serials are derived from them.
    pub entropy: Entropy,
    /// The operator's settings.
    pub config: Config,
    /// What the API server did not permit the driver when it last tried: reads, writes and commands.
    pub denied: BTreeSet<Grant>,
    /// What it refused to have written for another reason, when the driver last tried.
    pub refused: Refusals,
    /// Since when a kind is not followed that plans read: its watch is refused whenever it is asked for. None when all are.
    pub blind_since: Option<Timestamp>,
}

impl Context {
    /// For how long a kind has not been followed; none while all are.
    #[must_use]
    pub fn blind_for(&self) -> Option<SignedDuration> {
        self.blind_since.map(|since| self.now.duration_since(since))
    }
}

/// Fresh random bytes, from which any number of independent values are derived by label.
#[derive(Clone, Debug)]
pub struct Entropy(pub Sensitive);

impl Entropy {
    /// 32 bytes for one purpose: SHA-256 over seed, a zero byte and the label.
    #[must_use]
    pub fn derive(&self, label: &str) -> [u8; 32] {
        use sha2::Digest as _;
        let mut hasher = sha2::Sha256::new();
        hasher.update(self.0.expose());
        hasher.update([0]);
        hasher.update(label.as_bytes());
        hasher.finalize().into()
    }
}

/// The operator's settings, from its environment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// `RELATED_IMAGE_*`: variable to image.
    pub images: BTreeMap<String, String>,
    /// Whether the Kubernetes is an OpenShift, for specs that don't say.
    pub openshift: bool,
    /// The DNS domain of the Kubernetes, with its trailing dot.
    pub domain: String,
    /// Feature gates that are on.
    pub gates: BTreeSet<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            images: BTreeMap::new(),
            openshift: false,
            domain: "cluster.local.".to_owned(),
            gates: BTreeSet::new(),
        }
    }
}

impl Context {
    /// A number below `bound` that depends on entropy and label alone; for spreading things in time.
    #[must_use]
    pub fn below(&self, label: &str, bound: u64) -> u64 {
        digest(&self.entropy.derive(label)) % bound.max(1)
    }
}
