//! Permissions of the instances and of backup Jobs.

use crate::build::rbac;
use crate::pass::Pass;
use crate::report::Step;

/// All of them, the account before the role before the binding.
pub fn ensure(pass: &mut Pass<'_>) {
    for object in rbac::instance(pass.cluster).into_iter().chain(rbac::pgbackrest(pass.cluster)) {
        pass.ensure(Step::Rbac, object);
    }
}
