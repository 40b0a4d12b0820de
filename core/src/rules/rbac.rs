//! Permissions of the instances and of backup Jobs.

use crate::build::rbac;
use crate::cluster::Cluster;
use crate::object::Object;
use crate::pass::Pass;
use crate::report::Step;

/// All of them, the account before the role before the binding.
pub fn ensure(pass: &mut Pass<'_>) {
    let cluster = pass.cluster;
    let builders: [(&str, fn(&Cluster) -> [Object; 3]); 2] =
        [("instance", rbac::instance), ("pgbackrest", rbac::pgbackrest)];
    for (name, build) in builders {
        for index in 0..3 {
            pass.ensure_built(Step::Rbac, format!("rbac {name} {index}"), || {
                build(cluster)[index].clone()
            });
        }
    }
}
