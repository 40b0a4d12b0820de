//! Controllers as pure functions on small caches: which steps they decide on, as short lines.

mod harness;
mod ownership;
mod services;
mod storage;
mod workloads;
