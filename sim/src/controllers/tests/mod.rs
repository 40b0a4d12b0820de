//! Controllers as pure functions on small caches (which steps they decide on, as short lines), and as actors
//! in a world with an API server.

mod harness;
mod lab;
mod ownership;
mod services;
mod storage;
mod workloads;
mod world;
