//! What the shim asks of the kernel.

use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;
use core::ffi::c_char;
use core::ptr;

use crate::command::{Files, Identity, System, Variables};
use crate::freestanding::call::{call, execute, uninterrupted};
use crate::freestanding::complain::STDERR;
use crate::freestanding::errno::ENOEXEC;
use crate::freestanding::file::{AT_FDCWD, close};
use crate::freestanding::message::{MSG_NOSIGNAL, Message, Part, Rights};
// Not faccessat, which asks a FUSE program once more.
use crate::freestanding::numbers::{
    CHDIR, FCNTL, IOCTL, LSEEK, MEMFD_CREATE, MMAP, NEWFSTATAT, OPENAT, PRCTL, READ, RECVMSG, SENDTO, WRITE,
};

const F_SETFD: usize = 2;
const FD_CLOEXEC: usize = 1;
const MAP_PRIVATE: usize = 2;
const MAP_PRIVATE_ANONYMOUS: usize = 0x22;
const MSG_CMSG_CLOEXEC: usize = 0x4000_0000;
const O_CLOEXEC_NONBLOCK: usize = 0o2_004_000;
const PR_SET_NO_NEW_PRIVS: usize = 38;
const PROT_READ: usize = 1;
const PROT_READ_WRITE: usize = 3;
const SEEK_END: usize = 2;
const STDIN: usize = 0;
/// Answered by terminals alone, with a `struct termios` of 60 bytes at most.
const TCGETS: usize = 0x5401;
/// As much as the kernel reads of a script.
const HEAD: usize = 256;
/// Room for a `struct stat`, which is 144 bytes at most.
const STAT_WORDS: usize = 32;

/// Forbids this process, and all that it starts, to gain privileges by what is executed; `false` where that failed.
pub(crate) fn forbid_new_privileges() -> bool {
    // SAFETY: numbers only.
    unsafe { call(PRCTL, [PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0]) }.is_ok()
}

/// The socket to whoever has started the container.
pub(crate) struct Caller {
    socket: usize,
}

impl Caller {
    /// Takes over the inherited descriptors, so that none of them reaches the command.
    pub(crate) fn adopt(socket: usize, image: usize) -> Option<Self> {
        close(image);
        close_on_exec(socket)?;
        Some(Self { socket })
    }

    /// Whether the words are on their way. They are few: they are sent all or not at all.
    pub(crate) fn say(&self, words: &[u8]) -> bool {
        let message = [self.socket, words.as_ptr() as usize, words.len(), MSG_NOSIGNAL, 0, 0];
        // SAFETY: the words are alive.
        uninterrupted(|| unsafe { call(SENDTO, message) }) == Ok(words.len())
    }

    /// One byte, and the descriptor that came with it; `None` where nobody is there any more.
    pub(crate) fn answer(&self) -> Option<(u8, Option<usize>)> {
        let (mut answer, mut rights) = (0_u8, Rights::<1>::room());
        let part = Part { start: &raw mut answer, length: 1 };
        let mut message = Message::of(&raw const part, &raw mut rights);
        let arguments = [self.socket, &raw mut message as usize, MSG_CMSG_CLOEXEC, 0, 0, 0];
        // SAFETY: there is room for one byte and for what may come with it.
        let read = uninterrupted(|| unsafe { call(RECVMSG, arguments) });
        let descriptor = rights.received().and_then(|[descriptor]| usize::try_from(descriptor).ok());
        (read == Ok(1)).then_some((answer, descriptor))
    }
}

fn close_on_exec(descriptor: usize) -> Option<()> {
    set_flags(descriptor, FD_CLOEXEC)
}

fn set_flags(descriptor: usize, flags: usize) -> Option<()> {
    // SAFETY: the call has nothing to read or to write.
    unsafe { call(FCNTL, [descriptor, F_SETFD, flags, 0, 0, 0]) }.ok().map(|_| ())
}

/// What a sealed memory file holds. It stays open until the exec: those who join the container read it too.
pub(crate) fn content(file: usize) -> Option<&'static [u8]> {
    close_on_exec(file)?;
    // SAFETY: the call has nothing to read or to write.
    let size = unsafe { call(LSEEK, [file, 0, SEEK_END, 0, 0, 0]) }.ok()?;
    // SAFETY: nothing that there is already is touched.
    let start = unsafe { call(MMAP, [0, size, PROT_READ, MAP_PRIVATE, file, 0]) }.ok()?;
    // SAFETY: so many bytes are mapped, for ever; the file is sealed, so they neither change nor go.
    Some(unsafe { core::slice::from_raw_parts(ptr::with_exposed_provenance(start), size) })
}

/// The address of so many new bytes.
pub(crate) fn map(size: usize) -> Option<usize> {
    let no_file = usize::MAX;
    // SAFETY: nothing that there is already is touched.
    unsafe { call(MMAP, [0, size, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS, no_file, 0]) }.ok()
}

/// The system that the container shows.
#[derive(Default)]
pub(crate) struct Kernel {
    /// A descriptor of the directory with a zsh's files.
    pub(crate) startup: Option<usize>,
}

impl Files for Kernel {
    fn exists(&self, path: &[u8]) -> bool {
        identity(path).is_ok()
    }
}

/// Device and inode are the first two fields of a `struct stat` on both architectures.
fn identity(path: &[u8]) -> Result<Identity, i32> {
    let (path, mut stat) = (text(&[path]), [0_u64; STAT_WORDS]);
    let question = [AT_FDCWD, path.as_ptr() as usize, stat.as_mut_ptr() as usize, 0, 0, 0];
    // SAFETY: a NUL byte ends the path, and there is room for the answer.
    unsafe { call(NEWFSTATAT, question) }.map(|_| (stat[0], stat[1]))
}

impl System for Kernel {
    fn enter(&self, directory: &[u8]) -> Result<Identity, i32> {
        // SAFETY: a NUL byte ends the path.
        unsafe { call(CHDIR, [text(&[directory]).as_ptr() as usize, 0, 0, 0, 0, 0]) }?;
        identity(b".")
    }

    /// As execvp(3), which gives the shell what the kernel does not know.
    fn ready(&self, arguments: &[Vec<u8>], variables: &Variables) -> impl Fn(&[u8]) -> i32 {
        let arguments: Vec<_> = arguments.iter().map(|argument| text(&[argument])).collect();
        let variables: Vec<_> = variables.iter().map(|(name, value)| text(&[name, b"=", value])).collect();
        let become_file = move |file: &[u8], arguments: &mut dyn Iterator<Item = &Vec<u8>>| {
            let (arguments, environment) = (list(arguments), list(variables.iter()));
            // SAFETY: a NUL byte ends each text, a null pointer each list, and the texts live longer.
            unsafe { execute(file.as_ptr().cast(), arguments.as_ptr(), environment.as_ptr()) }
        };
        move |file| {
            let (file, shell) = (text(&[file]), text(&[b"/bin/sh"]));
            match become_file(&file, &mut arguments.iter()) {
                ENOEXEC => become_file(&shell, &mut [&shell, &file].into_iter().chain(arguments.iter().skip(1))),
                errno => errno,
            }
        }
    }

    fn head(&self, path: &[u8]) -> Vec<u8> {
        let (path, mut head) = (text(&[path]), vec![0; HEAD]);
        // SAFETY: a NUL byte ends the path.
        let Ok(file) = (unsafe { call(OPENAT, [AT_FDCWD, path.as_ptr() as usize, O_CLOEXEC_NONBLOCK, 0, 0, 0]) })
        else {
            return Vec::new();
        };
        let buffer = head.as_mut_ptr() as usize;
        // SAFETY: there is room for so many bytes.
        let read = uninterrupted(|| unsafe { call(READ, [file, buffer, HEAD, 0, 0, 0]) });
        close(file);
        head.truncate(read.unwrap_or(0));
        head
    }

    fn has_terminal(&self) -> bool {
        let mut settings = [0_u64; STAT_WORDS];
        let buffer = settings.as_mut_ptr() as usize;
        // SAFETY: there is room for the answer.
        [STDIN, STDERR].iter().all(|stream| unsafe { call(IOCTL, [*stream, TCGETS, buffer, 0, 0, 0]) }.is_ok())
    }

    fn document(&self, text: impl FnOnce(usize) -> Vec<u8>) -> Option<Vec<u8>> {
        let name = c"condatainer-shell".as_ptr() as usize;
        // SAFETY: a NUL byte ends the name.
        let descriptor = unsafe { call(MEMFD_CREATE, [name, 0, 0, 0, 0, 0]) }.ok()?;
        let text = text(descriptor);
        // SAFETY: the text is alive. Memory takes all of it at once.
        let written =
            uninterrupted(|| unsafe { call(WRITE, [descriptor, text.as_ptr() as usize, text.len(), 0, 0, 0]) });
        let path = [b"/proc/self/fd/".as_slice(), descriptor.to_string().as_bytes()].concat();
        (written == Ok(text.len()) && self.exists(&path)).then_some(path)
    }

    fn startup(&self) -> Option<Vec<u8>> {
        let descriptor = self.startup?;
        set_flags(descriptor, 0)?;
        Some([b"/proc/self/fd/".as_slice(), descriptor.to_string().as_bytes()].concat())
    }
}

/// As the kernel takes it, with a NUL byte behind it.
fn text(parts: &[&[u8]]) -> Vec<u8> {
    let mut text = Vec::with_capacity(parts.iter().map(|part| part.len()).sum::<usize>() + 1);
    parts.iter().for_each(|part| text.extend_from_slice(part));
    text.push(0);
    text
}

/// As the kernel takes it, with a null pointer behind it.
fn list<'a>(texts: impl Iterator<Item = &'a Vec<u8>>) -> Vec<*const c_char> {
    texts.map(|text| text.as_ptr().cast()).chain([ptr::null()]).collect()
}
