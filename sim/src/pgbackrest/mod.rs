//! pgBackRest as a model: stanzas, archives, backups.

/// A request to a pgBackRest process.
#[derive(Clone, Debug)]
pub enum BackrestRequest {}
/// An answer.
#[derive(Clone, Debug)]
pub enum BackrestReply {}

/// A repository on a volume.
#[derive(Clone, Debug, Default)]
pub struct Repository {}

impl Repository {
    /// Feeds what decides the future into a fingerprint.
    pub fn fingerprint(&self, _hash: &mut dyn std::hash::Hasher) {}
}
