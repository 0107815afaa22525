//! The numbers of the system calls, which are others on each architecture (x86-64's syscall_64.tbl, and the generic unistd.h of arm64).

const fn number(x86_64: usize, aarch64: usize) -> usize {
    if cfg!(target_arch = "x86_64") { x86_64 } else { aarch64 }
}

pub(crate) const CHDIR: usize = number(80, 49);
pub(crate) const CLOCK_GETTIME: usize = number(228, 113);
pub(crate) const CLONE: usize = number(56, 220);
pub(crate) const CLOSE: usize = number(3, 57);
pub(crate) const CLOSE_RANGE: usize = number(436, 436);
pub(crate) const CONNECT: usize = number(42, 203);
pub(crate) const DUP3: usize = number(292, 24);
pub(crate) const EXECVE: usize = number(59, 221);
pub(crate) const EXIT_GROUP: usize = number(231, 94);
pub(crate) const FACCESSAT: usize = number(269, 48);
pub(crate) const FCHMODAT: usize = number(268, 53);
pub(crate) const FCNTL: usize = number(72, 25);
pub(crate) const FTRUNCATE: usize = number(77, 46);
pub(crate) const GETDENTS64: usize = number(217, 61);
pub(crate) const GETPGID: usize = number(121, 155);
pub(crate) const GETPID: usize = number(39, 172);
pub(crate) const GETPPID: usize = number(110, 173);
pub(crate) const GETSOCKOPT: usize = number(55, 209);
pub(crate) const GETUID: usize = number(102, 174);
pub(crate) const IOCTL: usize = number(16, 29);
pub(crate) const KILL: usize = number(62, 129);
pub(crate) const LSEEK: usize = number(8, 62);
pub(crate) const MEMFD_CREATE: usize = number(319, 279);
pub(crate) const MKDIRAT: usize = number(258, 34);
pub(crate) const MMAP: usize = number(9, 222);
pub(crate) const NEWFSTATAT: usize = number(262, 79);
pub(crate) const OPENAT: usize = number(257, 56);
pub(crate) const OPENAT2: usize = number(437, 437);
pub(crate) const PPOLL: usize = number(271, 73);
pub(crate) const PRCTL: usize = number(157, 167);
pub(crate) const PRLIMIT64: usize = number(302, 261);
pub(crate) const READ: usize = number(0, 63);
pub(crate) const READLINKAT: usize = number(267, 78);
pub(crate) const RECVFROM: usize = number(45, 207);
pub(crate) const RECVMSG: usize = number(47, 212);
pub(crate) const RT_SIGACTION: usize = number(13, 134);
pub(crate) const RT_SIGPROCMASK: usize = number(14, 135);
pub(crate) const RT_SIGTIMEDWAIT: usize = number(128, 137);
pub(crate) const SENDMSG: usize = number(46, 211);
pub(crate) const SENDTO: usize = number(44, 206);
pub(crate) const SHUTDOWN: usize = number(48, 210);
pub(crate) const SIGNALFD4: usize = number(289, 74);
pub(crate) const SOCKET: usize = number(41, 198);
pub(crate) const STATX: usize = number(332, 291);
pub(crate) const UNLINKAT: usize = number(263, 35);
pub(crate) const WAIT4: usize = number(61, 260);
pub(crate) const WRITE: usize = number(1, 64);
