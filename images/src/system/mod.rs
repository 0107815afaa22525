//! The system around an image: its users, processes, signals, quotas and limits, and how its names are shown.

pub mod escape;
pub mod file_limit;
pub mod ids;
pub mod litter;
pub mod process;
pub mod quota;
pub mod shown;
pub mod stop;
pub mod user;
