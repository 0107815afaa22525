//! What a session tells about itself: the process that keeps it, the first one in it, its layers, and all that a process needs that
//! is to become like the first one was.
//!
//! The memory file has a line of JSON, then words and variables with NUL bytes between them, as /proc shows such, and then
//! a line for each process that has joined.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::sys::resource::{Resource, getrlimit};
use nix::unistd::{Pid, geteuid};
use serde::{Deserialize, Serialize};

use super::status::{PRIVILEGES, SECCOMP};
use crate::machine::variables::variables_of;
use crate::plan::{Overlay, Plan};
use condatainer_images::system::process::Process;
use condatainer_images::tools::memfd;
use condatainer_programs::command::{Job, Variables, assignment};

/// Variables have two megabytes at most.
const MAX: u64 = 8 << 20;

/// See the module.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) keeper: i32,
    pub(crate) first: i32,
    /// The container's mount namespace, by the kernel's name for it.
    pub(crate) namespace: PathBuf,
    pub(crate) user_namespace: Option<PathBuf>,
    /// `PATH` or `PATH:rw`, lowest first.
    pub(crate) layers: Vec<String>,
    /// Device and inode of each.
    pub(crate) identities: Vec<(u64, u64)>,
    /// Lines of proc_pid_status(5), as the container's start has made them: the command may change its own.
    status: Vec<(String, String)>,
    words: usize,
    variables: usize,
    #[serde(skip)]
    blocks: Vec<u8>,
}

impl Record {
    /// Of the container whose first process, `first`, still waits for the word to become the command.
    pub(crate) fn of(plan: &Plan, first: Pid) -> io::Result<Self> {
        let process = Process::numbered(first);
        let words = block(plan.job().into_iter().map(OsString::into_vec));
        let variables = block(variables_of(&process)?.into_iter().map(|(name, value)| [name, value].join(&b'=')));
        let line = |name: &&str| Some(((*name).to_owned(), process.status(name)?));
        Ok(Self {
            keeper: Pid::this().as_raw(),
            first: first.as_raw(),
            namespace: process.namespace_name("mnt").ok_or(io::ErrorKind::PermissionDenied)?,
            user_namespace: process.namespace_name("user"),
            layers: plan.watch.iter().map(|watch| shown(&watch.path, plan)).collect(),
            identities: plan.watch.iter().map(|watch| watch.identity).collect(),
            status: PRIVILEGES.iter().chain(&[SECCOMP]).filter_map(line).collect(),
            words: words.len(),
            variables: variables.len(),
            blocks: [words, variables].concat(),
        })
    }

    /// The memory file that says it.
    pub(super) fn written(&self) -> io::Result<File> {
        let mut text = serde_json::to_vec(self)?;
        text.push(b'\n');
        text.extend_from_slice(&self.blocks);
        let (limit, _) = getrlimit(Resource::RLIMIT_FSIZE)?;
        if limit < text.len() as u64 {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let flags = memfd::Flags::CLOEXEC | memfd::Flags::ALLOW_SEALING;
        memfd::data(c"condatainer-session", &text, flags).map(File::from)
    }

    /// What a memory file says; `None` where it is none of ours, or of another release, or another user has made it.
    pub(crate) fn read(path: &Path) -> Option<Self> {
        let mut text = Vec::new();
        let file = File::open(path).ok()?;
        if file.metadata().ok()?.uid() != geteuid().as_raw() {
            return None;
        }
        file.take(MAX).read_to_end(&mut text).ok()?;
        let end = text.iter().position(|byte| *byte == b'\n')?;
        let record: Self = serde_json::from_slice(text.get(..end)?).ok()?;
        let blocks = text.get(end + 1..)?.get(..record.words.checked_add(record.variables)?)?.to_vec();
        Some(Self { blocks, ..record })
    }

    /// What the container does with a command.
    pub(crate) fn job(&self) -> Option<Job> {
        Job::read(self.blocks.get(..self.words)?)
    }

    /// What the container's start has made of its keeper's variables.
    pub(crate) fn container_variables(&self) -> Variables {
        parts(self.blocks.get(self.words..).unwrap_or_default()).filter_map(assignment).collect()
    }

    pub(crate) fn status(&self, line: &str) -> Option<String> {
        self.status.iter().find(|(name, _)| name == line).map(|(_, value)| value.clone())
    }
}

fn shown(path: &Path, plan: &Plan) -> String {
    let is_written = plan.stack.iter().any(|overlay| matches!(overlay, Overlay::Rw(written) if written == path));
    format!("{}{}", path.display(), if is_written { ":rw" } else { "" })
}

fn block(parts: impl Iterator<Item = Vec<u8>>) -> Vec<u8> {
    parts.flat_map(|part| part.into_iter().chain([0])).collect()
}

fn parts(block: &[u8]) -> impl Iterator<Item = &[u8]> {
    block.split_inclusive(|byte| *byte == 0).filter_map(|part| part.strip_suffix(&[0]))
}

#[cfg(test)]
impl Record {
    /// One for tests.
    pub(super) fn sample() -> Self {
        let words = block([&b"--set"[..], b"A=b\nc", b"--", b""].into_iter().map(<[u8]>::to_vec));
        let variables = block([&b"PATH=/bin"[..], b"ODD=\xff"].into_iter().map(<[u8]>::to_vec));
        Self {
            keeper: Pid::this().as_raw(),
            first: 1,
            namespace: "mnt:[1]".into(),
            user_namespace: None,
            layers: vec!["/env.img:rw".into()],
            identities: vec![(1, 2)],
            status: vec![("CapEff".into(), "0".into())],
            words: words.len(),
            variables: variables.len(),
            blocks: [words, variables].concat(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;

    #[test]
    fn what_is_written_is_read() {
        let file = Record::sample().written().unwrap();
        let read = Record::read(Path::new(&format!("/proc/self/fd/{}", file.as_raw_fd()))).unwrap();
        assert_eq!((read.first, read.layers.len(), &read.identities[..]), (1, 1, &[(1, 2)][..]));
        assert_eq!(read.container_variables(), Record::sample().container_variables());
        assert_eq!(read.container_variables()[b"ODD".as_slice()], b"\xff");
        assert_eq!(read.job().unwrap().command, [Vec::<u8>::new()]);
        assert_eq!((read.status("CapEff").as_deref(), read.status("CapPrm")), (Some("0"), None));
    }

    #[test]
    fn what_is_no_record_is_none() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for text in [&b""[..], b"{}\n", b"no line", b"{\"keeper\":1}\nx"] {
            std::fs::write(file.path(), text).unwrap();
            assert!(Record::read(file.path()).is_none(), "{text:?}");
        }
        let mut text = serde_json::to_vec(&Record::sample()).unwrap();
        text.extend_from_slice(b"\nshort");
        std::fs::write(file.path(), text).unwrap();
        assert!(Record::read(file.path()).is_none());
    }
}
