//! What the kernel and the server agree on before the first request.

use fuser::{InitFlags, KernelConfig};

use super::super::requests::Requests;

/// Bytes of one request to write, and of one to read.
pub(super) const LARGEST: u32 = 1 << 20;
/// Requests for reading ahead that may wait for an answer.
const READ_AHEAD: u16 = 64;

/// `acls` says whether lists of access rights are obeyed. What an old kernel does not offer it does without.
pub(super) fn agree(config: &mut KernelConfig, acls: bool, requests: &Requests) {
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
    // The kernel drops what it keeps of a file when the file's time is new. Others may have written to a directory of the host; and below an
    // overlay a file has a number, and content that the kernel keeps, for each of its names. Elsewhere the kernel would only read again
    // what it has written itself.
    wanted.set(InitFlags::FUSE_AUTO_INVAL_DATA, requests.any_may_change() || requests.are_below_an_overlay());
    let _ = config.add_capabilities(wanted & config.capabilities());
    let _ = config.set_max_write(LARGEST);
    if let Err(most) = config.set_max_readahead(LARGEST) {
        let _ = config.set_max_readahead(most);
    }
    let _ = config.set_max_background(READ_AHEAD);
}
