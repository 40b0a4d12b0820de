//! Real worlds.
