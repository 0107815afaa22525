//! What the compiler calls by these names, as string(3) and memcpy(3), memmove(3), memset(3), memcmp(3) say.

use core::ffi::{c_char, c_int};

/// In words, as an environment is copied more than once on its way; from the front, on which memmove relies.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, count: usize) -> *mut u8 {
    const WORD: usize = size_of::<usize>();
    let words = count / WORD;
    let word = |at: usize| (to.cast::<usize>().wrapping_add(at), from.cast::<usize>().wrapping_add(at));
    // SAFETY: the caller's promise, here and below: there are so many bytes.
    (0..words).map(word).for_each(|(to, from)| unsafe { to.write_unaligned(from.read_unaligned()) });
    // SAFETY: as above.
    (words * WORD..count).for_each(|at| unsafe { to.add(at).write(from.add(at).read()) });
    to
}

#[unsafe(no_mangle)]
unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, count: usize) -> *mut u8 {
    // What is overwritten must have been read.
    if to.cast_const() <= from {
        // SAFETY: as above.
        return unsafe { memcpy(to, from, count) };
    }
    // SAFETY: as above.
    (0..count).rev().for_each(|at| unsafe { to.add(at).write(from.add(at).read()) });
    to
}

#[unsafe(no_mangle)]
unsafe extern "C" fn memset(to: *mut u8, byte: c_int, count: usize) -> *mut u8 {
    // SAFETY: as above.
    (0..count).for_each(|at| unsafe { to.add(at).write(byte as u8) });
    to
}

#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(one: *const u8, other: *const u8, count: usize) -> c_int {
    // SAFETY: as above.
    let difference = |at| unsafe { c_int::from(one.add(at).read()) - c_int::from(other.add(at).read()) };
    (0..count).map(difference).find(|difference| *difference != 0).unwrap_or(0)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn bcmp(one: *const u8, other: *const u8, count: usize) -> c_int {
    // SAFETY: as above.
    unsafe { memcmp(one, other, count) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn strlen(start: *const c_char) -> usize {
    // SAFETY: the caller's promise: a NUL byte comes.
    (0..).find(|at| unsafe { start.add(*at).read() } == 0).unwrap_or(0)
}
