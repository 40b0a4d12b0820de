//! pgBackRest: its configuration files, and what it says about its repositories.

pub mod commands;
pub mod config;
pub mod info;
