//! Answers in fuser's words.

use std::cell::RefCell;
use std::time::Duration;

use fuser::{
    Errno as Code, FileHandle, FopenFlags, Generation, INodeNo, ReplyAttr, ReplyData, ReplyEmpty, ReplyEntry,
    ReplyOpen, ReplyStatfs, ReplyXattr,
};

use super::super::tree::{Answer, Entry, Room};
use super::agreed::LARGEST;
use super::wire::{attributes, error};
use crate::layer::Attributes;

thread_local! {
    /// What a thread reads into before the kernel copies it.
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// `shared` is the number that is shown, of a file that the kernel has under several; `kept` says for how long the kernel keeps the answer.
pub(super) fn answer_attributes(
    reply: ReplyAttr,
    node: INodeNo,
    shared: Option<u64>,
    kept: Duration,
    answer: Answer<Attributes>,
) {
    match answer {
        Ok(says) => reply.attr(&kept, &attributes(&Entry { node: shared.unwrap_or(node.0), attributes: says })),
        Err(code) => reply.error(error(code)),
    }
}

/// How long the kernel keeps the name is said apart from how long it keeps what the file says.
pub(super) fn answer_entry(reply: ReplyEntry, name: Duration, file: Duration, answer: Answer<Entry>) {
    match answer {
        Ok(entry) => reply.entry_with_ttls(&file, &name, &attributes(&entry), Generation(0)),
        Err(code) => reply.error(error(code)),
    }
}

/// `None` where opening needs no message.
pub(super) fn answer_opening(reply: ReplyOpen, opened: Option<Answer<()>>, kept: FopenFlags) {
    match opened {
        None => reply.error(Code::ENOSYS),
        Some(Ok(())) => reply.opened(FileHandle(0), kept),
        Some(Err(code)) => reply.error(error(code)),
    }
}

pub(super) fn answer_empty(reply: ReplyEmpty, answer: Answer<()>) {
    match answer {
        Ok(()) => reply.ok(),
        Err(code) => reply.error(error(code)),
    }
}

pub(super) fn answer_xattr(reply: ReplyXattr, size: u32, answer: Answer<Vec<u8>>) {
    match answer {
        Ok(value) if size == 0 => reply.size(u32::try_from(value.len()).unwrap_or(u32::MAX)),
        Ok(value) if value.len() > size as usize => reply.error(Code::ERANGE),
        Ok(value) => reply.data(&value),
        Err(code) => reply.error(error(code)),
    }
}

pub(super) fn answer_room(reply: ReplyStatfs, answer: Answer<Room>) {
    match answer {
        Ok(Room { blocks, free, inodes, free_inodes, block }) => {
            reply.statfs(blocks, free, free, inodes, free_inodes, block, 255, block);
        }
        Err(code) => reply.error(error(code)),
    }
}

/// Of `size` bytes that are asked for, what `read` fills a buffer with.
pub(super) fn answer_read(reply: ReplyData, size: u32, read: impl FnOnce(&mut [u8]) -> Answer<usize>) {
    BUFFER.with_borrow_mut(|buffer| {
        let size = size.min(LARGEST) as usize;
        if buffer.len() < size {
            buffer.resize(size, 0);
        }
        let room = buffer.get_mut(..size).unwrap_or_default();
        match read(room) {
            Ok(length) => reply.data(room.get(..length).unwrap_or_default()),
            Err(code) => reply.error(error(code)),
        }
    });
}
