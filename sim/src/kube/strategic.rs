//! Strategic merge patches: JSON merge patches that know the merge keys of lists, and the directives
//! `$patch`, `$retainKeys`, `$deleteFromPrimitiveList/…` and `$setElementOrder/…`.

use ivory_core::ssa::schema::{Arena, Patch, Type, TypeId};
use serde_json::{Map, Value};

/// Patches a map of a type. The error says what is wrong with the patch.
pub(crate) fn patch_map(
    arena: &Arena,
    ty: TypeId,
    original: &Map<String, Value>,
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
    let mut out = original.clone();
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
    for (key, value) in patch {
        if key.starts_with('$') {
            continue;
        }
        if value.is_null() {
            out.remove(key);
            continue;
        }
        let below = arena.declared(ty, key);
        let merged = match (out.get(key), value, below) {
            (Some(Value::Object(have)), Value::Object(change), Some(below)) => {
                Value::Object(patch_map(arena, below, have, change)?)
            }
            (None, Value::Object(change), Some(below)) => {
                Value::Object(patch_map(arena, below, &Map::new(), change)?)
            }
            (have, Value::Array(change), Some(below)) => {
                let strategy = strategy(arena, ty, key);
                let have = have
                    .and_then(Value::as_array)
                    .map_or(&[][..], Vec::as_slice);
                match (&strategy.merge, arena.get(below)) {
                    (Some(by), Type::List { item, .. }) => {
                        Value::Array(patch_list(arena, *item, by, have, change)?)
                    }
                    _ => Value::Array(change.clone()),
                }
            }
            (_, value, _) => value.clone(),
        };
        out.insert(key.clone(), merged);
    }
    for (key, order) in patch {
        if let Some(field) = key.strip_prefix("$setElementOrder/")
            && let (Some(order), Some(Value::Array(have))) = (order.as_array(), out.get_mut(field))
        {
            let by = strategy(arena, ty, field).merge.unwrap_or_default();
            sort_like(have, order, &by);
        }
    }
    Ok(out)
}

fn strategy(arena: &Arena, ty: TypeId, key: &str) -> Patch {
    match arena.get(ty) {
        Type::Struct(s) => s
            .fields
            .get(key)
            .map(|f| f.patch.clone())
            .unwrap_or_default(),
        _ => Patch::default(),
    }
}

fn patch_list(
    arena: &Arena,
    item: TypeId,
    by: &str,
    have: &[Value],
    change: &[Value],
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
        let key = map
            .get(by)
            .ok_or_else(|| format!("map: {value} does not contain declared merge key: {by}"))?;
        let at = out.iter().position(|v| v.get(by) == Some(key));
        if map.get("$patch").and_then(Value::as_str) == Some("delete") {
            out.retain(|v| v.get(by) != Some(key));
            continue;
        }
        let none = Map::new();
        let before = at.and_then(|at| out[at].as_object()).unwrap_or(&none);
        let merged = Value::Object(patch_map(arena, item, before, map)?);
        match at {
            Some(at) => out[at] = merged,
            None => out.push(merged),
        }
    }
    Ok(out)
}

/// Puts the items named in `order` into that order; the others keep their places after their neighbours.
fn sort_like(list: &mut [Value], order: &[Value], by: &str) {
    let rank = |v: &Value| {
        let found = order.iter().position(|o| {
            if by.is_empty() {
                o == v
            } else {
                o.get(by).is_some() && o.get(by) == v.get(by)
            }
        });
        found
    };
    let mut last = 0;
    let mut ranked: Vec<(usize, usize, Value)> = list
        .iter()
        .enumerate()
        .map(|(at, v)| {
            last = rank(v).unwrap_or(last);
            (last, at, v.clone())
        })
        .collect();
    ranked.sort_by_key(|(rank, at, _)| (*rank, *at));
    for (slot, (_, _, value)) in list.iter_mut().zip(ranked) {
        *slot = value;
    }
}
