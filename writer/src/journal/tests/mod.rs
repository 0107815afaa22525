//! What a crash leaves is one of the states that were committed, and no older one than the last that was said to last.

mod crash;
mod errors;
mod hands;
mod open;
mod revoke;
mod sync;
mod workload;
