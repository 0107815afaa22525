//! A session: a container that was started at a prompt or by a script (`e`, `exec`, `run`), for as long as its command runs. Other
//! processes of the same user can find it ([`find`]) and [join](crate::join) it, as they join the container of a step.
//!
//! Its command is the container's first process, so nothing there tells how the container was started. The process that has
//! started it keeps that in a memory file ([`record`]): no file system shows it, only processes of the same user can open it, and
//! it is gone with its process. Who joins adds his number, so that the end of the session finds him ([`joined`]).

mod find;
mod joined;
mod record;
mod status;

pub(crate) use find::{Session, kept_by, sessions};
pub(crate) use joined::{JoinedProcesses, OpenSession};
pub(crate) use record::Record;
pub(crate) use status::SECCOMP;
