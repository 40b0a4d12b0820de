//! The canonical form of built-in kinds: what Kubernetes' Go types make of a JSON value when they read
//! and write it again. Unknown fields vanish, quantities are rewritten, optional zero values are left
//! out and mandatory ones written. Defaults are not set here.

use serde_json::{Map, Value};

use super::schema::{Arena, Field, Scalar, Schema, Type, TypeId};
use crate::quantity::Quantity;

/// What was wrong with a value, or was left out of it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Findings {
    /// Fields that the type does not have, for example `spec.foo`.
    pub unknown: Vec<String>,
    /// Values of a wrong type, in the words of Go's JSON decoder.
    pub wrong: Vec<String>,
}

/// Brings a [`view`](super::view) of a built-in kind into its canonical form. Metadata stays as it is.
/// Values of a wrong type are dropped and reported.
#[must_use]
pub fn normalise(schema: &Schema, mut value: Value, findings: &mut Findings) -> Value {
    let arena = schema.arena();
    if !matches!(arena.get(schema.root()), Type::Struct(_)) {
        return value;
    }
    let metadata = value.as_object_mut().and_then(|map| map.remove("metadata"));
    let mut walk = Walk { arena, findings };
    let mut out = walk.value(schema.root(), value, None).unwrap_or_default();
    if let (Some(map), Some(metadata)) = (out.as_object_mut(), metadata) {
        map.insert("metadata".into(), metadata);
    }
    out
}

struct Walk<'a> {
    arena: &'a Arena,
    findings: &'a mut Findings,
}

/// Where a walk is, as a step from where it came from: hardly any place is ever named, so that none is written out
/// on the way. The root is none.
#[derive(Clone, Copy)]
struct Place<'a> {
    above: Option<&'a Place<'a>>,
    step: Step<'a>,
}

#[derive(Clone, Copy)]
enum Step<'a> {
    Field(&'a str),
    Key(&'a str),
    Item(usize),
}

impl Place<'_> {
    /// The steps from the root, as texts.
    fn path(place: Option<&Place<'_>>) -> Vec<String> {
        let Some(place) = place else { return Vec::new() };
        let mut path = Place::path(place.above);
        path.push(match place.step {
            Step::Field(name) => name.to_owned(),
            Step::Key(key) => format!("[{key}]"),
            Step::Item(at) => format!("[{at}]"),
        });
        path
    }
}

impl Walk<'_> {
    /// The canonical value; `None` when it has a wrong type.
    fn value(&mut self, id: TypeId, value: Value, here: Option<&Place<'_>>) -> Option<Value> {
        let arena = self.arena;
        match (arena.get(id), value) {
            (Type::Any, value) => Some(value),
            (Type::Struct(of), Value::Object(mut map)) => {
                map.retain(|key, below| {
                    let Some(field) = of.fields.get(&**key) else {
                        self.unknown(key, here);
                        return false;
                    };
                    let place = Place { above: here, step: Step::Field(key) };
                    kept(below, |below| self.field(&of.name, field, below, &place))
                });
                for (key, field) in &of.fields {
                    if self.stands(field)
                        && !map.contains_key(&**key)
                        && !(here.is_none() && **key == *"metadata")
                        && let Some(zero) = self.absent(field)
                    {
                        map.insert(key.to_string(), zero);
                    }
                }
                Some(Value::Object(map))
            }
            (Type::Map { value: item, .. }, Value::Object(mut map)) => {
                map.retain(|key, below| {
                    let place = Place { above: here, step: Step::Key(key) };
                    kept(below, |below| self.value(*item, below, Some(&place)))
                });
                Some(Value::Object(map))
            }
            (Type::List { item, .. }, Value::Array(mut list)) => {
                let mut at = 0;
                list.retain_mut(|below| {
                    let place = Place { above: here, step: Step::Item(at) };
                    at += 1;
                    kept(below, |below| match below {
                        Value::Null => self.zero(*item),
                        below => self.value(*item, below, Some(&place)),
                    })
                });
                Some(Value::Array(list))
            }
            (Type::Scalar(scalar), value) => {
                let out = canonical(*scalar, value);
                out.map_err(|value| match unreadable(*scalar, &value) {
                    Some(why) => self.findings.wrong.push(why),
                    None => self.wrong(id, &value, here),
                })
                .ok()
            }
            (_, Value::Null) => self.zero(id),
            (_, value) => {
                self.wrong(id, &value, here);
                None
            }
        }
    }

    fn unknown(&mut self, key: &str, here: Option<&Place<'_>>) {
        // The caller's walk over apiVersion and kind is its own.
        if here.is_none() && matches!(key, "apiVersion" | "kind") {
            return;
        }
        let mut path = Place::path(here).join(".");
        if !path.is_empty() && !key.starts_with('[') {
            path.push('.');
        }
        self.findings.unknown.push(format!("{path}{key}").replace(".[", "["));
    }

    fn field(
        &mut self,
        owner: &str,
        field: &Field,
        value: Value,
        here: &Place<'_>,
    ) -> Option<Value> {
        if value.is_null() {
            return None;
        }
        let before = self.findings.wrong.len();
        let out = self.value(field.ty, value, Some(here));
        if let Some(text) = self.findings.wrong.get_mut(before)
            && let Some(rest) = text.strip_prefix("@")
        {
            *text = format!(
                "json: cannot unmarshal {}",
                rest.replace('@', &format!("Go struct field {owner}."))
            );
        }
        let out = out?;
        if field.pointer || field.always {
            return Some(out);
        }
        let zero = match (&out, self.arena.get(field.ty)) {
            (Value::Bool(b), _) => !b,
            (Value::Number(n), Type::Scalar(Scalar::Int | Scalar::Number)) => {
                n.as_f64() == Some(0.0)
            }
            (Value::String(s), Type::Scalar(Scalar::Text | Scalar::Bytes)) => s.is_empty(),
            (Value::Array(list), _) => list.is_empty(),
            (Value::Object(map), Type::Map { .. }) => map.is_empty(),
            (Value::Object(map), _) => map.is_empty() && field.omit_zero,
            _ => false,
        };
        (!zero).then_some(out)
    }

    /// Whether something stands for a field that is absent.
    fn stands(&self, field: &Field) -> bool {
        if field.pointer {
            return field.always;
        }
        match self.arena.get(field.ty) {
            Type::Struct(_) => field.always || !field.omit_zero,
            Type::Scalar(Scalar::Time | Scalar::MicroTime) => !field.omit_zero,
            Type::Scalar(Scalar::Quantity | Scalar::IntOrText) => true,
            _ => field.always,
        }
    }

    /// What stands for an absent field.
    fn absent(&mut self, field: &Field) -> Option<Value> {
        if field.pointer { Some(Value::Null) } else { self.zero(field.ty) }
    }

    fn zero(&mut self, id: TypeId) -> Option<Value> {
        match self.arena.get(id) {
            Type::Any | Type::Map { .. } | Type::List { .. } => Some(Value::Null),
            Type::Struct(_) => {
                let place = Place { above: None, step: Step::Field("(zero)") };
                self.value(id, Value::Object(Map::new()), Some(&place))
            }
            Type::Scalar(scalar) => Some(match scalar {
                Scalar::Text => "".into(),
                Scalar::Int | Scalar::Number | Scalar::IntOrText => 0.into(),
                Scalar::Bool => false.into(),
                Scalar::Quantity => "0".into(),
                Scalar::Time | Scalar::MicroTime | Scalar::Bytes => Value::Null,
            }),
        }
    }

    fn wrong(&mut self, id: TypeId, value: &Value, here: Option<&Place<'_>>) {
        let found = match value {
            Value::Null => "null",
            Value::Bool(_) => "bool",
            Value::Number(_) => "number",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        let wanted = match self.arena.get(id) {
            Type::Struct(s) => format!("v1.{}", s.name),
            Type::Map { .. } => "map".into(),
            Type::List { .. } => "slice".into(),
            Type::Any => "any".into(),
            Type::Scalar(scalar) => match scalar {
                Scalar::Text => "string".into(),
                Scalar::Int => "int32".into(),
                Scalar::Number => "float64".into(),
                Scalar::Bool => "bool".into(),
                Scalar::Quantity => "resource.Quantity".into(),
                Scalar::IntOrText => "intstr.IntOrString".into(),
                Scalar::Time => "v1.Time".into(),
                Scalar::MicroTime => "v1.MicroTime".into(),
                Scalar::Bytes => "[]uint8".into(),
            },
        };
        let mut path = Place::path(here);
        path.retain(|step| !step.starts_with('['));
        // The field that is closest knows the Go structure's name and fills it in.
        self.findings.wrong.push(format!("@{found} into @{} of type {wanted}", path.join(".")));
    }
}

/// What readers of texts say themselves, instead of a wrong type.
fn unreadable(scalar: Scalar, value: &Value) -> Option<String> {
    use base64::Engine as _;
    let text = value.as_str()?;
    match scalar {
        Scalar::Quantity => text.parse::<Quantity>().err().map(|e| e.to_string()),
        Scalar::Bytes => {
            let at = match base64::engine::general_purpose::STANDARD.decode(text).err()? {
                base64::DecodeError::InvalidByte(at, _)
                | base64::DecodeError::InvalidLastSymbol(at, _) => at,
                _ => text.len() / 4 * 4,
            };
            Some(format!("illegal base64 data at input byte {at}"))
        }
        _ => None,
    }
}

/// Makes a value canonical where it stands; says whether anything is left of it.
fn kept(value: &mut Value, canonical: impl FnOnce(Value) -> Option<Value>) -> bool {
    canonical(value.take()).map(|out| *value = out).is_some()
}

/// The canonical form; what can't be read is given back.
fn canonical(scalar: Scalar, value: Value) -> Result<Value, Value> {
    use base64::Engine as _;
    let engine = base64::engine::general_purpose::STANDARD;
    let quantity = |text: &str| text.parse().ok().map(|q: Quantity| q.to_string().into());
    let other = match (scalar, &value) {
        (Scalar::Text, Value::String(_))
        | (Scalar::Bool, Value::Bool(_))
        | (Scalar::Number, Value::Number(_))
        | (Scalar::IntOrText, Value::String(_))
        | (Scalar::Bytes, Value::Null)
        | (Scalar::Time | Scalar::MicroTime, Value::String(_) | Value::Null) => return Ok(value),
        (Scalar::Bytes, Value::String(text)) if engine.decode(text).is_ok() => return Ok(value),
        (Scalar::Int | Scalar::IntOrText, Value::Number(n)) if n.is_i64() => return Ok(value),
        #[expect(clippy::cast_possible_truncation, reason = "it has no fraction")]
        (Scalar::Int | Scalar::IntOrText, Value::Number(n)) => {
            n.as_f64().filter(|f| f.fract() == 0.0).map(|float| (float as i64).into())
        }
        (Scalar::Quantity, Value::String(text)) => quantity(text),
        (Scalar::Quantity, Value::Number(n)) => quantity(&n.to_string()),
        (Scalar::Text, Value::Null) => Some("".into()),
        (Scalar::Quantity, Value::Null) => Some("0".into()),
        _ => None,
    };
    other.ok_or(value)
}
