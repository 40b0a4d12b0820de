//! Patroni's REST API between members, and with patronictl.

/// A request.
#[derive(Clone, Debug)]
pub enum RestRequest {}
/// An answer.
#[derive(Clone, Debug)]
pub enum RestReply {}
