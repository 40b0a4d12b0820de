//! Hashes that names and revisions are made of. Not for security.

/// The 27 symbols that Kubernetes uses for random name parts: no vowels, nothing easily confused.
pub const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// FNV-1 over 64 bits, for digests of inputs inside one process and one version.
///
/// It is a `Hasher` with a fixed start, so that derived `Hash` can be used deterministically.
#[derive(Clone, Debug)]
pub struct Digest(u64);

impl Default for Digest {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl std::hash::Hasher for Digest {
    fn finish(&self) -> u64 {
        // FNV leaves the last byte's influence in the low bits only; one mixing step spreads it.
        let mut x = self.0;
        x ^= x >> 32;
        x = x.wrapping_mul(0xd6e8_feb8_6659_fd93);
        x ^ (x >> 32)
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}

/// The digest of anything that has a `Hash`.
pub fn digest(value: &(impl std::hash::Hash + ?Sized)) -> u64 {
    use std::hash::Hasher as _;
    let mut hasher = Digest::default();
    value.hash(&mut hasher);
    hasher.finish()
}

/// The short hash that the Go operator puts into names and annotations: FNV-1 of 32 bits over the
/// concatenated parts, in decimal, each digit mapped into [`ALPHABET`].
///
/// The vectors in the tests are those of `reference/reconcile.md` appendix C.
#[must_use]
pub fn safe_hash<'a>(parts: impl IntoIterator<Item = &'a str>) -> String {
    let mut hash: u32 = 2_166_136_261;
    for byte in parts.into_iter().flat_map(str::bytes) {
        hash = hash.wrapping_mul(16_777_619) ^ u32::from(byte);
    }
    hash.to_string()
        .bytes()
        .map(|b| char::from(ALPHABET[usize::from(b) % ALPHABET.len()]))
        .collect()
}

/// Four symbols of [`ALPHABET`] drawn from a digest: the last part of an instance's name.
#[must_use]
pub fn four_symbols(mut digest: u64) -> String {
    let mut text = String::with_capacity(4);
    for _ in 0..4 {
        text.push(char::from(ALPHABET[(digest % 27) as usize]));
        digest /= 27;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn safe_hash_agrees_with_the_go_operator() {
        for (parts, expected) in [
            (vec![], "65bb57b6b5"),
            (vec!["some stuff"], "574b4c7d87"),
            (vec!["my-bucket", "s3.ca-central-1.amazonaws.com", "ca-central-1"], "6ff9c68bb"),
            (vec!["6ff9c68bb"], "79bcb8c5cf"),
            (vec!["hippo", "repo1"], "589d7cbcb4"),
        ] {
            assert_eq!(safe_hash(parts.iter().copied()), expected, "{parts:?}");
        }
    }

    #[test]
    fn four_symbols_are_of_the_alphabet_and_differ() {
        let names: std::collections::BTreeSet<_> =
            (0..500u64).map(|n| four_symbols(digest(&("uid", "00", n)))).collect();
        assert!(names.len() > 490, "too many collisions: {}", names.len());
        assert!(names.iter().all(|n| n.len() == 4 && n.bytes().all(|b| ALPHABET.contains(&b))));
    }
}
