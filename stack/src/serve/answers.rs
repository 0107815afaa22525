//! Answers in fuser's words.

use std::time::Duration;

use fuser::{
    Errno as Code, FileHandle, FopenFlags, Generation, INodeNo, ReplyAttr, ReplyEmpty, ReplyEntry, ReplyOpen,
    ReplyXattr,
};

use super::tree::{Answer, Entry};
use super::wire::{attributes, error};
use crate::layer::Attributes;

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
