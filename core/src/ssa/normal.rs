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
pub fn normalise(schema: &Schema, value: &Value, findings: &mut Findings) -> Value {
    let arena = schema.arena();
    let mut walk = Walk { arena, findings };
    let metadata = value.get("metadata").cloned();
    let mut out = match arena.get(schema.root()) {
        Type::Struct(_) => walk.value(schema.root(), value, None).unwrap_or_default(),
        _ => value.clone(),
    };
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
    fn value(&mut self, id: TypeId, value: &Value, here: Option<&Place<'_>>) -> Option<Value> {
        let arena = self.arena;
        match (arena.get(id), value) {
            (Type::Any, value) => Some(value.clone()),
            (Type::Struct(of), Value::Object(map)) => {
                let mut out = Map::new();
                for (key, below) in map {
                    let Some(field) = of.fields.get(&**key) else {
                        // The caller's walk over metadata, apiVersion and kind is its own.
                        if !(here.is_none() && matches!(&**key, "apiVersion" | "kind")) {
                            let mut path = Place::path(here).join(".");
                            if !path.is_empty() && !key.starts_with('[') {
                                path.push('.');
                            }
                            self.findings.unknown.push(format!("{path}{key}").replace(".[", "["));
                        }
                        continue;
                    };
                    if here.is_none() && key == "metadata" {
                        continue;
                    }
                    let place = Place { above: here, step: Step::Field(key) };
                    if let Some(below) = self.field(&of.name, field, below, &place) {
                        out.insert(key.clone(), below);
                    }
                }
                for (key, field) in &of.fields {
                    if !(out.contains_key(&**key) || here.is_none() && **key == *"metadata")
                        && let Some(zero) = self.absent(field)
                    {
                        out.insert(key.to_string(), zero);
                    }
                }
                Some(Value::Object(out))
            }
            (Type::Map { value: item, .. }, Value::Object(map)) => {
                let mut out = Map::new();
                for (key, below) in map {
                    let place = Place { above: here, step: Step::Key(key) };
                    if let Some(below) = self.value(*item, below, Some(&place)) {
                        out.insert(key.clone(), below);
                    }
                }
                Some(Value::Object(out))
            }
            (Type::List { item, .. }, Value::Array(list)) => {
                let mut out = Vec::with_capacity(list.len());
                for (at, below) in list.iter().enumerate() {
                    let place = Place { above: here, step: Step::Item(at) };
                    out.extend(match below {
                        Value::Null => self.zero(*item),
                        below => self.value(*item, below, Some(&place)),
                    });
                }
                Some(Value::Array(out))
            }
            (Type::Scalar(scalar), value) => {
                let out = canonical(*scalar, value);
                if out.is_none() {
                    match unreadable(*scalar, value) {
                        Some(why) => self.findings.wrong.push(why),
                        None => self.wrong(id, value, here),
                    }
                }
                out
            }
            (_, Value::Null) => self.zero(id),
            (_, value) => {
                self.wrong(id, value, here);
                None
            }
        }
    }

    fn field(
        &mut self,
        owner: &str,
        field: &Field,
        value: &Value,
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

    /// What stands for an absent field.
    fn absent(&mut self, field: &Field) -> Option<Value> {
        let ty = self.arena.get(field.ty);
        if field.pointer {
            return field.always.then_some(Value::Null);
        }
        match ty {
            Type::Struct(_) if !field.omit_zero => self.zero(field.ty),
            Type::Scalar(Scalar::Quantity | Scalar::IntOrText) => self.zero(field.ty),
            Type::Scalar(Scalar::Time | Scalar::MicroTime) => {
                (!field.omit_zero).then_some(Value::Null)
            }
            _ if field.always => self.zero(field.ty),
            _ => None,
        }
    }

    fn zero(&mut self, id: TypeId) -> Option<Value> {
        match self.arena.get(id) {
            Type::Any | Type::Map { .. } | Type::List { .. } => Some(Value::Null),
            Type::Struct(_) => {
                let place = Place { above: None, step: Step::Field("(zero)") };
                self.value(id, &Value::Object(Map::new()), Some(&place))
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

fn canonical(scalar: Scalar, value: &Value) -> Option<Value> {
    match (scalar, value) {
        (Scalar::Bytes, Value::String(text)) => {
            use base64::Engine as _;
            let engine = base64::engine::general_purpose::STANDARD;
            engine.decode(text).ok().map(|_| value.clone())
        }
        (Scalar::Text, Value::String(_))
        | (Scalar::Bool, Value::Bool(_))
        | (Scalar::Number, Value::Number(_))
        | (Scalar::IntOrText, Value::String(_))
        | (Scalar::Time | Scalar::MicroTime, Value::String(_) | Value::Null) => Some(value.clone()),
        (Scalar::Int | Scalar::IntOrText, Value::Number(n)) => {
            n.is_i64().then(|| value.clone()).or_else(|| {
                let float = n.as_f64().filter(|f| f.fract() == 0.0)?;
                #[expect(clippy::cast_possible_truncation, reason = "it has no fraction")]
                Some((float as i64).into())
            })
        }
        (Scalar::Quantity, Value::String(text)) => {
            let quantity: Quantity = text.parse().ok()?;
            Some(quantity.to_string().into())
        }
        (Scalar::Quantity, Value::Number(n)) => {
            let quantity: Quantity = n.to_string().parse().ok()?;
            Some(quantity.to_string().into())
        }
        (Scalar::Text, Value::Null) => Some("".into()),
        (Scalar::Bytes, Value::Null) => Some(Value::Null),
        (Scalar::Quantity, Value::Null) => Some("0".into()),
        _ => None,
    }
}
