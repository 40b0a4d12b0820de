//! The real shell, with its real `kube::Client`, over the simulated API server: faults of every kind, and the
//! state in which they end.

mod apart;
mod disturbed;
mod leadership;
mod permissions;
mod rig;
mod rights;
mod state;
