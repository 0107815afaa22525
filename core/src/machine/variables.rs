//! The variables of another process, in the form in which a container's shim keeps them.

use std::io;

use condatainer_images::system::process::Process;
use condatainer_programs::command::{Variables, assignment};

/// Those that it was started with.
///
/// # Errors
/// It is gone, or may not be asked.
pub(crate) fn variables_of(process: &Process) -> io::Result<Variables> {
    Ok(process.environ()?.split(|byte| *byte == 0).filter_map(assignment).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt;

    #[test]
    fn our_own() {
        let variables = variables_of(&Process::this()).unwrap();
        assert_eq!(variables[b"PATH".as_slice()], std::env::var_os("PATH").unwrap().as_bytes());
    }
}
