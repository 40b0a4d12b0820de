//! Server-side apply as arithmetic on sets of fields, shared by core (would this apply change
//! anything?) and by the simulator's API server (what does it change?). It does no I/O.
mod field_set;
pub use field_set::{FieldSet, PathElement};
