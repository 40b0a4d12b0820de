//! The simulated API server as clients meet it: over HTTP. Bytes become requests in one place ([`wire`]), whoever
//! sent them: a client in the same process comes by a pipe ([`pipe()`]), any other program by TLS ([`Face`]). The
//! world's clock follows tokio's, times a factor ([`Living`]).
//!
//! What a request does is the simulator's business, which knows no sockets and no async code.

mod discovery;
mod exec;
mod faults;
mod listener;
mod living;
mod pipe;
mod rights;
mod server;
mod tls;
mod tokens;
mod watch;
pub mod wire;

pub use exec::{Asker, Outside};
pub use faults::{Action, Asked, End, Faults, Told};
pub use listener::{Face, Reach};
pub use living::Living;
pub use pipe::pipe;
pub use rights::permits;
pub use server::{Answer, BoxError, Caller, Server};
pub use tls::Identity;
pub use tokens::{Holder, Tokens};
