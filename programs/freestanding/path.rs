//! Paths that are put together, and numbers in them.

use core::ffi::CStr;

/// The longest path that the kernel takes, with its NUL byte.
pub(crate) const PATH_MAX: usize = 4096;

/// The parts, one behind the other, if there is room for them and the NUL byte: `room` holds nothing else.
pub(crate) fn joined<'a>(room: &'a mut [u8], parts: &[&[u8]]) -> Option<&'a CStr> {
    let mut end = 0;
    for part in parts {
        room.get_mut(end..end + part.len())?.copy_from_slice(part);
        end += part.len();
    }
    CStr::from_bytes_until_nul(room).ok()
}

/// A number in digits.
pub(crate) fn decimal(number: usize, room: &mut [u8; 20]) -> &[u8] {
    let (mut rest, mut first) = (number, room.len());
    for (at, digit) in room.iter_mut().enumerate().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
        first = at;
        if rest == 0 {
            break;
        }
    }
    room.get(first..).unwrap_or_default()
}

/// Digits as a number; none of anything else.
pub(crate) fn number(digits: &[u8]) -> Option<usize> {
    let is_number = !digits.is_empty() && digits.len() < 10 && digits.iter().all(u8::is_ascii_digit);
    is_number.then(|| digits.iter().fold(0, |number, digit| number * 10 + usize::from(digit - b'0')))
}
