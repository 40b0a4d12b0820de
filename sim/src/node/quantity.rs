//! Quantities of manifests as whole thousandths, which is all that comparing requests with capacity needs.

use ivory_core::quantity::Quantity;
use serde_json::Value;

/// A quantity as it stands in a manifest, in thousandths rounded up; 0 when absent or unreadable.
pub fn milli_of(value: Option<&Value>) -> i128 {
    let read = |text: &str| text.parse::<Quantity>().map_or(0, Quantity::milli_value);
    i128::from(match value {
        Some(Value::String(text)) => read(text),
        Some(Value::Number(number)) => read(&number.to_string()),
        _ => 0,
    })
}
