//! The bytes of images, most of which are zero: copied and compared without touching those.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use nix::errno::Errno;
use nix::unistd::{Whence, lseek};

/// Bytes of a file that are looked at together.
const PIECE: usize = 4096;

/// All bytes of a file: two files have the same exactly if these are equal, wherever they have holes.
#[derive(PartialEq, Eq)]
pub struct Bytes {
    size: u64,
    /// Where the pieces begin that are not zero.
    places: Vec<u64>,
    pieces: Vec<u8>,
}

pub fn bytes_of(path: &Path) -> Bytes {
    let file = File::open(path).unwrap();
    let mut bytes = Bytes { size: file.metadata().unwrap().len(), places: Vec::new(), pieces: Vec::new() };
    for_each_piece(&file, bytes.size, |at, piece| {
        bytes.places.push(at);
        bytes.pieces.extend_from_slice(piece);
    });
    bytes
}

/// Copies an image; what is zero becomes a hole, which `fs::copy` would fill.
pub fn copy(from: &Path, to: &Path) {
    let (from, to) = (File::open(from).unwrap(), File::create(to).unwrap());
    let size = from.metadata().unwrap().len();
    to.set_len(size).unwrap();
    for_each_piece(&from, size, |at, piece| to.write_all_at(piece, at).unwrap());
}

/// Shows each piece that is not zero.
fn for_each_piece(file: &File, size: u64, mut show: impl FnMut(u64, &[u8])) {
    let mut buf = vec![0; 256 * PIECE];
    let mut at = 0;
    while let Some(start) = data_from(file, at).filter(|start| *start < size) {
        let start = start / PIECE as u64 * PIECE as u64;
        let length = (buf.len() as u64).min(size - start) as usize;
        file.read_exact_at(&mut buf[..length], start).unwrap();
        for (number, piece) in buf[..length].chunks(PIECE).enumerate() {
            if *piece != [0; PIECE][..piece.len()] {
                show(start + (number * PIECE) as u64, piece);
            }
        }
        at = start + length as u64;
    }
}

fn data_from(file: &File, at: u64) -> Option<u64> {
    match lseek(file, at.cast_signed(), Whence::SeekData) {
        Ok(start) => Some(start.cast_unsigned()),
        Err(Errno::ENXIO) => None,
        Err(error) => panic!("{error}"),
    }
}
