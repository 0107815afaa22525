//! Descriptors that a started engine inherits on purpose: memory files for the shim, its job and the engine's configuration.

use std::ffi::{CStr, OsString};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};

use crate::run::error::{RunError, system};
use condatainer_images::tools::memfd;
use condatainer_programs::SHIM;

/// The shim as an executable memory file, not close-on-exec: the container execs it through [`path`].
pub(crate) fn shim() -> Result<OwnedFd, RunError> {
    memfd::program(c"condatainer-shim", SHIM, memfd::Flags::empty())
        .map_err(system("cannot make a program in memory, which sysctl vm.memfd_noexec=1 allows and 2 forbids"))
}

/// What the shim is to do, as a memory file: everybody can read the arguments of a process, and these words hold the command's
/// variables. A NUL byte ends each word. Nobody can change the file any more, so the shim may map it.
pub(crate) fn job(words: &[OsString]) -> Result<OwnedFd, RunError> {
    let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
    if let Some(word) = words.iter().find(|word| word.contains(&0)) {
        let name = String::from_utf8_lossy(word.split(|byte| b"=\0".contains(byte)).next().unwrap_or_default());
        return Err(system(format!("{name}: a NUL byte cannot be handed over"))(Errno::EINVAL.into()));
    }
    let text: Vec<u8> = words.iter().flat_map(|word| [*word, &[0]]).flatten().copied().collect();
    let file = memory_file(c"condatainer-job", &text)?;
    let seals = SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL;
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals)).map_err(|e| system("cannot seal a memory file")(e.into()))?;
    Ok(file)
}

/// A memory file that the engine inherits.
pub(crate) fn memory_file(name: &CStr, content: &[u8]) -> Result<OwnedFd, RunError> {
    memfd::data(name, content, memfd::Flags::ALLOW_SEALING).map_err(system("cannot make a memory file"))
}

/// The path under which a child finds an inherited descriptor.
pub(crate) fn path(fd: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;
    use std::process::{Child, Command, Output, Stdio};
    use std::sync::Mutex;

    use super::*;
    use crate::run::engine::shim_socket::{Report, ShimSocket};

    /// A shim that has said that it runs, and our end of its socket. One at a time, as what one inherits, all inherit.
    fn started(words: &[&str], search: &Path) -> (ShimSocket, Child) {
        static ALONE: Mutex<()> = Mutex::new(());
        let _alone = ALONE.lock();
        let ((link, far_end), image) = (ShimSocket::pair().unwrap(), shim().unwrap());
        let job = job(&words.iter().map(OsString::from).collect::<Vec<_>>()).unwrap();
        let mut command = Command::new(path(&image));
        command.args([far_end.as_raw_fd(), image.as_raw_fd(), job.as_raw_fd()].map(|fd| fd.to_string()));
        command.env_clear().env("PATH", search).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        while link.read() == Report::Silent {
            assert_eq!(child.try_wait().unwrap(), None);
        }
        (link, child)
    }

    fn output(words: &[&str], search: &Path) -> (Output, Report) {
        let (mut link, child) = started(words, search);
        link.let_go().unwrap();
        (child.wait_with_output().unwrap(), link.read())
    }

    /// A directory with one script.
    fn with_script(text: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("script"), text).unwrap();
        fs::set_permissions(dir.path().join("script"), fs::Permissions::from_mode(0o755)).unwrap();
        dir
    }

    #[test]
    fn the_shim_becomes_a_script_without_an_interpreter_line() {
        let dir = with_script("echo \"$0 $1 $A\"; PATH=/usr/bin:/bin; ls -l /proc/self/fd");
        let (output, report) = output(&["--set", "A=b  c", "--", "script", "x y"], dir.path());
        let said = String::from_utf8(output.stdout).unwrap();
        let (first, descriptors) = said.split_once('\n').unwrap();
        assert_eq!(first, format!("{}/script x y b  c", dir.path().display()));
        assert!(!descriptors.contains("condatainer-") && !descriptors.contains("socket:"), "{descriptors}");
        assert_eq!(report, Report::Silent);
    }

    #[test]
    fn the_shim_says_why_it_cannot_become_a_command() {
        let dir = with_script("#!/no/such/interpreter\n");
        let of = |command| {
            let (output, report) = output(&["--", command], dir.path());
            (report, output.status.code())
        };
        assert_eq!(of("script"), (Report::Failed(80), Some(126)));
        assert_eq!(of("no-such-script"), (Report::Failed(2), Some(127)));
        assert_eq!(of("/proc/self/status"), (Report::Failed(13), Some(126)));
    }

    #[test]
    fn the_shim_gives_up_when_nobody_answers() {
        let (link, mut child) = started(&["--", "/bin/true"], Path::new("/bin"));
        drop(link);
        assert_eq!(child.wait().unwrap().code(), Some(125));
        let status = Command::new(path(&shim().unwrap())).arg("no number").status().unwrap();
        assert_eq!(status.code(), Some(125));
    }
}
