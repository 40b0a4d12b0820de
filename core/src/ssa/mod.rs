//! Server-side apply as arithmetic on sets of fields, shared by core (would this apply change
//! anything?) and by the simulator's API server (what does it change?). It does no I/O.

mod apply;
mod change;
mod compare;
mod declared;
mod field_set;
mod merge;
mod normal;
pub mod schema;
#[cfg(test)]
mod tests;

pub use apply::{
    Applied, Conflict, Manager, apply, compare_fields, compare_objects, fields_of, sort_managed,
    update, update_by, view, with_view,
};
pub use change::{applied, has_values, would_change, would_change_of};
pub use compare::Comparison;
pub use declared::check_applied;
pub use field_set::{FieldSet, PathElement};
pub use normal::{Findings, normalise};
pub use schema::Schema;
