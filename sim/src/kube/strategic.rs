//! Strategic merge patches: JSON merge patches that know the merge keys of lists, and the directives
//! `$patch`, `$retainKeys`, `$deleteFromPrimitiveList/…` and `$setElementOrder/…`.

use ivory_core::ssa::schema::{Arena, Patch, Type, TypeId};
use serde_json::{Map, Value};

/// Patches a map of a type in place. The error says what is wrong with the patch.
pub(crate) fn patch_map(
    arena: &Arena,
    ty: TypeId,
    mut out: Map<String, Value>,
    patch: &Map<String, Value>,
) -> Result<Map<String, Value>, String> {
    match patch.get("$patch").and_then(Value::as_str) {
        Some("replace") => {
            let mut out = patch.clone();
            out.remove("$patch");
            return Ok(out);
        }
        Some("delete") => return Ok(Map::new()),
        Some("merge") | None => {}
        Some(other) => return Err(format!("Unknown patch type found: {other}")),
    }
    if let Some(Value::Array(keep)) = patch.get("$retainKeys") {
        out.retain(|key, _| keep.iter().any(|k| k.as_str() == Some(key)));
    }
    for (key, list) in patch {
        if let Some(field) = key.strip_prefix("$deleteFromPrimitiveList/")
            && let (Some(gone), Some(Value::Array(have))) = (list.as_array(), out.get_mut(field))
        {
            have.retain(|v| !gone.contains(v));
        }
    }
    for (key, order) in patch {
        if let Some(field) = key.strip_prefix("$setElementOrder/")
            && !patch.contains_key(field)
            && let (Some(order), Some(Value::Array(have))) = (order.as_array(), out.get_mut(field))
        {
            let by = strategy(arena, ty, field).merge.unwrap_or_default();
            *have = in_order(have, order, have, &by);
        }
    }
    for (key, value) in patch {
        if key.starts_with('$') {
            continue;
        }
        if value.is_null() {
            out.remove(key);
            continue;
        }
        let below = arena.declared(ty, key);
        let merged = match (out.remove(key), value, below) {
            (Some(Value::Object(have)), Value::Object(change), Some(below)) => {
                Value::Object(patch_map(arena, below, have, change)?)
            }
            (None, Value::Object(change), Some(below)) => {
                Value::Object(patch_map(arena, below, Map::new(), change)?)
            }
            (have, Value::Array(change), Some(below)) => {
                let strategy = strategy(arena, ty, key);
                let have = have.as_ref().and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
                match (&strategy.merge, arena.get(below)) {
                    (Some(by), Type::List { item, .. }) => {
                        let order = patch.get(&format!("$setElementOrder/{key}"));
                        let order = order.and_then(Value::as_array);
                        Value::Array(patch_list(arena, *item, by, have, change, order)?)
                    }
                    _ => Value::Array(change.clone()),
                }
            }
            (_, value, _) => value.clone(),
        };
        out.insert(key.clone(), merged);
    }
    Ok(out)
}

fn strategy(arena: &Arena, ty: TypeId, key: &str) -> Patch {
    match arena.get(ty) {
        Type::Struct(s) => s.fields.get(key).map(|f| f.patch.clone()).unwrap_or_default(),
        _ => Patch::default(),
    }
}

fn patch_list(
    arena: &Arena,
    item: TypeId,
    by: &str,
    have: &[Value],
    change: &[Value],
    order: Option<&Vec<Value>>,
) -> Result<Vec<Value>, String> {
    let replaces = |v: &Value| v.get("$patch").and_then(Value::as_str) == Some("replace");
    if change.iter().any(replaces) {
        return Ok(change.iter().filter(|v| !replaces(v)).cloned().collect());
    }
    let mut out = have.to_vec();
    for value in change {
        if by.is_empty() {
            if !out.contains(value) {
                out.push(value.clone());
            }
            continue;
        }
        let Some(map) = value.as_object() else {
            return Err("expected list of maps".into());
        };
        let key = map.get(by).ok_or_else(|| {
            let entries: Vec<_> = map.iter().map(|(k, v)| format!("{k}:{}", go(v))).collect();
            let map = entries.join(" ");
            format!("map: map[{map}] does not contain declared merge key: {by}")
        })?;
        let at = out.iter().position(|v| v.get(by) == Some(key));
        if map.get("$patch").and_then(Value::as_str) == Some("delete") {
            out.retain(|v| v.get(by) != Some(key));
            continue;
        }
        let before =
            at.and_then(|at| out[at].as_object_mut()).map(std::mem::take).unwrap_or_default();
        let merged = Value::Object(patch_map(arena, item, before, map)?);
        match at {
            Some(at) => out[at] = merged,
            None => out.push(merged),
        }
    }
    Ok(in_order(&out, order.map_or(change, Vec::as_slice), have, by))
}

/// A value as Go prints it.
fn go(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn place(list: &[Value], item: &Value, by: &str) -> Option<usize> {
    list.iter().position(|other| match by {
        "" => other == item,
        by => other.get(by).is_some() && other.get(by) == item.get(by),
    })
}

/// Items that the patch names come in its order; the others keep theirs, and go before a named one only
/// if they were before it.
fn in_order(merged: &[Value], patch: &[Value], before: &[Value], by: &str) -> Vec<Value> {
    let (mut named, mut rest): (Vec<_>, Vec<_>) =
        merged.iter().partition(|item| place(patch, item, by).is_some());
    named.sort_by_key(|item| place(patch, item, by));
    rest.sort_by_key(|item| place(before, item, by));
    let (mut named, mut rest) = (named.into_iter().peekable(), rest.into_iter().peekable());
    let mut out = Vec::with_capacity(merged.len());
    loop {
        let take_rest = match (rest.peek(), named.peek()) {
            (Some(r), Some(n)) => match (place(before, r, by), place(before, n, by)) {
                (Some(r), Some(n)) => r < n,
                _ => false,
            },
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (None, None) => return out,
        };
        out.extend(if take_rest { rest.next() } else { named.next() }.cloned());
    }
}
