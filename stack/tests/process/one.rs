//! What the server of these tests serves: a tree with one file. Its content says what goes wrong.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::time::{Duration, UNIX_EPOCH};

use condatainer_stack::process::Image;
use condatainer_stack::process::server::{Say, Serve};
use fuser::{
    Config, Errno, FileAttr, FileHandle, FileType, Filesystem, Generation, INodeNo, LockOwner, OpenFlags, ReplyAttr,
    ReplyData, ReplyDirectory, ReplyEntry, Request, Session, SessionACL,
};

/// A tree with one file, which has the content of the image.
struct One(String);

pub(super) fn tree(images: Vec<(Image, File)>, say: &Say) -> io::Result<Box<dyn Serve>> {
    let mut content = String::new();
    for (_, mut file) in images {
        file.read_to_string(&mut content)?;
    }
    if content == "odd" {
        say("the image is odd");
    }
    if content == "broken" { Err(io::Error::other("the image is broken")) } else { Ok(Box::new(One(content))) }
}

impl Serve for One {
    fn serve(self: Box<Self>, mount: OwnedFd, ready: &mut dyn FnMut()) -> io::Result<()> {
        let mut config = Config::default();
        (config.n_threads, config.clone_fd) = (Some(2), true);
        let self_ends = self.0 == "short";
        let session = Session::from_fd(*self, mount, SessionACL::All, config)?;
        ready();
        if self_ends {
            return Ok(());
        }
        // What a thread is told that has just taken a request when the mount goes.
        session
            .run()
            .or_else(|error| if error.raw_os_error() == Some(nix::libc::ECONNABORTED) { Ok(()) } else { Err(error) })
    }
}

impl One {
    fn attributes(&self, node: u64) -> FileAttr {
        let is_file = node == 3;
        FileAttr {
            ino: INodeNo(node),
            size: self.0.len() as u64,
            blocks: 1,
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind: if is_file { FileType::RegularFile } else { FileType::Directory },
            perm: if is_file { 0o644 } else { 0o755 },
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 512,
            flags: 0,
        }
    }
}

impl Filesystem for One {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let node = match (parent.0, name.to_str()) {
            (1, Some("lower")) => 2,
            (2, Some("file")) => 3,
            _ => return reply.error(Errno::ENOENT),
        };
        reply.entry(&Duration::ZERO, &self.attributes(node), Generation(0));
    }

    fn getattr(&self, _: &Request, node: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&Duration::ZERO, &self.attributes(node.0));
    }

    fn readdir(&self, _: &Request, _: INodeNo, _: FileHandle, _: u64, reply: ReplyDirectory) {
        reply.ok();
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        _: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        assert!(self.0 != "mad", "of a read");
        let from = usize::try_from(offset).unwrap().min(self.0.len());
        reply.data(&self.0.as_bytes()[from..]);
    }
}
