//! What the kernel and the server agree on before the first request.

use fuser::{InitFlags, KernelConfig};

/// Bytes of one request to write, and of one to read.
pub(super) const LARGEST: u32 = 1 << 20;
/// Requests for reading ahead that may wait for an answer.
const READ_AHEAD: u16 = 64;

/// `acls` says whether lists of access rights are obeyed, `may_change` whether content may change without the kernel's doing, or under
/// another number. What an old kernel
/// does not offer it does without.
pub(super) fn agree(config: &mut KernelConfig, acls: bool, may_change: bool) {
    let mut wanted = InitFlags::FUSE_ASYNC_READ
        | InitFlags::FUSE_ASYNC_DIO
        | InitFlags::FUSE_PARALLEL_DIROPS
        | InitFlags::FUSE_DO_READDIRPLUS
        | InitFlags::FUSE_READDIRPLUS_AUTO
        | InitFlags::FUSE_CACHE_SYMLINKS
        | InitFlags::FUSE_HANDLE_KILLPRIV_V2
        | InitFlags::FUSE_MAX_PAGES
        | InitFlags::FUSE_DONT_MASK;
    wanted.set(InitFlags::FUSE_POSIX_ACL, acls);
    // The kernel would read again what it has written itself: it hears only later of the time that the server has given that.
    wanted.set(InitFlags::FUSE_AUTO_INVAL_DATA, may_change);
    let _ = config.add_capabilities(wanted & config.capabilities());
    let _ = config.set_max_write(LARGEST);
    if let Err(most) = config.set_max_readahead(LARGEST) {
        let _ = config.set_max_readahead(most);
    }
    let _ = config.set_max_background(READ_AHEAD);
}
