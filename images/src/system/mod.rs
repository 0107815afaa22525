//! What the machine tells: its users and processes, signals, mounts, quotas and limits; and how its names are written for people, shells and
//! JSON.

pub(crate) mod disk_quota;
pub mod escape;
pub mod fakeroot;
pub mod file_size_limit;
pub mod json_paths;
pub mod likeness;
pub mod mounts;
pub mod process;
pub mod stop;
pub mod user;
