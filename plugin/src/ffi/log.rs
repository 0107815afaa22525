//! Lines for the user and the administrator, through Slurm's own log: srun shows them, slurmd writes them to its file.

use std::ffi::CString;

use condatainer_images::system::escape::message;

use super::abi;

/// An error: `srun: error: condatainer: …`.
pub(crate) fn error(line: &str) {
    let line = CString::new(format!("condatainer: {}", message(line))).unwrap_or_default();
    // SAFETY: the format takes exactly one string, which lives until the call returns.
    unsafe { abi::slurm_error(c"%s".as_ptr(), line.as_ptr()) };
}
