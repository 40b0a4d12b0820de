//! Random numbers: one stream per label, all grown from one seed, so that one more draw somewhere
//! shifts nothing elsewhere.

use std::collections::BTreeMap;
use std::sync::Arc;

use ivory_core::hash::digest;
use rand::rngs::Xoshiro256PlusPlus;
use rand::{Rng, SeedableRng};

/// The streams of one world.
#[derive(Clone, Debug)]
pub struct Streams {
    seed: u64,
    streams: Arc<BTreeMap<String, Stream>>,
}

/// One stream.
#[derive(Clone, Debug)]
pub struct Stream(Xoshiro256PlusPlus);

impl Streams {
    /// All streams of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { seed, streams: Arc::default() }
    }

    /// The seed.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The stream of a label; it goes on where it stopped.
    pub fn stream(&mut self, label: &str) -> &mut Stream {
        let streams = Arc::make_mut(&mut self.streams);
        if !streams.contains_key(label) {
            streams.insert(label.to_owned(), Stream::new(self.seed, label));
        }
        streams.get_mut(label).expect("inserted above")
    }
}

impl Stream {
    /// The stream of a seed and a label, from its beginning.
    #[must_use]
    pub fn new(seed: u64, label: &str) -> Self {
        Self(Xoshiro256PlusPlus::seed_from_u64(digest(&(seed, label))))
    }

    /// 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number below `bound` (0 when `bound` is 0).
    pub fn below(&mut self, bound: u64) -> u64 {
        // Multiply-shift; its bias is below 2^-32 for every bound used here.
        ((u128::from(self.0.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// 32 random bytes.
    pub fn bytes(&mut self) -> [u8; 32] {
        let mut bytes = [0; 32];
        self.0.fill_bytes(&mut bytes);
        bytes
    }

    /// 128 random bits.
    pub fn u128(&mut self) -> u128 {
        (u128::from(self.next_u64()) << 64) | u128::from(self.next_u64())
    }

    /// A random UUID (version 4) as text.
    pub fn uuid(&mut self) -> String {
        let (a, b) = (self.next_u64(), self.next_u64());
        format!(
            "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
            a >> 32,
            (a >> 16) & 0xffff,
            a & 0xfff,
            0x8000 | (b >> 48 & 0x3fff),
            b & 0xffff_ffff_ffff
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draw_in_one_stream_shifts_no_other() {
        let (mut one, mut two) = (Streams::new(7), Streams::new(7));
        one.stream("a").next_u64();
        assert_eq!(one.stream("b").next_u64(), two.stream("b").next_u64());
        assert_ne!(one.stream("a").next_u64(), two.stream("a").next_u64());
        assert_ne!(Streams::new(8).stream("b").next_u64(), Streams::new(7).stream("b").next_u64());
    }
}
