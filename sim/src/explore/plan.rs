//! Which cuts are tried: every cut of every message, equal ones once.

use std::collections::BTreeSet;

use super::base::Base;
use super::cut::Cut;

/// The cuts of one story: the index of the message, and the cut. In the order of the messages.
pub type Cuts = Vec<(usize, Cut)>;

/// The cuts of some stories.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Plan {
    /// Those to try, by story.
    pub cuts: Vec<Cuts>,
    /// How many there are in all.
    pub all: usize,
    /// How many of them equal another: same message, same state of the world, same cut.
    pub equal: usize,
}

/// Plans a sweep.
#[must_use]
pub fn plan<'a>(bases: impl IntoIterator<Item = Option<&'a Base>>) -> Plan {
    let mut plan = Plan::default();
    let mut tried = BTreeSet::new();
    for base in bases {
        let mut cuts = Cuts::new();
        for (index, message) in base.iter().flat_map(|b| &b.messages).enumerate() {
            for &cut in message.cuts() {
                plan.all += 1;
                match tried.insert(message.key(cut)) {
                    true => cuts.push((index, cut)),
                    false => plan.equal += 1,
                }
            }
        }
        plan.cuts.push(cuts);
    }
    plan
}
