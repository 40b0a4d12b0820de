//! Where random bytes come from, which a simulated world replaces by draws that come again.

use std::sync::Arc;

type Fill = dyn Fn(&mut [u8]) -> anyhow::Result<()> + Send + Sync;

/// A source of random bytes.
#[derive(Clone)]
pub struct Chance(Arc<Fill>);

impl Chance {
    /// The randomness of this machine.
    #[must_use]
    pub fn system() -> Self {
        Self::new(|bytes| getrandom::fill(bytes).map_err(|error| anyhow::anyhow!("{error}")))
    }

    /// A source that fills with what `fill` gives.
    #[must_use]
    pub fn new(fill: impl Fn(&mut [u8]) -> anyhow::Result<()> + Send + Sync + 'static) -> Self {
        Self(Arc::new(fill))
    }

    /// Fills with secret bytes.
    ///
    /// # Errors
    /// If there are none to be had.
    pub fn fill(&self, bytes: &mut [u8]) -> anyhow::Result<()> {
        (self.0)(bytes)
    }

    /// For what needs no secrecy; without entropy it is no longer spread, and nothing worse.
    #[must_use]
    pub fn number(&self) -> u32 {
        let mut bytes = [0; 4];
        self.fill(&mut bytes).map_or(0, |()| u32::from_le_bytes(bytes))
    }

    /// A number between 0 and 1, by which those who met each other are spread.
    #[must_use]
    pub fn share(&self) -> f64 {
        f64::from(self.number()) / f64::from(u32::MAX)
    }
}
