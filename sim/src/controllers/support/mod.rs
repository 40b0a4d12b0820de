//! What several controllers need to know about pods, selectors, templates and conditions.

pub mod conditions;
pub mod heartbeat;
pub mod pods;
pub mod selector;
pub mod workload;

use serde_json::{Map, Value};

/// An integer or a percentage of `total`, as in `maxSurge`; percentages are rounded up or down.
#[must_use]
pub fn int_or_percent(value: Option<&Value>, total: i64, round_up: bool) -> Option<i64> {
    let value = value?;
    if let Some(number) = value.as_i64() {
        return Some(number);
    }
    let percent: i64 = value.as_str()?.strip_suffix('%')?.parse().ok()?;
    let scaled = percent * total;
    Some(if round_up { (scaled + 99).div_euclid(100) } else { scaled.div_euclid(100) })
}

/// Sets a counter in a status; a zero is left out, as Go's `omitempty` does.
pub fn put_count(status: &mut Map<String, Value>, key: &str, count: i64) {
    if count == 0 {
        status.remove(key);
    } else {
        status.insert(key.into(), count.into());
    }
}

/// Whole seconds as text become a moment.
#[must_use]
pub fn moment(value: Option<&Value>) -> Option<crate::time::Time> {
    let stamp: jiff::Timestamp = value?.as_str()?.parse().ok()?;
    Some(stamp.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn percentages_are_rounded_as_asked() {
        for (value, total, up, expected) in [
            (json!(3), 10, true, Some(3)),
            (json!("25%"), 1, true, Some(1)),
            (json!("25%"), 1, false, Some(0)),
            (json!("50%"), 3, true, Some(2)),
            (json!("50%"), 3, false, Some(1)),
            (json!("x"), 3, false, None),
        ] {
            assert_eq!(int_or_percent(Some(&value), total, up), expected, "{value}");
        }
    }
}
