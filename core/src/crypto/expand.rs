//! Turns 32 bytes of entropy into as many as are needed: SHA-256 in counter mode.

use sha2::{Digest as _, Sha256};

/// An endless stream of bytes that depends on seed and label alone. Block `n` is
/// SHA-256(seed, label, `n` as eight big-endian bytes).
pub(super) struct Stream {
    prefix: Sha256,
    counter: u64,
    block: [u8; 32],
    used: usize,
}

impl Stream {
    pub(super) fn new(seed: &[u8; 32], label: &str) -> Self {
        let mut prefix = Sha256::new();
        prefix.update(seed);
        prefix.update(label.as_bytes());
        Self { prefix, counter: 0, block: [0; 32], used: 32 }
    }

    pub(super) fn byte(&mut self) -> u8 {
        if self.used == self.block.len() {
            let mut hasher = self.prefix.clone();
            hasher.update(self.counter.to_be_bytes());
            self.block = hasher.finalize().into();
            self.counter += 1;
            self.used = 0;
        }
        self.used += 1;
        self.block[self.used - 1]
    }

    pub(super) fn array<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.byte())
    }

    /// A number below `bound`, every one equally likely: bytes at or above the largest multiple of
    /// `bound` are thrown away, because a remainder of them would favour small numbers.
    pub(super) fn below(&mut self, bound: u8) -> u8 {
        let limit = 256 - 256 % u16::from(bound);
        loop {
            let byte = self.byte();
            if u16::from(byte) < limit {
                return byte % bound;
            }
        }
    }
}
