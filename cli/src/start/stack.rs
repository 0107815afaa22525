//! The processes of a mounted stack, which are this program by verbs of their own. They have no options and no help, and take no part in
//! what the other verbs read and ask at their beginning.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use condatainer_stack::namespace::trial;
use condatainer_stack::process::{ENTER, SERVE, entry, server, tree};

/// Is one of them, if this process was started as one.
pub(crate) fn process() -> Option<ExitCode> {
    let mut words = std::env::args_os().skip(1);
    let verb = words.next()?;
    let rest = || words.collect::<Vec<OsString>>();
    match verb.to_str()? {
        SERVE => Some(server::serve(tree::open)),
        ENTER => Some(entry::enter(&rest())),
        trial::VERB => rest().first().map(|place| trial::tried(Path::new(place))),
        _ => None,
    }
}
