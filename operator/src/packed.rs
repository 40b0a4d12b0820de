//! Objects as they are kept: compact JSON, and what they have in common with others of their kind only once.
//! Objects of a thousand clusters differ in names and little else.

use std::sync::Arc;

use lz4_flex::block::{compress_with_dict, decompress_with_dict};

/// Shorter ones are kept as they are: their bookkeeping would weigh as much as what is saved.
const SMALL_BYTES: usize = 768;
/// So much of earlier objects is kept to describe later ones by. LZ4 looks back 64 KiB.
const PATTERN_MAX_BYTES: usize = 32 << 10;
/// An object that does not become smaller by this factor is new in kind.
const WORTH: usize = 4;

/// JSON that is kept.
pub(crate) enum Packed {
    /// As it is.
    Plain(Box<[u8]>),
    /// By its difference from a pattern.
    Pressed {
        /// The pattern.
        pattern: Arc<[u8]>,
        /// The length of the JSON, in bytes.
        length: usize,
        /// The difference.
        bytes: Box<[u8]>,
    },
}

impl Packed {
    /// The JSON; none if it is damaged.
    pub(crate) fn json(&self) -> Option<Vec<u8>> {
        match self {
            Packed::Plain(bytes) => Some(bytes.to_vec()),
            Packed::Pressed { pattern, length, bytes } => {
                decompress_with_dict(bytes, *length, pattern).ok()
            }
        }
    }
}

/// What the objects of one kind look like. It learns from the first ones.
#[derive(Default)]
pub(crate) struct Press {
    pattern: Option<Arc<[u8]>>,
}

impl Press {
    /// Packs JSON.
    pub(crate) fn pack(&mut self, json: &[u8]) -> Packed {
        if json.len() < SMALL_BYTES {
            return Packed::Plain(json.into());
        }
        let pattern = self.pattern.clone().unwrap_or_default();
        let (pattern, bytes) = match compress_with_dict(json, &pattern) {
            bytes if bytes.len() * WORTH > json.len() && pattern.len() < PATTERN_MAX_BYTES => {
                let pattern = self.learn(&pattern, json);
                let bytes = compress_with_dict(json, &pattern);
                (pattern, bytes)
            }
            bytes => (pattern, bytes),
        };
        // Copied, since the compressor reserves more than it uses.
        Packed::Pressed { pattern, length: json.len(), bytes: bytes.as_slice().into() }
    }

    fn learn(&mut self, before: &[u8], json: &[u8]) -> Arc<[u8]> {
        let room = PATTERN_MAX_BYTES - before.len();
        let pattern: Arc<[u8]> = [before, &json[..json.len().min(room)]].concat().into();
        self.pattern = Some(pattern.clone());
        pattern
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(name: &str, bytes: usize) -> Vec<u8> {
        let words = (0..bytes / 20).map(|n| format!("\"field{n}\":\"{}\",", n * n));
        format!("{{{}\"name\":\"{name}\"}}", words.collect::<String>()).into_bytes()
    }

    #[test]
    fn everything_comes_back_and_what_is_alike_takes_little() {
        let mut press = Press::default();
        for bytes in [0, 700, 1_000, 20_000, 100_000] {
            let mut taken = Vec::new();
            for name in ["a", "bb", "ccc"] {
                let json = json(name, bytes);
                let packed = press.pack(&json);
                assert_eq!(packed.json().as_ref(), Some(&json));
                taken.push((json.len(), packed));
            }
            let Some((length, Packed::Pressed { bytes, .. })) = taken.last() else { continue };
            assert!(*length > 30_000 || bytes.len() * 20 < *length, "{} of {length}", bytes.len());
        }
    }

    #[test]
    fn what_was_packed_before_the_pattern_grew_is_still_read() {
        let mut press = Press::default();
        let (one, other) = (json("one", 2_000), vec![b'x'; 3_000]);
        let packed = press.pack(&one);
        press.pack(&other);
        press.pack(&json("grown", 9_000));
        assert_eq!(packed.json(), Some(one));
    }

    #[test]
    fn damage_is_no_object() {
        let mut press = Press::default();
        let Packed::Pressed { pattern, bytes, .. } = press.pack(&json("a", 5_000)) else {
            panic!("large enough");
        };
        assert_eq!(Packed::Pressed { pattern, length: 10, bytes }.json(), None);
    }
}
