//! The submitting process's own environment, and where its command line lies in memory.

use std::ffi::{CString, OsString, c_char, c_int};

use crate::given::Origin;
use crate::host::Submitter;

/// srun, sbatch or salloc.
#[derive(Debug)]
pub(crate) struct Process;

impl Submitter for Process {
    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn set_variable(&mut self, name: &str, value: Option<&str>) {
        let Ok(name) = CString::new(name) else { return };
        match value.map(CString::new) {
            // SAFETY: both strings live across the call, which copies them; Slurm calls plugins from its only thread so far.
            Some(Ok(value)) => unsafe { libc::setenv(name.as_ptr(), value.as_ptr(), 1) },
            // SAFETY: as above.
            _ => unsafe { libc::unsetenv(name.as_ptr()) },
        };
    }
}

unsafe extern "C" {
    /// getopt's index of the first word that is no option (POSIX).
    static optind: c_int;
}

/// The command line of this process, if it is an sbatch, and where its script stands there: sbatch has just read its options.
pub(crate) fn sbatch_command_line() -> Option<(Vec<OsString>, usize)> {
    let program = std::env::current_exe().ok()?;
    program.file_name()?.to_str()?.starts_with("sbatch").then_some(())?;
    // SAFETY: an int of libc's that only this thread, which runs Slurm's getopt, changes.
    let at = unsafe { optind };
    Some((std::env::args_os().collect(), usize::try_from(at).ok()?))
}

/// Whether an option's argument was typed on the command line: then getopt points into the process's argument strings. Lines of a
/// batch script are parsed from memory elsewhere. The address is compared, never followed.
pub(crate) fn origin(argument: *const c_char) -> Origin {
    let address = argument as u64;
    match std::fs::read_to_string("/proc/self/stat").ok().and_then(|stat| argument_strings(&stat)) {
        Some((start, end)) if (start..end).contains(&address) => Origin::CommandLine,
        _ => Origin::Script,
    }
}

/// `arg_start` and `arg_end`, fields 48 and 49 of proc_pid_stat(5).
fn argument_strings(stat: &str) -> Option<(u64, u64)> {
    let after_name = stat.rsplit_once(')')?.1;
    let mut fields = after_name.split_ascii_whitespace().skip(45);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_are_found() {
        let fields: Vec<String> = (3..=52).map(|n| (n * 10).to_string()).collect();
        let stat = format!("7 (a) b) {}", fields.join(" "));
        assert_eq!(argument_strings(&stat), Some((480, 490)));
        assert_eq!(argument_strings("7 (a) S 1"), None);
    }

    #[test]
    fn memory_of_our_own_is_no_command_line() {
        assert_eq!(origin(c"--condatainer".as_ptr()), Origin::Script);
        assert_eq!(origin(std::ptr::null()), Origin::Script);
    }
}
