//! Verbs that run something in a container. [`exec`], [`e`] and [`run`] start one, [`ps`] lists running containers, [`join`] enters one.
//! Slurm calls what is in [`slurm`]. Those that start one share [`container`], the way from a request to its end.

pub(crate) mod args;
pub(crate) mod container;
pub(crate) mod e;
pub(crate) mod exec;
pub(crate) mod join;
pub(crate) mod ps;
pub(crate) mod run;
pub(crate) mod slurm;
pub(crate) mod stack;
pub(crate) mod waiting;
