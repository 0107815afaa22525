//! Apptainer's lock on an image: asked for or taken ([`range`]), and who is in its way ([`mod@who`]), as far as the processes and loop
//! devices of this machine tell ([`users`]).

pub mod range;
mod users;
pub mod who;

pub use range::{Access, Availability, Guard, LockError, WHOLE_FILE, query, take, take_turn};
pub use users::{Loop, User, loops, users, writers};
pub use who::who;
