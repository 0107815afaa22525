//! A layer in which nothing fits together.

use std::io;

use condatainer_formats::ext::{FileType, Ids, Xattr};
use condatainer_stack::layer::{Attributes, Entry, Key, Layer, Time};
use fastrand::Rng;
use nix::errno::Errno;

const KINDS: [FileType; 8] = [
    FileType::Regular,
    FileType::Directory,
    FileType::Directory,
    FileType::Symlink,
    FileType::CharDevice,
    FileType::Fifo,
    FileType::Socket,
    FileType::Unknown,
];
/// What it calls things, and what is asked for.
pub(crate) const NAMES: [&[u8]; 10] =
    [b"a", b"b", b"c", b".wh.a", b".wh.b", b".wh..wh..opq", b".wh.", b"x/y", b"", &[b'n'; 300]];

/// Kinds that directories and inodes disagree about, directories in themselves, errors.
pub(crate) struct Mad(pub(crate) u64);

impl Mad {
    fn dice(&self, key: Key, of: u64) -> Rng {
        Rng::with_seed(self.0 ^ key.0.wrapping_mul(0x9E37_79B9) ^ of << 56)
    }

    fn error(&self, random: &mut Rng) -> io::Result<()> {
        match random.u8(0..60) {
            0 => Err(io::Error::other("is damaged")),
            1 => Err(Errno::EIO.into()),
            2 => Err(Errno::ENOTDIR.into()),
            3 => Err(io::Error::new(io::ErrorKind::FileTooLarge, "is large")),
            _ => Ok(()),
        }
    }
}

impl Layer for Mad {
    fn root(&self) -> Key {
        Key(self.0 % 5)
    }

    fn attributes(&self, key: Key) -> io::Result<Attributes> {
        let mut random = self.dice(key, 1);
        self.error(&mut random)?;
        let time = Time { seconds: random.i64(..), nanoseconds: random.u32(..) };
        Ok(Attributes {
            kind: KINDS[random.usize(..KINDS.len())],
            mode: random.u16(..),
            ids: Ids { uid: random.u32(..), gid: random.u32(..) },
            size: random.u64(..),
            blocks: random.u64(..),
            links: random.u32(..),
            device: if random.bool() { (0, 0) } else { (random.u32(..), random.u32(..)) },
            accessed: time,
            modified: time,
            changed: time,
        })
    }

    fn entries(&self, directory: Key, visit: &mut dyn FnMut(Entry<'_>) -> bool) -> io::Result<()> {
        let mut random = self.dice(directory, 2);
        for _ in 0..random.usize(0..12) {
            self.error(&mut random)?;
            let name = NAMES[random.usize(..NAMES.len())];
            let kind = random.bool().then(|| KINDS[random.usize(..KINDS.len())]);
            let key = Key(if random.u8(0..9) == 0 { random.u64(0..1 << 48) } else { random.u64(0..40) });
            if !visit(Entry { name, key, kind }) {
                break;
            }
        }
        Ok(())
    }

    fn read(&self, file: Key, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let mut random = self.dice(file, 3);
        self.error(&mut random)?;
        Ok(if offset.is_multiple_of(3) { buf.len() } else { 0 })
    }

    fn target(&self, link: Key) -> io::Result<Vec<u8>> {
        let mut random = self.dice(link, 4);
        self.error(&mut random).map(|()| vec![b't'; random.usize(0..5000)])
    }

    fn xattrs(&self, key: Key) -> io::Result<Vec<Xattr>> {
        let mut random = self.dice(key, 5);
        self.error(&mut random)?;
        let names = [
            "user.a",
            "trusted.overlay.opaque",
            "user.overlay.redirect",
            "user.overlay.metacopy",
            "system.posix_acl_access",
        ];
        let count = random.usize(0..3);
        Ok((0..count)
            .map(|_| Xattr { name: names[random.usize(..names.len())].into(), value: vec![b'y'; random.usize(0..30)] })
            .collect())
    }
}
