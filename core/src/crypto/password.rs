//! Generated passwords.

use super::expand::Stream;
use crate::sensitive::Sensitive;

/// How many characters a generated user password has.
pub const USER_LENGTH: usize = 24;
/// How many characters the passwords of PgBouncer and the exporter have.
pub const SERVICE_LENGTH: usize = 32;

/// Which characters a generated password may have (`spec.users[].password.type`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Alphabet {
    /// Letters, digits and those printable symbols that need no quoting in most shells and files.
    #[default]
    Ascii,
    /// Letters and digits.
    AlphaNumeric,
}

impl Alphabet {
    /// The characters, each once.
    #[must_use]
    pub const fn characters(self) -> &'static [u8] {
        const ALL: &[u8] =
            b"()*+,-./:;<=>?@[]^_{|}ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
        match self {
            Self::Ascii => ALL,
            Self::AlphaNumeric => ALL.split_at(ALL.len() - 62).1,
        }
    }
}

/// A password of `length` characters, each drawn uniformly from the alphabet.
#[must_use]
pub fn generate(seed: &[u8; 32], alphabet: Alphabet, length: usize) -> Sensitive {
    let characters = alphabet.characters();
    // Both alphabets have fewer than 256 characters.
    let bound = u8::try_from(characters.len()).unwrap_or(u8::MAX);
    let mut stream = Stream::new(seed, "password");
    let bytes: Vec<u8> =
        (0..length).map(|_| characters[usize::from(stream.below(bound))]).collect();
    Sensitive::new(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn alphabets_are_those_of_the_api() {
        assert_eq!(Alphabet::Ascii.characters().len(), 22 + 62);
        let alnum = Alphabet::AlphaNumeric.characters();
        assert_eq!(alnum.len(), 62);
        assert!(alnum.iter().all(u8::is_ascii_alphanumeric));
    }

    #[test]
    fn every_character_is_equally_likely() {
        for alphabet in [Alphabet::Ascii, Alphabet::AlphaNumeric] {
            let draws = 200_000;
            let text = generate(&[7; 32], alphabet, draws);
            let mut counts = BTreeMap::new();
            for byte in text.expose() {
                *counts.entry(*byte).or_insert(0u32) += 1;
            }
            let characters = alphabet.characters().len();
            assert_eq!(counts.len(), characters);
            // Six standard deviations around the mean; the bias of a plain remainder is far outside.
            let mean = draws as f64 / characters as f64;
            for (byte, count) in counts {
                let off = (f64::from(count) - mean).abs();
                assert!(off < 6.0 * mean.sqrt(), "{} {count}", char::from(byte));
            }
        }
    }

    #[test]
    fn the_seed_decides() {
        let make = |n| generate(&[n; 32], Alphabet::Ascii, USER_LENGTH);
        assert_eq!(make(1).expose().len(), 24);
        assert!(make(1) == make(1) && make(1) != make(2));
    }
}
