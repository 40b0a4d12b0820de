//! Permissions of the instances and of backup Jobs.

use crate::build::rbac;
use crate::cluster::Cluster;
use crate::object::Object;
use crate::pass::Pass;
use crate::report::Step;

/// Builds an account, its role and their binding.
type Builder = fn(&Cluster) -> [Object; 3];

/// All of them, the account before the role before the binding.
pub fn ensure(pass: &mut Pass<'_>) {
    let cluster = pass.cluster;
    let builders = [("instance", rbac::instance as Builder), ("pgbackrest", rbac::pgbackrest)];
    for (name, build) in builders {
        for index in 0..3 {
            pass.ensure_built(Step::Rbac, format!("rbac {name} {index}"), || {
                build(cluster)[index].clone()
            });
        }
    }
}
