//! Answers in fuser's words.

use std::time::Duration;

use fuser::{Errno as Code, Generation, INodeNo, ReplyAttr, ReplyEmpty, ReplyEntry, ReplyXattr};

use super::tree::{Answer, Entry};
use super::wire::{attributes, error};
use crate::layer::Attributes;

/// A day; longer than most jobs, and asked for again after it.
pub(super) const KEPT: Duration = Duration::from_secs(86_400);

pub(super) fn answer_attributes(reply: ReplyAttr, node: INodeNo, answer: Answer<Attributes>) {
    match answer {
        Ok(says) => reply.attr(&KEPT, &attributes(&Entry { node: node.0, attributes: says })),
        Err(code) => reply.error(error(code)),
    }
}

pub(super) fn answer_entry(reply: ReplyEntry, answer: Answer<Entry>) {
    match answer {
        Ok(entry) => reply.entry(&KEPT, &attributes(&entry), Generation(0)),
        Err(code) => reply.error(error(code)),
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
