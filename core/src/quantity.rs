//! Kubernetes quantities (`resource.Quantity`): parsing, the canonical spelling, comparing, adding.
//! Checked against a real API server with the vectors of the tests. The server keeps a few odd spellings
//! as they came (`+1`, `5.`, amounts of more than 18 digits); here they become canonical too.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

/// An amount of something, exact to a billionth, with the family of suffixes it was written in.
#[derive(Clone, Copy, Debug)]
pub struct Quantity {
    nanos: i128,
    format: Format,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Format {
    /// `k`, `M`, `G`: powers of 1000.
    Decimal,
    /// `Ki`, `Mi`, `Gi`: powers of 1024.
    Binary,
    /// `e3`, `e6`.
    Exponent,
}

/// The text is no quantity. The messages are the API server's.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum InvalidQuantity {
    /// It does not even look like one.
    #[error(
        "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
    )]
    Syntax,
    /// A number with a suffix that does not exist.
    #[error("unable to parse quantity's suffix")]
    Suffix,
}

const NANO: i128 = 1_000_000_000;
/// What Kubernetes caps larger amounts at.
const MAX: i128 = (i64::MAX as i128) * NANO;
const DECIMAL: [(&str, i32); 10] = [
    ("n", -9),
    ("u", -6),
    ("m", -3),
    ("", 0),
    ("k", 3),
    ("M", 6),
    ("G", 9),
    ("T", 12),
    ("P", 15),
    ("E", 18),
];
const BINARY: [&str; 6] = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];

impl Quantity {
    /// Nothing.
    pub const ZERO: Self = Self { nanos: 0, format: Format::Decimal };

    /// A whole number of bytes, spelled with `Ki`, `Mi`, ….
    #[must_use]
    pub fn bytes(bytes: i64) -> Self {
        Self { nanos: i128::from(bytes) * NANO, format: Format::Binary }
    }

    /// The amount in whole units, rounded up (away from zero).
    #[must_use]
    pub fn value(self) -> i64 {
        let up = if self.nanos >= 0 { NANO - 1 } else { 1 - NANO };
        i64::try_from((self.nanos + up) / NANO).unwrap_or(i64::MAX)
    }

    /// The amount in thousandths, rounded up (away from zero).
    #[must_use]
    pub fn milli_value(self) -> i64 {
        let step = NANO / 1000;
        let up = if self.nanos >= 0 { step - 1 } else { 1 - step };
        i64::try_from((self.nanos + up) / step).unwrap_or(i64::MAX)
    }

    fn of_nanos(nanos: i128, format: Format) -> Self {
        Self { nanos: nanos.clamp(-MAX, MAX), format }
    }
}

impl std::ops::Add for Quantity {
    type Output = Self;
    /// The sum in the spelling of the left side, or of the right one when the left is zero.
    fn add(self, other: Self) -> Self {
        let format = if self.nanos == 0 { other.format } else { self.format };
        Self::of_nanos(self.nanos + other.nanos, format)
    }
}

impl std::ops::Sub for Quantity {
    type Output = Self;
    /// The difference in the spelling of the left side, or of the right one when the left is zero.
    fn sub(self, other: Self) -> Self {
        let format = if self.nanos == 0 { other.format } else { self.format };
        Self::of_nanos(self.nanos - other.nanos, format)
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nanos == other.nanos
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

impl FromStr for Quantity {
    type Err = InvalidQuantity;

    fn from_str(text: &str) -> Result<Self, InvalidQuantity> {
        let (negative, rest) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, suffix) = rest.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        // A sign or a suffix without digits is zero to Kubernetes.
        if fraction.contains('.') || text.is_empty() {
            return Err(InvalidQuantity::Syntax);
        }
        let (format, base, power) = parse_suffix(suffix)?;
        // Digits far beyond any amount are cut; they could only overflow or vanish. An amount in billionths has up to 28.
        let mut digits: i128 = 0;
        let mut scale: i32 = 0;
        let mut dropped = false;
        for (at, digit) in whole.bytes().chain(fraction.bytes()).enumerate() {
            let in_fraction = at >= whole.len();
            let room = if in_fraction { 10_000_000_000_000_000_000 } else { 100 };
            if digits > i128::MAX / room {
                dropped |= digit != b'0';
                scale += i32::from(!in_fraction);
                continue;
            }
            digits = digits * 10 + i128::from(digit - b'0');
            scale -= i32::from(in_fraction);
        }
        let mut nanos = digits;
        let mut exponent = scale + 9;
        let mut up = dropped;
        if base == 2 {
            for _ in 0..power {
                nanos = nanos.saturating_mul(2);
            }
        } else {
            exponent += power;
        }
        while exponent > 0 && nanos != 0 && nanos < i128::MAX / 10 {
            nanos *= 10;
            exponent -= 1;
        }
        while exponent < 0 && nanos != 0 {
            up |= nanos % 10 != 0;
            nanos /= 10;
            exponent += 1;
        }
        // What is finer than a billionth is rounded away from zero.
        nanos = nanos.saturating_add(i128::from(up));
        Ok(Self::of_nanos(if negative { -nanos } else { nanos }, format))
    }
}

fn parse_suffix(suffix: &str) -> Result<(Format, u32, i32), InvalidQuantity> {
    if let Some((_, power)) = DECIMAL.iter().find(|(s, _)| *s == suffix) {
        return Ok((Format::Decimal, 10, *power));
    }
    if let Some(at) = BINARY.iter().position(|s| *s == suffix) {
        let power = i32::try_from(at + 1).unwrap_or(0) * 10;
        return Ok((Format::Binary, 2, power));
    }
    let exponent = suffix
        .strip_prefix(['e', 'E'])
        .and_then(|digits| digits.parse::<i16>().ok())
        .ok_or_else(|| {
            let like = |c: char| "eEinumkKMGTP+-".contains(c) || c.is_ascii_digit();
            if suffix.chars().all(like) { InvalidQuantity::Suffix } else { InvalidQuantity::Syntax }
        })?;
    Ok((Format::Exponent, 10, i32::from(exponent)))
}

impl fmt::Display for Quantity {
    /// The canonical spelling: no fraction, the largest suffix that keeps the amount whole.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nanos == 0 {
            return f.write_str("0");
        }
        let small = self.nanos.abs() < 1024 * NANO;
        if self.format == Format::Binary && !small && self.nanos % NANO == 0 {
            let mut units = self.nanos / NANO;
            let mut steps = 0;
            while units % 1024 == 0 && steps < BINARY.len() {
                units /= 1024;
                steps += 1;
            }
            let suffix = steps.checked_sub(1).map_or("", |at| BINARY[at]);
            return write!(f, "{units}{suffix}");
        }
        let mut number = self.nanos;
        let mut power = -9;
        while number % 1000 == 0 && power < 18 {
            number /= 1000;
            power += 3;
        }
        if self.format == Format::Exponent {
            return match power {
                0 => write!(f, "{number}"),
                power => write!(f, "{number}e{power}"),
            };
        }
        let suffix = DECIMAL.iter().find(|(_, p)| *p == power).map_or("", |s| s.0);
        write!(f, "{number}{suffix}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_canonical_spelling_is_the_api_servers() {
        // Each pair was read back from a real API server (1.34) after a dry-run create.
        for (text, canonical) in VECTORS {
            let quantity: Quantity = text.parse().expect(text);
            assert_eq!(&quantity.to_string(), canonical, "{text}");
        }
    }

    const VECTORS: &[(&str, &str)] = &[
        ("1000m", "1"),
        ("1024Mi", "1Gi"),
        ("0.5", "500m"),
        ("0.5Gi", "512Mi"),
        ("1.5Gi", "1536Mi"),
        ("0.3Gi", "322122547200m"),
        ("100", "100"),
        ("1000", "1k"),
        ("1500", "1500"),
        ("1e3", "1e3"),
        ("12e6", "12e6"),
        ("1500e3", "1500e3"),
        ("1E", "1E"),
        ("1000Ki", "1000Ki"),
        ("1000000", "1M"),
        ("512Ki", "512Ki"),
        ("0.1n", "1n"),
        ("1.0", "1"),
        (".5", "500m"),
        ("1023", "1023"),
        ("1Ki", "1Ki"),
        ("0.5Ki", "512"),
        ("1e-3", "1e-3"),
        ("100u", "100u"),
        ("9223372036854775807", "9223372036854775807"),
        ("0Gi", "0"),
        ("2048", "2048"),
        ("-", "0"),
        ("Gi", "0"),
    ];

    #[test]
    fn nonsense_is_refused() {
        use InvalidQuantity::{Suffix, Syntax};
        for (text, why) in [
            ("", Syntax),
            ("1.2.3", Syntax),
            ("1 Gi", Syntax),
            ("1gi", Syntax),
            ("1K", Suffix),
            ("1e", Suffix),
            ("0x1", Syntax),
            ("1GiB", Syntax),
        ] {
            assert_eq!(text.parse::<Quantity>(), Err(why), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn the_canonical_spelling_means_the_same(
            number in -1_000_000i64..1_000_000,
            fraction in 0u32..1000,
            suffix in proptest::sample::select(vec!["", "m", "k", "M", "G", "Ki", "Mi", "Gi", "e3", "u"]),
        ) {
            let quantity: Quantity = format!("{number}.{fraction:03}{suffix}").parse().expect("valid");
            let spelled = quantity.to_string();
            let again: Quantity = spelled.parse().expect("valid");
            prop_assert_eq!(again, quantity);
            prop_assert_eq!(again.to_string(), spelled);
        }

        #[test]
        fn what_is_spelled_in_billionths_is_read_again(nanos in 1i128..MAX) {
            let quantity = Quantity::of_nanos(nanos, Format::Binary);
            prop_assert_eq!(quantity.to_string().parse::<Quantity>(), Ok(quantity), "{}", quantity);
        }

        #[test]
        fn any_text_is_survived(text in "[+-]?[0-9.]{0,40}([eE][+-]?[0-9]{0,12}|[numkMGTPE]i?|\\PC{0,3})") {
            if let Ok(quantity) = text.parse::<Quantity>() {
                let spelled = quantity.to_string();
                prop_assert_eq!(spelled.parse::<Quantity>(), Ok(quantity), "{}", spelled);
            }
        }

        #[test]
        fn adding_and_subtracting_undo_each_other(a in -1_000_000i64..1_000_000, b in -1_000_000i64..1_000_000) {
            let (a, b) = (Quantity::bytes(a), Quantity::bytes(b));
            prop_assert_eq!(a + b - b, a);
            prop_assert_eq!((a + b).cmp(&a), b.cmp(&Quantity::ZERO));
        }
    }
}
