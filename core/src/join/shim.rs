//! What the first process in a container was given to do.

use std::io;

use condatainer_images::system::process::Process;
use condatainer_programs::command::Job;

/// What the shim was given to do: the last of its descriptors, whose number is its last argument.
pub(crate) fn job_of(shim: &Process) -> io::Result<Job> {
    let not_it = || io::Error::other("it is not the shim");
    let file = shim.arguments()?.into_iter().nth(3).and_then(|number| number.into_string().ok()?.parse::<u32>().ok());
    let text = std::fs::read(shim.directory().join("fd").join(file.ok_or_else(not_it)?.to_string()))?;
    Job::read(&text).ok_or_else(not_it)
}
