//! The kernel's requests: from the protocol to [`Requests`] and back.
//!
//! Nobody else can change what is served, so the kernel may keep names, missing names, attributes and content as long as it likes; but for
//! what lies in a directory of the host, of which it keeps content as long as the time of its last change stays, no listings and no missing names. Where
//! there are none, opening and closing need no message: `ENOSYS` tells it so, and it keeps content and listings all the same
//! (`FOPEN_KEEP_CACHE` and `FOPEN_CACHE_DIR` are what it takes then). A file of the host is held while a program has it open.
//!
//! What is said is in the words of `wire` and `answers`, after what is `agreed`, and `kept` says how long it counts. `asked` is what
//! answers, and `waiting` how its threads wait for the next request.

mod agreed;
mod answers;
mod asked;
mod kept;
mod waiting;
mod wire;

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::SystemTime;

use fuser::{
    BsdFileFlags, Errno as Code, FileHandle, Filesystem, FopenFlags, Generation, INodeNo, InitFlags, IoctlFlags,
    KernelConfig, LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory,
    ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyIoctl, ReplyLseek, ReplyOpen, ReplyStatfs, ReplyWrite, ReplyXattr,
    Request, TimeOrNow, WriteFlags,
};
use nix::errno::Errno;

use super::tree::{Changes, Listed, New, Renaming};
use agreed::agree;
use answers::{answer_attributes, answer_empty, answer_entry, answer_opening, answer_read, answer_room, answer_xattr};
pub(super) use asked::Kernel;
use condatainer_formats::ext::FileType;
use kept::{KEPT, kept, kept_listing, kept_names, kept_of};
use wire::{attributes, device, error, from_system, kind, missing, moment, new, only_a_name, permissions};

impl Filesystem for Kernel {
    fn init(&mut self, _request: &Request, config: &mut KernelConfig) -> io::Result<()> {
        self.opens_directories |= !config.capabilities().contains(InitFlags::FUSE_NO_OPENDIR_SUPPORT);
        agree(config, self.acls, &self.requests);
        Ok(())
    }

    fn lookup(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let _taken = self.taken(request);
        match self.asked(request, |requests| requests.lookup(parent.0, name.as_bytes())) {
            // Node 0 is a name that does not exist, which the kernel keeps as well.
            Err(Errno::ENOENT) if !self.requests.may_change(parent.0) => reply.entry(&KEPT, &missing(), Generation(0)),
            answer => {
                let kept = kept(&self.requests, &answer);
                answer_entry(reply, kept_names(&self.requests, parent.0), kept, answer);
            }
        }
    }

    fn forget(&self, _request: &Request, node: INodeNo, count: u64) {
        let _taken = self.forgets();
        self.requests.forget(node.0, count);
    }

    fn getattr(&self, request: &Request, node: INodeNo, _file: Option<FileHandle>, reply: ReplyAttr) {
        let _taken = self.taken(request);
        let answer = self.requests.attributes(node.0);
        answer_attributes(reply, node, self.requests.shared(node.0), kept_of(&self.requests, node.0), answer);
    }

    fn setattr(
        &self,
        request: &Request,
        node: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        accessed: Option<TimeOrNow>,
        modified: Option<TimeOrNow>,
        changed: Option<SystemTime>,
        _file: Option<FileHandle>,
        _created: Option<SystemTime>,
        _archived: Option<SystemTime>,
        _backed_up: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let _taken = self.taken(request);
        let changes = Changes {
            mode: mode.map(permissions),
            uid,
            gid,
            size,
            accessed: accessed.map(moment),
            modified: modified.map(moment),
            changed: changed.map(from_system),
            keeps: size.is_some() && !self.strips(request, node),
        };
        let answer = self.asked(request, |requests| requests.change(node.0, &changes));
        answer_attributes(reply, node, self.requests.shared(node.0), kept_of(&self.requests, node.0), answer);
    }

    fn readlink(&self, request: &Request, node: INodeNo, reply: ReplyData) {
        let _taken = self.taken(request);
        match self.requests.target(node.0) {
            Ok(target) => reply.data(&target),
            Err(code) => reply.error(error(code)),
        }
    }

    fn mknod(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        number: u32,
        reply: ReplyEntry,
    ) {
        let _taken = self.taken(request);
        let kind = FileType::from_mode((mode & 0xFFFF) as u16);
        let new = New { device: device(number), ..new(request, kind, mode, umask) };
        let answer = self.asked(request, |requests| requests.make(parent.0, name.as_bytes(), &new));
        answer_entry(reply, KEPT, KEPT, answer);
    }

    fn mkdir(&self, request: &Request, parent: INodeNo, name: &OsStr, mode: u32, umask: u32, reply: ReplyEntry) {
        let _taken = self.taken(request);
        let new = new(request, FileType::Directory, mode, umask);
        answer_entry(reply, KEPT, KEPT, self.requests.make(parent.0, name.as_bytes(), &new));
    }

    fn symlink(&self, request: &Request, parent: INodeNo, name: &OsStr, target: &Path, reply: ReplyEntry) {
        let _taken = self.taken(request);
        let target = target.as_os_str().as_bytes();
        let new = New { target, ..new(request, FileType::Symlink, 0o777, 0) };
        answer_entry(reply, KEPT, KEPT, self.requests.make(parent.0, name.as_bytes(), &new));
    }

    fn unlink(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let _taken = self.taken(request);
        answer_empty(reply, self.requests.remove(parent.0, name.as_bytes(), false));
    }

    fn rmdir(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let _taken = self.taken(request);
        answer_empty(reply, self.requests.remove(parent.0, name.as_bytes(), true));
    }

    fn rename(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let _taken = self.taken(request);
        let how = Renaming {
            no_replace: flags.contains(RenameFlags::RENAME_NOREPLACE),
            exchange: flags.contains(RenameFlags::RENAME_EXCHANGE),
            whiteout: flags.contains(RenameFlags::RENAME_WHITEOUT),
        };
        let (from, to) = ((parent.0, name.as_bytes()), (new_parent.0, new_name.as_bytes()));
        answer_empty(reply, self.requests.rename(from, to, how));
    }

    fn link(&self, request: &Request, node: INodeNo, new_parent: INodeNo, new_name: &OsStr, reply: ReplyEntry) {
        let _taken = self.taken(request);
        let answer = self.requests.link(node.0, new_parent.0, new_name.as_bytes());
        let kept = kept(&self.requests, &answer);
        answer_entry(reply, kept, kept, answer);
    }

    fn open(&self, request: &Request, node: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        let _taken = self.taken(request);
        let opened = self.requests.any_may_change().then(|| self.requests.open(node.0));
        answer_opening(reply, opened, FopenFlags::FOPEN_KEEP_CACHE);
    }

    fn release(
        &self,
        request: &Request,
        node: INodeNo,
        _file: FileHandle,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        let _taken = self.taken(request);
        self.requests.close(node.0);
        reply.ok();
    }

    fn opendir(&self, request: &Request, node: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        let _taken = self.taken(request);
        let opened = self.opens_directories.then_some(Ok(()));
        answer_opening(reply, opened, kept_listing(&self.requests, node.0));
    }

    fn create(
        &self,
        request: &Request,
        _parent: INodeNo,
        _name: &OsStr,
        _mode: u32,
        _umask: u32,
        _flags: i32,
        reply: ReplyCreate,
    ) {
        let _taken = self.taken(request);
        // MKNOD does it, and opening needs no message.
        reply.error(Code::ENOSYS);
    }

    fn flush(&self, request: &Request, _node: INodeNo, _file: FileHandle, _owner: LockOwner, reply: ReplyEmpty) {
        let _taken = self.taken(request);
        reply.error(Code::ENOSYS);
    }

    fn read(
        &self,
        request: &Request,
        node: INodeNo,
        _file: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let _taken = self.taken(request);
        self.reads(node.0, offset, size);
        answer_read(reply, size, |room| self.asked(request, |requests| requests.read(node.0, offset, room)));
    }

    fn write(
        &self,
        request: &Request,
        node: INodeNo,
        _file: FileHandle,
        offset: u64,
        data: &[u8],
        how: WriteFlags,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let _taken = self.taken(request);
        let strip = self.strips(request, node);
        let whole = how.contains(WriteFlags::FUSE_WRITE_CACHE);
        match self.asked(request, |requests| requests.write(node.0, offset, data, strip, whole)) {
            Ok(length) => reply.written(length as u32),
            Err(code) => reply.error(error(code)),
        }
    }

    fn fsync(&self, request: &Request, node: INodeNo, _file: FileHandle, only_data: bool, reply: ReplyEmpty) {
        let _taken = self.taken(request);
        answer_empty(reply, self.requests.sync(node.0, only_data));
    }

    fn fsyncdir(&self, request: &Request, node: INodeNo, _file: FileHandle, only_data: bool, reply: ReplyEmpty) {
        let _taken = self.taken(request);
        answer_empty(reply, self.requests.sync(node.0, only_data));
    }

    fn fallocate(
        &self,
        request: &Request,
        node: INodeNo,
        _file: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        let _taken = self.taken(request);
        answer_empty(reply, self.requests.allocate(node.0, offset, length, mode, self.strips(request, node)));
    }

    fn lseek(&self, request: &Request, node: INodeNo, _file: FileHandle, offset: i64, whence: i32, reply: ReplyLseek) {
        let _taken = self.taken(request);
        let hole = match whence {
            libc::SEEK_DATA => false,
            libc::SEEK_HOLE => true,
            _ => return reply.error(Code::EINVAL),
        };
        let found = u64::try_from(offset).map_err(|_| Errno::ENXIO);
        let found = found.and_then(|offset| self.requests.seek(node.0, offset, hole));
        match found.and_then(|place| i64::try_from(place).map_err(|_| Errno::EOVERFLOW)) {
            Ok(place) => reply.offset(place),
            Err(code) => reply.error(error(code)),
        }
    }

    fn readdir(&self, request: &Request, node: INodeNo, _file: FileHandle, from: u64, mut reply: ReplyDirectory) {
        let _taken = self.taken(request);
        let mut add = |listed: &Listed<'_>| {
            !reply.add(INodeNo(listed.node), listed.next, kind(listed.kind), OsStr::from_bytes(listed.name))
        };
        let listed = self.asked(request, |requests| requests.list(node.0, from, &mut add));
        match listed {
            Ok(()) => reply.ok(),
            Err(code) => reply.error(error(code)),
        }
    }

    fn readdirplus(
        &self,
        request: &Request,
        node: INodeNo,
        _file: FileHandle,
        from: u64,
        mut reply: ReplyDirectoryPlus,
    ) {
        let _taken = self.taken(request);
        let names = kept_names(&self.requests, node.0);
        let mut any = false;
        let mut add = |listed: &Listed<'_>| {
            let name = OsStr::from_bytes(listed.name);
            // One that cannot be read is listed all the same, without a node: asking for it gives its error.
            let entry = self.requests.entry(node.0, listed).unwrap_or(None);
            let says = entry.as_ref().map_or_else(|| only_a_name(listed), attributes);
            let kept = entry.map_or(KEPT, |entry| kept(&self.requests, &Ok(entry))).min(names);
            let full = reply.add(says.ino, listed.next, name, &kept, &says, Generation(0));
            if let (true, Some(entry)) = (full, entry) {
                self.requests.forget(entry.node, 1);
            }
            any |= !full;
            !full
        };
        let listed = self.asked(request, |requests| requests.list(node.0, from, &mut add));
        match listed {
            // What has been listed before is the kernel's; it asks for the rest, and is told then.
            Err(code) if !any => reply.error(error(code)),
            _ => reply.ok(),
        }
    }

    fn statfs(&self, request: &Request, node: INodeNo, reply: ReplyStatfs) {
        let _taken = self.taken(request);
        answer_room(reply, self.requests.room(node.0));
    }

    fn getxattr(&self, request: &Request, node: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        let _taken = self.taken(request);
        if !self.requests.may_have_xattrs() {
            return reply.error(Code::ENOSYS);
        }
        answer_xattr(reply, size, self.requests.xattr(node.0, name.as_bytes()));
    }

    fn listxattr(&self, request: &Request, node: INodeNo, size: u32, reply: ReplyXattr) {
        let _taken = self.taken(request);
        if !self.requests.may_have_xattrs() {
            return reply.error(Code::ENOSYS);
        }
        answer_xattr(reply, size, self.requests.xattrs(node.0));
    }

    fn setxattr(
        &self,
        request: &Request,
        node: INodeNo,
        name: &OsStr,
        value: &[u8],
        flags: i32,
        _position: u32,
        reply: ReplyEmpty,
    ) {
        let _taken = self.taken(request);
        answer_empty(reply, self.requests.set_xattr(node.0, name.as_bytes(), value, flags));
    }

    fn removexattr(&self, request: &Request, node: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let _taken = self.taken(request);
        answer_empty(reply, self.requests.remove_xattr(node.0, name.as_bytes()));
    }

    fn ioctl(
        &self,
        request: &Request,
        _node: INodeNo,
        _file: FileHandle,
        _flags: IoctlFlags,
        _command: u32,
        _data: &[u8],
        _size: u32,
        reply: ReplyIoctl,
    ) {
        let _taken = self.taken(request);
        // What the kernel's overlay takes for "has no such flags"; ENOSYS would stop it.
        reply.error(Code::ENOTTY);
    }
}
