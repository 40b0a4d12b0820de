//! What the API server should do, said as naively as possible: objects are a few flat fields, each with its owners, and one
//! number counts the writes. It knows nothing of paths, sets of fields, logs or JSON.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest_state_machine::ReferenceStateMachine;

/// What an object consists of.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Field {
    LabelX,
    LabelY,
    Note,
    Replicas,
    /// Two finalizers, which are there or not.
    HoldD,
    HoldE,
    /// Only the endpoint `status` writes it.
    Status,
    /// All that an object must have besides: it is always the same.
    Rest,
    /// What labels, annotations and finalizers are in: there while any of them is.
    Labels,
    Notes,
    Holds,
}

use Field::{HoldD, HoldE, Holds, LabelX, LabelY, Labels, Note, Notes, Replicas, Rest, Status};

pub(crate) type Fields = BTreeMap<Field, u8>;

/// Whether a manager applied, replaced, or wrote the status: three owners under one name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum How {
    Apply,
    Update,
    Status,
}

pub(crate) type Owner = (&'static str, How);

/// Which object a write means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Which {
    /// Whatever bears the name.
    Any,
    /// The one that is there, by its UID.
    ThisLife,
    /// One of this name that is gone, by its UID.
    FormerLife,
    /// The version that is there.
    ThisVersion,
    /// The version before it.
    FormerVersion,
}

/// A request, or the end of what is remembered.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Create {
        name: u8,
        manager: &'static str,
        fields: Fields,
    },
    Update {
        name: u8,
        manager: &'static str,
        fields: Fields,
        which: Which,
    },
    Status {
        name: u8,
        manager: &'static str,
        value: u8,
        which: Which,
    },
    /// A merge patch; `None` takes a field away.
    Merge {
        name: u8,
        manager: &'static str,
        change: BTreeMap<Field, Option<u8>>,
    },
    Apply {
        name: u8,
        manager: &'static str,
        fields: Fields,
        force: bool,
        which: Which,
    },
    Delete {
        name: u8,
        which: Which,
    },
    /// A list by pages of so many, of which the first is asked for.
    Pages(usize),
    /// The page after it.
    NextPage,
    /// From here somebody watches.
    Watch,
    Compact,
}

/// What is answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Answer {
    Code(u16),
    /// The names and fields on a page, and how many come after it.
    Page(Vec<(u8, Fields)>, usize),
    /// Nothing was asked.
    Nothing,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Entry {
    pub(crate) fields: Fields,
    pub(crate) owners: BTreeMap<Owner, BTreeSet<Field>>,
    /// Asked to go, and held by a finalizer.
    pub(crate) going: bool,
    pub(crate) generation: i64,
}

impl Entry {
    fn held(&self) -> bool {
        self.fields.contains_key(&HoldD) || self.fields.contains_key(&HoldE)
    }

    /// Others give up what changes; the one who writes has what is said.
    fn own(&mut self, owner: Owner, changed: &BTreeSet<Field>, own: BTreeSet<Field>) {
        for fields in self.owners.values_mut() {
            *fields = fields.difference(changed).copied().collect();
        }
        self.owners.insert(owner, own);
        self.owners.retain(|_, fields| !fields.is_empty());
    }

    fn owned_by(&self, owner: Owner) -> BTreeSet<Field> {
        self.owners.get(&owner).cloned().unwrap_or_default()
    }

    /// Whoever replaces or patches an object owns what is other than before, and nothing else is new to them.
    fn replaced(&self, fields: Fields, owner: Owner) -> Self {
        let mut new = Self { fields, ..self.clone() };
        let changed = changed(&self.fields, &new.fields);
        let (there, gone): (BTreeSet<Field>, BTreeSet<Field>) =
            changed.iter().partition(|f| new.fields.contains_key(f));
        let mut own = self.owned_by(owner);
        own.extend(&there);
        own.retain(|f| !gone.contains(f));
        new.own(owner, &changed, own);
        new
    }

    /// Whoever applies owns exactly what they apply, and what only they had and apply no more goes.
    ///
    /// None where it would take something from others.
    fn applied(&self, fields: &Fields, owner: Owner, force: bool) -> Option<Self> {
        let mut new = self.clone();
        new.fields.extend(fields);
        new.fields = with_containers(&new.fields);
        let changed = changed(&self.fields, &new.fields);
        let others = self.owners.iter().filter(|(o, _)| **o != owner).flat_map(|(_, f)| f);
        let others: BTreeSet<Field> = others.copied().collect();
        if !force && changed.intersection(&others).next().is_some() {
            return None;
        }
        for given_up in self.owned_by(owner).iter().filter(|f| !fields.contains_key(f)) {
            if !others.contains(given_up) {
                new.fields.remove(given_up);
            }
        }
        // What is left of their container belongs to whom it did, even when it is empty and nobody sees it.
        new.own(owner, &changed, fields.keys().copied().collect());
        new.fields = complete(&new.fields);
        Some(new)
    }
}

fn changed(old: &Fields, new: &Fields) -> BTreeSet<Field> {
    old.keys().chain(new.keys()).filter(|f| old.get(f) != new.get(f)).copied().collect()
}

/// A list of which pages are still to come, as all was when it began.
#[derive(Clone, Debug)]
struct Open {
    rest: Vec<(u8, Fields)>,
    limit: usize,
    forgotten: bool,
}

/// Everything.
#[derive(Clone, Debug)]
pub(crate) struct Naive {
    pub(crate) objects: BTreeMap<u8, Entry>,
    /// How many writes there were.
    pub(crate) writes: u64,
    /// What the last step came to.
    pub(crate) answer: Answer,
    /// After how many of them changes are remembered.
    pub(crate) forgotten: u64,
    open: Option<Open>,
}

impl Naive {
    /// Stores what became of an object.
    fn put(&mut self, name: u8, mut new: Entry) -> u16 {
        let Some(old) = self.objects.get(&name) else {
            self.objects.insert(name, new);
            self.writes += 1;
            return 201;
        };
        let holds = |f: &&Field| matches!(f, HoldD | HoldE) && !old.fields.contains_key(f);
        if old.going && new.fields.keys().any(|f| holds(&f)) {
            return 422;
        }
        if new == *old {
            return 200;
        }
        // Of a Deployment the annotations count like the spec.
        let counts = |f: &&Field| old.fields.get(f) != new.fields.get(f);
        new.generation += i64::from([Replicas, Note].iter().any(|f| counts(&f)));
        self.writes += 1;
        if new.going && !new.held() {
            self.objects.remove(&name);
        } else {
            self.objects.insert(name, new);
        }
        200
    }

    fn page(&mut self, limit: usize, mut all: Vec<(u8, Fields)>) -> Answer {
        let rest = all.split_off(all.len().min(limit));
        let remaining = rest.len();
        self.open = (remaining > 0).then_some(Open { rest, limit, forgotten: false });
        Answer::Page(all, remaining)
    }

    fn step(&mut self, step: &Step) -> Answer {
        let code = match step {
            Step::Create { name, manager, fields } => {
                if self.objects.contains_key(name) {
                    return Answer::Code(409);
                }
                self.put(*name, created(complete(fields), (manager, How::Update)))
            }
            Step::Update { name, manager, fields, which } => match self.meant(*name, *which) {
                Err(code) => code,
                Ok(old) => {
                    let mut fields = complete(fields);
                    fields.extend(old.fields.get(&Status).map(|v| (Status, *v)));
                    self.put(*name, old.replaced(fields, (manager, How::Update)))
                }
            },
            Step::Status { name, manager, value, which } => match self.meant(*name, *which) {
                Err(code) => code,
                Ok(old) => {
                    let mut fields = old.fields.clone();
                    fields.insert(Status, *value);
                    self.put(*name, old.replaced(fields, (manager, How::Status)))
                }
            },
            Step::Merge { name, manager, change } => match self.meant(*name, Which::Any) {
                Err(code) => code,
                Ok(old) => {
                    let mut fields = old.fields.clone();
                    for (field, value) in change {
                        fields.remove(field);
                        fields.extend(value.map(|v| (*field, v)));
                    }
                    self.put(*name, old.replaced(complete(&fields), (manager, How::Update)))
                }
            },
            Step::Apply { name, manager, fields, force, which } => {
                let owner = (*manager, How::Apply);
                let mut fields = fields.clone();
                fields.insert(Rest, 0);
                let Some(old) = self.objects.get(name) else {
                    let new = created(fields, owner);
                    return Answer::Code(
                        self.put(*name, Entry { fields: complete(&new.fields), ..new }),
                    );
                };
                match (old.applied(&fields, owner, *force), self.meant(*name, *which)) {
                    (None, _) => 409,
                    // Here an UID is a field like others, which can't be changed (recorded of a real server).
                    (_, Err(_)) if *which == Which::FormerLife => 422,
                    (_, Err(code)) => code,
                    (Some(new), Ok(_)) => self.put(*name, new),
                }
            }
            Step::Delete { name, which } => match self.meant(*name, *which) {
                Err(code) => code,
                Ok(old) if old.going => 200,
                Ok(old) if old.held() => {
                    let new = Entry { going: true, generation: old.generation + 1, ..old };
                    self.put(*name, new)
                }
                Ok(_) => {
                    self.objects.remove(name);
                    self.writes += 1;
                    200
                }
            },
            Step::Pages(limit) => {
                let all = self.objects.iter().map(|(n, e)| (*n, e.fields.clone())).collect();
                return self.page(*limit, all);
            }
            Step::NextPage => match self.open.take() {
                None => return Answer::Nothing,
                Some(open) if open.forgotten => 410,
                Some(open) => return self.page(open.limit, open.rest),
            },
            Step::Watch => return Answer::Nothing,
            Step::Compact => {
                self.forgotten = self.writes;
                self.open.iter_mut().for_each(|open| open.forgotten = true);
                return Answer::Nothing;
            }
        };
        Answer::Code(code)
    }

    /// The object that is meant, or why there is none.
    fn meant(&self, name: u8, which: Which) -> Result<Entry, u16> {
        let entry = self.objects.get(&name).ok_or(404_u16)?;
        match which {
            Which::FormerLife | Which::FormerVersion => Err(409),
            _ => Ok(entry.clone()),
        }
    }
}

fn created(fields: Fields, owner: Owner) -> Entry {
    let owners = BTreeMap::from([(owner, fields.keys().copied().collect())]);
    Entry { fields, owners, going: false, generation: 1 }
}

/// An object as it is stored: with the default number of replicas.
fn complete(fields: &Fields) -> Fields {
    let mut fields = with_containers(fields);
    fields.entry(Replicas).or_insert(1);
    fields.insert(Rest, 0);
    fields
}

fn with_containers(fields: &Fields) -> Fields {
    let mut all = fields.clone();
    for (container, of) in
        [(Labels, &[LabelX, LabelY][..]), (Notes, &[Note]), (Holds, &[HoldD, HoldE])]
    {
        all.remove(&container);
        if of.iter().any(|f| fields.contains_key(f)) {
            all.insert(container, 0);
        }
    }
    all
}

fn field() -> impl Strategy<Value = Field> {
    prop::sample::select(vec![LabelX, LabelY, Note, Replicas, HoldD, HoldE])
}

/// A value that the field can have.
fn fit(field: Field, value: u8) -> u8 {
    if matches!(field, HoldD | HoldE) { 1 } else { value }
}

fn fields() -> impl Strategy<Value = Fields> {
    prop::collection::btree_map(field(), 1..=2_u8, 0..4)
        .prop_map(|all| all.into_iter().map(|(f, v)| (f, fit(f, v))).collect())
}

fn which() -> impl Strategy<Value = Which> {
    use Which::{Any, FormerLife, FormerVersion, ThisLife, ThisVersion};
    prop_oneof![
        4 => Just(Any),
        4 => prop::sample::select(vec![ThisLife, ThisVersion]),
        1 => prop::sample::select(vec![FormerLife, FormerVersion]),
    ]
}

impl ReferenceStateMachine for Naive {
    type State = Self;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<Self> {
        let (objects, answer) = (BTreeMap::new(), Answer::Nothing);
        Just(Self { objects, writes: 0, answer, forgotten: 0, open: None }).boxed()
    }

    fn transitions(_: &Self) -> BoxedStrategy<Step> {
        let name = || 0..3_u8;
        let manager = || prop::sample::select(vec!["op", "user"]);
        let change = prop::collection::btree_map(field(), prop::option::of(1..=2_u8), 1..3)
            .prop_map(|all| all.into_iter().map(|(f, v)| (f, v.map(|v| fit(f, v)))).collect());
        prop_oneof![
            4 => (name(), manager(), fields())
                .prop_map(|(name, manager, fields)| Step::Create { name, manager, fields }),
            4 => (name(), manager(), fields(), which())
                .prop_map(|(name, manager, fields, which)| Step::Update { name, manager, fields, which }),
            2 => (name(), manager(), 1..=2_u8, which())
                .prop_map(|(name, manager, value, which)| Step::Status { name, manager, value, which }),
            4 => (name(), manager(), change)
                .prop_map(|(name, manager, change)| Step::Merge { name, manager, change }),
            8 => (name(), manager(), fields(), any::<bool>(), which())
                .prop_map(|(name, manager, fields, force, which)| Step::Apply { name, manager, fields, force, which }),
            4 => (name(), which()).prop_map(|(name, which)| Step::Delete { name, which }),
            1 => (1..=2_usize).prop_map(Step::Pages),
            2 => Just(Step::NextPage),
            2 => Just(Step::Watch),
            1 => Just(Step::Compact),
        ]
        .boxed()
    }

    fn apply(mut state: Self, step: &Step) -> Self {
        state.answer = state.step(step);
        state
    }
}
