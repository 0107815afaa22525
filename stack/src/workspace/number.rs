//! The numbers by which the kernel knows the inodes of an image.

use nix::errno::Errno;

use crate::serve::tree::{Answer, WRITABLE};

/// The number of an inode.
pub(crate) fn of(ino: u32) -> u64 {
    WRITABLE | u64::from(ino)
}

/// The inode that a number stands for.
pub(crate) fn ino(number: u64) -> Answer<u32> {
    let ino = (number & u64::from(u32::MAX)) as u32;
    if number == of(ino) && ino != 0 { Ok(ino) } else { Err(Errno::ESTALE) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_of_one_inode() {
        assert_eq!([ino(of(12)), ino(of(u32::MAX))], [Ok(12), Ok(u32::MAX)]);
        assert_eq!([ino(12), ino(WRITABLE), ino(of(12) | 1 << 40)], [Err(Errno::ESTALE); 3]);
    }
}
