//! The last look at a page before it is handed out: whatever a Secret holds is taken out of it, wherever it came
//! from. Objects never bring such values; a story's own words may.

use std::collections::BTreeSet;

use base64::Engine as _;
use ivory_core::Kind;
use serde_json::Value;

use super::Recording;

/// Shorter values are words that stand everywhere.
const SHORT: usize = 8;
/// What stands in their place.
const HIDDEN: &str = "(hidden)";
/// Keys of what a client must know and everybody may.
pub(super) const PUBLIC: [&str; 6] =
    ["host", "port", "dbname", "user", "pgbouncer-host", "pgbouncer-port"];

/// A text without the values of these runs' Secrets.
pub(super) fn hide(mut text: String, recordings: &[&Recording]) -> String {
    let mut values = BTreeSet::new();
    let shots = recordings.iter().flat_map(|recording| &recording.film.shots);
    for shot in shots.filter(|shot| shot.object.kind == Kind::Secret) {
        let data = shot.object.at(&["data"]).and_then(Value::as_object);
        for (key, value) in data.into_iter().flatten() {
            let Some(value) = value.as_str().filter(|_| !PUBLIC.contains(&key.as_str())) else {
                continue;
            };
            let plain = base64::engine::general_purpose::STANDARD.decode(value).unwrap_or_default();
            // What has several lines can't stand in a line of a page.
            if let Some(plain) = String::from_utf8(plain).ok().filter(|p| !p.trim().contains('\n'))
            {
                values.insert(plain.trim().to_owned());
            }
            values.insert(value.to_owned());
        }
    }
    // The longer ones first: they may hold shorter ones.
    let mut values: Vec<String> = values.into_iter().filter(|v| v.len() > SHORT).collect();
    values.sort_by_key(|value| std::cmp::Reverse(value.len()));
    for value in values {
        if text.contains(&value) {
            text = text.replace(&value, HIDDEN);
        }
    }
    text
}
