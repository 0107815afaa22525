//! What a setuid Apptainer ([`setuid`]) and SingularityCE ([`singularity`]) can do with a stack. The rest is refused, with the way
//! out. Pure.

pub(crate) mod setuid;
pub(crate) mod singularity;
