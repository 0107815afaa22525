//! What a program without a C library has to say, which is why it cannot do its work.

use super::call::call;
use super::numbers::WRITE;

pub(crate) const STDERR: usize = 2;

/// A line with the program's name in it.
pub(crate) fn complain(name: &[u8], why: &[&[u8]]) {
    for text in [b"condatainer: ", name, b": "].iter().chain(why).chain(&[&b"\n"[..]]) {
        // SAFETY: the text is alive.
        let _ = unsafe { call(WRITE, [STDERR, text.as_ptr() as usize, text.len(), 0, 0, 0]) };
    }
}
