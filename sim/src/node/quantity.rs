//! Kubernetes quantities as whole thousandths, which is all that comparing requests with capacity needs.

use serde_json::Value;

/// A quantity in thousandths, rounded up: `250m` is 250, `1Gi` is 1,073,741,824,000. `None` when it is no quantity.
pub fn milli(text: &str) -> Option<i128> {
    let digits = text.find(|c: char| !(c.is_ascii_digit() || "+-.".contains(c)));
    let (number, suffix) = text.split_at(digits.unwrap_or(text.len()));
    let (numerator, denominator): (i128, i128) = match suffix {
        "" => (1_000, 1),
        "n" => (1, 1_000_000),
        "u" => (1, 1_000),
        "m" => (1, 1),
        "k" => (1_000_000, 1),
        "M" => (1_000_000_000, 1),
        "G" => (1_000_000_000_000, 1),
        "T" => (1_000_000_000_000_000, 1),
        "P" => (1_000_000_000_000_000_000, 1),
        "E" => (1_000_000_000_000_000_000_000, 1),
        "Ki" => (1_000 << 10, 1),
        "Mi" => (1_000 << 20, 1),
        "Gi" => (1_000 << 30, 1),
        "Ti" => (1_000 << 40, 1),
        "Pi" => (1_000 << 50, 1),
        "Ei" => (1_000 << 60, 1),
        exponent => {
            let tens: u32 = exponent.strip_prefix(['e', 'E'])?.parse().ok()?;
            (1_000 * 10_i128.checked_pow(tens.min(20))?, 1)
        }
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let all: i128 = format!("{whole}{fraction}").parse().ok()?;
    let scale = 10_i128.checked_pow(u32::try_from(fraction.len()).ok()?)? * denominator;
    let scaled = all.checked_mul(numerator)?;
    Some(scaled.div_euclid(scale) + i128::from(scaled.rem_euclid(scale) != 0))
}

/// A quantity as it stands in a manifest: text or a number; 0 when absent or unreadable.
pub fn milli_of(value: Option<&Value>) -> i128 {
    match value {
        Some(Value::String(text)) => milli(text).unwrap_or(0),
        Some(Value::Number(number)) => milli(&number.to_string()).unwrap_or(0),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suffixes_and_fractions() {
        for (text, expected) in [
            ("1", Some(1_000)),
            ("250m", Some(250)),
            ("0.1", Some(100)),
            ("1.5Gi", Some(1_610_612_736_000)),
            ("1e3", Some(1_000_000)),
            ("1G", Some(1_000_000_000_000)),
            ("100n", Some(1)),
            ("", None),
            ("1Q", None),
            ("Gi", None),
        ] {
            assert_eq!(milli(text), expected, "{text}");
        }
    }
}
