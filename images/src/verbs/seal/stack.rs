//! What lies below the image in its stack: needed where a directory of the image hides all of it.
//!
//! A read-only overlay in a user namespace honours no mark that says "nothing below this directory shows", so every name that
//! would show must be hidden by itself.

use std::cell::OnceCell;
use std::collections::BTreeSet;

use super::error::SealError;
use super::request::Request;
use crate::image::Kind;
use crate::overlay::lower::{Lower, LowerError};

/// The stack below, opened when it is first asked, since most images never come to that.
pub(super) struct StackBelow<'a> {
    request: &'a Request,
    /// The image is a part of a SIF, which then is its own base.
    in_sif: bool,
    lower: OnceCell<Lower>,
}

impl<'a> StackBelow<'a> {
    pub(super) fn new(request: &'a Request, kind: &Kind) -> Self {
        Self { request, in_sif: matches!(kind, Kind::Sif(_)), lower: OnceCell::new() }
    }

    pub(super) fn is_known(&self) -> bool {
        self.in_sif || self.request.base.is_some()
    }

    /// The names that show through `directory`, unless it hides them; none where it is no directory below.
    pub(super) fn names(&self, directory: &[u8]) -> Result<BTreeSet<Vec<u8>>, SealError> {
        let lower = match self.lower.get() {
            Some(lower) => lower,
            None => {
                let lower = self.open(directory)?;
                self.lower.get_or_init(|| lower)
            }
        };
        Ok(lower.names(directory)?)
    }

    fn open(&self, directory: &[u8]) -> Result<Lower, SealError> {
        let Request { image, base, layers, .. } = self.request;
        let opened: Result<Lower, LowerError> = match base {
            _ if self.in_sif => Lower::open_inside(image, layers),
            Some(base) => Lower::open(&[std::slice::from_ref(base), layers].concat()),
            None => return Err(SealError::needs_base(image, directory)),
        };
        Ok(opened?)
    }
}
