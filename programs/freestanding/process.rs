//! Processes: what the kernel shows of one, and what one is called.

use core::ffi::CStr;

use super::call::call;
use super::file;
use super::numbers::PRCTL;
use super::path::{decimal, joined};

/// Of wait4(2): it does not wait.
pub(crate) const WNOHANG: usize = 1;
const PR_SET_NAME: usize = 15;

/// `/proc/NUMBER/stat`, see proc_pid_stat(5).
pub(crate) struct Stat<'a> {
    /// What the process is called. It stands in brackets, and may hold anything, also brackets.
    pub(crate) name: &'a [u8],
    rest: &'a [u8],
}

impl<'a> Stat<'a> {
    /// `None` where there is no such process, or its line cannot be read.
    pub(crate) fn of(process: usize, room: &'a mut [u8; 1024]) -> Option<Self> {
        let (mut path, mut digits) = ([0; 32], [0; 20]);
        let path = joined(&mut path, &[b"/proc/", decimal(process, &mut digits), b"/stat"])?;
        let line: &[u8] = file::read(path, room)?;
        let start = line.iter().position(|byte| *byte == b'(')?;
        let end = line.iter().rposition(|byte| *byte == b')')?;
        Some(Self { name: line.get(start + 1..end)?, rest: line.get(end + 1..)? })
    }

    /// The field with this number on the manual's page, which is 3 at least.
    pub(crate) fn field(&self, number: usize) -> Option<&'a [u8]> {
        self.rest.split(|byte| *byte == b' ').filter(|word| !word.is_empty()).nth(number.checked_sub(3)?)
    }
}

/// The name that ps(1) and others show of this process.
pub(crate) fn call_itself(name: &CStr) {
    // SAFETY: the name is alive.
    let _ = unsafe { call(PRCTL, [PR_SET_NAME, name.as_ptr() as usize, 0, 0, 0, 0]) };
}
