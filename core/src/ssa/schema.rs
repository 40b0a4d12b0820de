//! The types of Kubernetes objects, as far as ownership of fields, strategic merging and the canonical
//! form depend on them: which lists have keys, which are sets, what is atomic, which zero values vanish.
//!
//! The built-in kinds stand in `builtin.txt`, one type per line, derived from Kubernetes 1.34's Go types
//! (pointers, `omitempty`, patch strategies) and its `/openapi/v3` (list and map types). Custom resources
//! bring their schema along ([`Schema::of_crd`]). Validation rules are not here.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use serde_json::Value;

use crate::kind::Kind;

/// The schema of one kind; cheap to clone.
#[derive(Clone, Debug)]
pub struct Schema {
    arena: Arc<Arena>,
    root: TypeId,
}

/// A type within the [`Arena`] of a schema.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TypeId(u32);

/// All types of a schema.
#[derive(Clone, Debug, Default)]
pub struct Arena {
    types: Vec<Type>,
    named: BTreeMap<Box<str>, TypeId>,
}

/// One type.
#[derive(Clone, PartialEq, Debug)]
pub enum Type {
    /// Anything; its shape follows the value: lists are atomic, maps are not.
    Any,
    /// A leaf.
    Scalar(Scalar),
    /// A map with known fields.
    Struct(Struct),
    /// A map with free keys.
    Map {
        /// Whether it is owned as a whole.
        atomic: bool,
        /// Type of the values.
        value: TypeId,
    },
    /// A list.
    List {
        /// How its items are told apart.
        kind: ListKind,
        /// Type of the items.
        item: TypeId,
    },
}

/// The kinds of leaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scalar {
    /// Text.
    Text,
    /// An integer.
    Int,
    /// Any number.
    Number,
    /// True or false.
    Bool,
    /// A quantity such as `1Gi`.
    Quantity,
    /// An integer or text.
    IntOrText,
    /// A time with whole seconds.
    Time,
    /// A time with microseconds.
    MicroTime,
    /// Bytes in base64.
    Bytes,
}

/// A map with known fields.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Struct {
    /// The Go name of the type, for messages; empty in custom resources.
    pub name: Box<str>,
    /// Whether it is owned as a whole.
    pub atomic: bool,
    /// The type of fields that are not listed, where such are allowed.
    pub open: Option<TypeId>,
    /// The fields.
    pub fields: BTreeMap<Box<str>, Field>,
}

/// A field of a [`Struct`].
#[derive(Clone, PartialEq, Debug)]
pub struct Field {
    /// Its type.
    pub ty: TypeId,
    /// A pointer in Go: absent and zero differ.
    pub pointer: bool,
    /// Without `omitempty` in Go: written even when absent, as zero or null.
    pub always: bool,
    /// With `omitzero` in Go: a structure that is zero vanishes.
    pub omit_zero: bool,
    /// How a strategic merge patch treats it.
    pub patch: Patch,
}

/// How a strategic merge patch treats a field.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Patch {
    /// Lists: merged by this key, or as a set of scalars when the key is empty; `None`: replaced.
    pub merge: Option<Box<str>>,
    /// `$retainKeys` is honoured; it clears what the patch does not name.
    pub retain_keys: bool,
}

/// How the items of a list are told apart.
#[derive(Clone, PartialEq, Debug)]
pub enum ListKind {
    /// Not at all: the list is owned as a whole.
    Atomic,
    /// By their value.
    Set,
    /// By key fields, with the default of each where it has one.
    Map(Vec<(Box<str>, Option<Value>)>),
}

/// What a walk has to do with a value of some type.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Shape<'a> {
    /// Owned as a whole.
    Leaf,
    /// Owned field by field.
    Map,
    /// Owned item by item.
    List(&'a ListKind, TypeId),
}

static BUILTIN: OnceLock<(Arc<Arena>, BTreeMap<Kind, Schema>)> = OnceLock::new();

fn builtin() -> &'static (Arc<Arena>, BTreeMap<Kind, Schema>) {
    BUILTIN.get_or_init(|| {
        let arena = Arc::new(Arena::parse(include_str!("builtin.txt")));
        let schemas = Kind::ALL
            .iter()
            .filter_map(|&kind| {
                let root = *arena.named.get(kind.name())?;
                let arena = Arc::clone(&arena);
                Some((kind, Schema { arena, root }))
            })
            .collect();
        (arena, schemas)
    })
}

impl Schema {
    /// The schema of a kind that Kubernetes has built in; `None` for our custom resources.
    #[must_use]
    pub fn builtin(kind: Kind) -> Option<&'static Schema> {
        builtin().1.get(&kind)
    }

    /// The schema of a custom resource, from `openAPIV3Schema` of one of its versions.
    #[must_use]
    pub fn of_crd(open_api: &Value) -> Self {
        // The built-in types come along, since custom resources share `ObjectMeta`.
        let mut arena = (*builtin().0).clone();
        let root = arena.of_open_api(open_api);
        let meta = arena.named["ObjectMeta"];
        let text = arena.scalar(Scalar::Text);
        if let Type::Struct(root) = &mut arena.types[root.0 as usize] {
            for (name, ty) in [("metadata", meta), ("apiVersion", text), ("kind", text)] {
                root.fields.insert(name.into(), Field::plain(ty));
            }
        }
        Self { arena: Arc::new(arena), root }
    }

    /// The type of whole objects.
    #[must_use]
    pub fn root(&self) -> TypeId {
        self.root
    }

    /// The types.
    #[must_use]
    pub fn arena(&self) -> &Arena {
        &self.arena
    }

    /// The type at a path of field names, through lists and maps to their items; `None` where nothing
    /// is declared.
    #[must_use]
    pub fn at(&self, path: &[&str]) -> Option<&Type> {
        let mut id = self.root;
        for name in path {
            while let Type::List { item, .. } = self.arena.get(id) {
                id = *item;
            }
            id = self.arena.declared(id, name)?;
        }
        Some(self.arena.get(id))
    }
}

impl Field {
    fn plain(ty: TypeId) -> Self {
        Self { ty, pointer: true, always: false, omit_zero: false, patch: Patch::default() }
    }
}

/// The type that [`Arena`] has at its first place: anything.
pub(crate) const ANY: TypeId = TypeId(0);

impl Arena {
    /// The type with this id.
    #[must_use]
    pub fn get(&self, id: TypeId) -> &Type {
        &self.types[id.0 as usize]
    }

    /// The type of a built-in structure by its Go name, for example `PodTemplateSpec`.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<TypeId> {
        self.named.get(name).copied()
    }

    /// The declared type below a map's key.
    #[must_use]
    pub fn declared(&self, id: TypeId, key: &str) -> Option<TypeId> {
        match self.get(id) {
            Type::Struct(s) => s.fields.get(key).map(|f| f.ty).or(s.open),
            Type::Map { value, .. } => Some(*value),
            Type::Any => Some(ANY),
            Type::Scalar(_) | Type::List { .. } => None,
        }
    }

    /// The type below a map's key, and whether the key is a field of a structure.
    pub(crate) fn child(&self, id: TypeId, key: &str) -> (TypeId, bool) {
        match self.get(id) {
            Type::Struct(s) => match s.fields.get(key) {
                Some(field) => (field.ty, true),
                None => (s.open.unwrap_or(ANY), false),
            },
            Type::Map { value, .. } => (*value, false),
            _ => (ANY, false),
        }
    }

    /// How a value of a type is owned. Null takes the shape that its type declares.
    pub(crate) fn shape(&self, id: TypeId, value: &Value) -> Shape<'_> {
        match self.get(id) {
            Type::Any => match value {
                Value::Object(_) => Shape::Map,
                _ => Shape::Leaf,
            },
            Type::Scalar(_) => Shape::Leaf,
            Type::Struct(Struct { atomic: true, .. }) | Type::Map { atomic: true, .. } => {
                Shape::Leaf
            }
            Type::Struct(_) | Type::Map { .. } => Shape::Map,
            Type::List { kind: ListKind::Atomic, .. } => Shape::Leaf,
            Type::List { kind, item } => Shape::List(kind, *item),
        }
    }

    fn add(&mut self, ty: Type) -> TypeId {
        if let Some(at) = self.types.iter().position(|t| *t == ty) {
            return TypeId(u32::try_from(at).unwrap_or(0));
        }
        self.types.push(ty);
        TypeId(u32::try_from(self.types.len() - 1).unwrap_or(0))
    }

    fn scalar(&mut self, scalar: Scalar) -> TypeId {
        self.add(Type::Scalar(scalar))
    }

    /// Reads the table. Each line is a type: its name (with `=` before it when atomic) and its fields,
    /// `name:FLAGS TYPE PATCH` without blanks. Flags: `*` pointer, `!` always written, `0` omitzero.
    /// Types: one letter for a scalar, `{}T` map, `{=}T` atomic map, `[]T` atomic list, `[=]T` set,
    /// `[a,b:DEFAULT]T` list with keys, or a type's name. Patch: `@key` merge, `%` retainKeys.
    fn parse(text: &str) -> Self {
        let mut arena = Self::default();
        arena.types.push(Type::Any);
        // Names first, so that lines may refer to each other.
        for line in text.lines() {
            let name = line.split(' ').next().unwrap_or_default();
            let id = TypeId(u32::try_from(arena.types.len()).unwrap_or(0));
            arena.types.push(Type::Struct(Struct {
                name: name.trim_start_matches('=').into(),
                atomic: name.starts_with('='),
                ..Struct::default()
            }));
            arena.named.insert(name.trim_start_matches('=').into(), id);
        }
        for line in text.lines() {
            let mut words = line.split(' ');
            let name = words.next().unwrap_or_default().trim_start_matches('=');
            let fields = words
                .filter_map(|word| {
                    let (field, rest) = word.split_once(':')?;
                    Some((field.into(), arena.parse_field(rest)))
                })
                .collect();
            let id = arena.named[name];
            if let Type::Struct(s) = &mut arena.types[id.0 as usize] {
                s.fields = fields;
            }
        }
        arena
    }

    fn parse_field(&mut self, text: &str) -> Field {
        let rest = text.trim_start_matches(['*', '!', '0']);
        let flags = &text[..text.len() - rest.len()];
        let (rest, retain_keys) = match rest.strip_suffix('%') {
            Some(rest) => (rest, true),
            None => (rest, false),
        };
        let (ty, merge) = match rest.split_once('@') {
            Some((ty, key)) => (ty, Some(key.into())),
            None => (rest, None),
        };
        Field {
            ty: self.parse_type(ty),
            pointer: flags.contains('*'),
            always: flags.contains('!'),
            omit_zero: flags.contains('0'),
            patch: Patch { merge, retain_keys },
        }
    }

    fn parse_type(&mut self, text: &str) -> TypeId {
        if let Some(rest) = text.strip_prefix('{') {
            let (how, value) = rest.split_once('}').unwrap_or_default();
            let value = self.parse_type(value);
            return self.add(Type::Map { atomic: how == "=", value });
        }
        if let Some(rest) = text.strip_prefix('[') {
            let (how, item) = rest.split_once(']').unwrap_or_default();
            let item = self.parse_type(item);
            let kind = match how {
                "" => ListKind::Atomic,
                "=" => ListKind::Set,
                keys => ListKind::Map(
                    keys.split(',')
                        .map(|key| match key.split_once(':') {
                            Some((key, default)) => (key.into(), Some(default.into())),
                            None => (key.into(), None),
                        })
                        .collect(),
                ),
            };
            return self.add(Type::List { kind, item });
        }
        let scalar = match text {
            "s" => Scalar::Text,
            "i" => Scalar::Int,
            "n" => Scalar::Number,
            "b" => Scalar::Bool,
            "q" => Scalar::Quantity,
            "x" => Scalar::IntOrText,
            "t" => Scalar::Time,
            "m" => Scalar::MicroTime,
            "y" => Scalar::Bytes,
            name => return self.named.get(name).copied().unwrap_or(ANY),
        };
        self.scalar(scalar)
    }

    fn of_open_api(&mut self, schema: &Value) -> TypeId {
        let flag = |key: &str| schema.get(key).and_then(Value::as_bool) == Some(true);
        let text = |key: &str| schema.get(key).and_then(Value::as_str).unwrap_or_default();
        if flag("x-kubernetes-int-or-string") {
            return self.scalar(Scalar::IntOrText);
        }
        let open = flag("x-kubernetes-preserve-unknown-fields");
        match text("type") {
            "string" => self.scalar(Scalar::Text),
            "integer" => self.scalar(Scalar::Int),
            "number" => self.scalar(Scalar::Number),
            "boolean" => self.scalar(Scalar::Bool),
            "array" => {
                let item = self.of_open_api(schema.get("items").unwrap_or(&Value::Null));
                let kind = match text("x-kubernetes-list-type") {
                    "set" => ListKind::Set,
                    "map" => ListKind::Map(open_api_keys(schema)),
                    _ => ListKind::Atomic,
                };
                self.add(Type::List { kind, item })
            }
            "object" => {
                let atomic = text("x-kubernetes-map-type") == "atomic";
                if let Some(value) = schema.get("additionalProperties").filter(|v| v.is_object()) {
                    let value = self.of_open_api(value);
                    return self.add(Type::Map { atomic, value });
                }
                let properties = schema.get("properties").and_then(Value::as_object);
                let fields = properties
                    .into_iter()
                    .flatten()
                    .map(|(name, below)| {
                        let ty = self.of_open_api(below);
                        (name.as_str().into(), Field::plain(ty))
                    })
                    .collect();
                self.add(Type::Struct(Struct {
                    name: "".into(),
                    atomic,
                    open: open.then_some(ANY),
                    fields,
                }))
            }
            _ => ANY,
        }
    }
}

fn open_api_keys(schema: &Value) -> Vec<(Box<str>, Option<Value>)> {
    let keys = schema.get("x-kubernetes-list-map-keys").and_then(Value::as_array);
    let properties = &schema["items"]["properties"];
    let mut keys: Vec<(Box<str>, Option<Value>)> = keys
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(|key| {
            let default = properties.get(key).and_then(|p| p.get("default"));
            (key.into(), default.cloned())
        })
        .collect();
    keys.sort_by(|a, b| a.0.cmp(&b.0));
    keys
}
