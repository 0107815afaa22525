//! The kernel's side of the protocol, by a socket: messages of every kind in any order, each of which gets one answer that can be read.

use std::collections::BTreeMap;
use std::os::unix::net::UnixDatagram;
use std::thread;
use std::time::Duration;

use condatainer_stack::serve::tree::{ROOT, SHARED, WRITABLE};
use condatainer_stack::serve::{self, Options, Requests};
use fastrand::Rng;

use crate::mad::NAMES;

const LOOKUP: u32 = 1;
const FORGET: u32 = 2;
const READ: u32 = 15;
const WRITE: u32 = 16;
const SETXATTR: u32 = 21;
const GETXATTR: u32 = 22;
const LISTXATTR: u32 = 23;
const INIT: u32 = 26;
const READDIR: u32 = 28;
const DESTROY: u32 = 38;
const NOTIFY_REPLY: u32 = 41;
const BATCH_FORGET: u32 = 42;
const READDIRPLUS: u32 = 44;
/// What makes or finds a name: SYMLINK, MKNOD, MKDIR, LINK.
const MAKING: [u32; 4] = [6, 8, 9, 13];
/// What changes something: SETATTR, SYMLINK, MKNOD, MKDIR, UNLINK, RMDIR, RENAME, LINK, WRITE, SETXATTR, REMOVEXATTR, FALLOCATE, RENAME2.
const CHANGING: [u32; 13] = [4, 6, 8, 9, 10, 11, 12, 13, WRITE, SETXATTR, 24, 43, 45];
/// As long as an answer may be: a socket takes no longer one, where the kernel takes 1 MiB.
const MOST: u32 = 100_000;
const HEADER: usize = 40;
const ENTRY: usize = 128;

/// A kernel that has mounted what is served.
pub(crate) struct Kernel {
    socket: UnixDatagram,
    server: thread::JoinHandle<std::io::Result<()>>,
    unique: u64,
    /// What it has, and how often.
    known: BTreeMap<u64, u64>,
    answer: Vec<u8>,
    /// From which number on something can be changed.
    writable: u64,
}

/// A message; `most` is how long the answer may be.
struct Message {
    kind: u32,
    node: u64,
    most: u32,
    body: Vec<u8>,
}

impl Kernel {
    /// Mounts it, as a kernel that can do everything. What has numbers from `writable` on can be changed. Where that is all, it
    /// asks for nothing that it does not have: an image is in order only if nobody writes to an inode that is free.
    pub(crate) fn mount(requests: Requests, writable: u64) -> Self {
        let (socket, device) = UnixDatagram::pair().unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
        let options = Options { threads: 1, acls: true };
        let server = thread::spawn(move || serve::run(requests, device.into(), options, || ()));
        let known = BTreeMap::from([(ROOT, 0)]);
        let mut kernel = Self { socket, server, unique: 0, known, answer: vec![0; 2 * MOST as usize], writable };
        let mut body = Vec::new();
        for word in [7, 40, 1 << 20, u32::MAX, u32::MAX] {
            put(&mut body, u64::from(word), 4);
        }
        body.resize(64, 0);
        assert_eq!(kernel.asked(&Message { kind: INIT, node: 0, most: 64, body }), Ok(64));
        kernel
    }

    /// Sends one at random.
    pub(crate) fn ask(&mut self, random: &mut Rng) {
        let message = self.message(random);
        if message.kind == FORGET || message.kind == BATCH_FORGET {
            // Of what the kernel does not have as well: it is not answered.
            self.send(&message);
            return;
        }
        let Ok(length) = self.asked(&message) else { return };
        let answer = self.answer[16..16 + length].to_vec();
        match message.kind {
            kind if kind == LOOKUP || MAKING.contains(&kind) => {
                let node = number(&answer, 0, 8);
                assert!(length == ENTRY && node != ROOT && (node != 0 || kind == LOOKUP), "{kind}: {node:#x}");
                self.count(node);
            }
            READDIR | READDIRPLUS => self.listing(&message, &answer),
            READ | GETXATTR | LISTXATTR => assert!(length <= message.most.max(8) as usize, "{length}"),
            WRITE => assert!(number(&answer, 0, 4) <= u64::from(message.most)),
            _ => {}
        }
    }

    /// Takes back all that it has, and ends.
    pub(crate) fn unmount(mut self) -> usize {
        let known = std::mem::take(&mut self.known);
        for (node, count) in &known {
            let mut body = Vec::new();
            put(&mut body, *count, 8);
            self.send(&Message { kind: FORGET, node: *node, most: 0, body });
        }
        let _ = self.asked(&Message { kind: DESTROY, node: 0, most: 0, body: Vec::new() });
        self.server.join().expect("no panic").expect("a good end");
        known.len()
    }

    fn send(&mut self, message: &Message) {
        self.unique += 2;
        let mut bytes = Vec::with_capacity(HEADER + message.body.len());
        put(&mut bytes, (HEADER + message.body.len()) as u64, 4);
        put(&mut bytes, message.kind.into(), 4);
        put(&mut bytes, self.unique, 8);
        put(&mut bytes, message.node, 8);
        bytes.resize(HEADER, 0);
        bytes.extend(&message.body);
        assert_eq!(self.socket.send(&bytes).unwrap(), bytes.len());
    }

    /// The length of what is answered behind the header, or the error.
    fn asked(&mut self, message: &Message) -> Result<usize, i32> {
        self.send(message);
        let length = self.socket.recv(&mut self.answer).expect("an answer in time");
        let (told, error) = (number(&self.answer, 0, 4), number(&self.answer, 4, 4) as u32 as i32);
        assert_eq!((told, number(&self.answer, 8, 8)), (length as u64, self.unique), "{}", message.kind);
        assert!((-4095..=0).contains(&error) && (error == 0 || length == 16), "{error} of {}", message.kind);
        if error == 0 { Ok(length - 16) } else { Err(error) }
    }

    fn count(&mut self, node: u64) {
        if node != 0 {
            *self.known.entry(node).or_default() += 1;
        }
    }

    fn listing(&mut self, message: &Message, mut answer: &[u8]) {
        assert!(answer.len() <= message.most as usize);
        let plus = if message.kind == READDIRPLUS { ENTRY } else { 0 };
        let mut last = number(&message.body, 8, 8);
        while !answer.is_empty() {
            let (next, length) = (number(answer, plus + 8, 8), number(answer, plus + 16, 4) as usize);
            let name = &answer[plus + 24..plus + 24 + length];
            assert!(next > last && (1..=255).contains(&length), "{last} {next} {length}");
            assert!(!name.contains(&b'/') && !name.contains(&0));
            last = next;
            // Of these two a kernel takes no node.
            if plus > 0 && ![&b"."[..], b".."].contains(&name) {
                self.count(number(answer, 0, 8));
            }
            answer = &answer[(plus + 24 + length).next_multiple_of(8)..];
        }
    }

    fn some_node(&self, random: &mut Rng) -> u64 {
        let first = if self.writable == WRITABLE { 0 } else { 3 };
        match random.u8(first..24) {
            0 => random.u64(..),
            1 => random.u64(..) & (SHARED | 0xFFFF | 7 << 48),
            2 => random.u64(..) & 0xFF | WRITABLE,
            _ => self.known.keys().nth(random.usize(..self.known.len())).copied().unwrap_or(ROOT),
        }
    }

    /// One where something can be changed, mostly.
    fn some_writable_node(&self, random: &mut Rng) -> u64 {
        let count = self.known.range(self.writable..).count();
        let nth = if random.u8(0..5) == 0 || count == 0 { None } else { Some(random.usize(..count)) };
        nth.and_then(|nth| self.known.range(self.writable..).nth(nth))
            .map_or_else(|| self.some_node(random), |(node, _)| *node)
    }

    fn message(&mut self, random: &mut Rng) -> Message {
        // What is asked most is what leads on.
        let kind = match random.u8(0..16) {
            0..=3 => LOOKUP,
            4 | 5 => READDIRPLUS,
            6..=11 => CHANGING[random.usize(..CHANGING.len())],
            _ => random.u32(0..60),
        };
        let node = if CHANGING.contains(&kind) { self.some_writable_node(random) } else { self.some_node(random) };
        // These two end it, and the last but one is no question.
        let kind = if [INIT, DESTROY, NOTIFY_REPLY].contains(&kind) { LOOKUP } else { kind };
        let (mut body, mut most) = (Vec::new(), random.u32(0..20_000));
        match kind {
            FORGET => put(&mut body, self.taken(node, random), 8),
            BATCH_FORGET => {
                put(&mut body, 2, 8);
                for node in [node, self.some_node(random)] {
                    put(&mut body, node, 8);
                    let count = self.taken(node, random);
                    put(&mut body, count, 8);
                }
            }
            READ | READDIR | READDIRPLUS => {
                most = random.u32(0..=MOST);
                let from = if random.bool() { 0 } else { some_number(random) };
                put(&mut body, 0, 8);
                put(&mut body, from, 8);
                put(&mut body, most.into(), 4);
                body.resize(40, 0);
            }
            WRITE => {
                put(&mut body, 0, 8);
                let at = if random.bool() { random.u64(0..50_000) } else { some_number(random) };
                put(&mut body, at, 8);
                put(&mut body, most.into(), 4);
                put(&mut body, random.u64(0..8), 4);
                body.resize(40 + most as usize, b'w');
            }
            GETXATTR | LISTXATTR => {
                put(&mut body, most.into(), 8);
                body.extend(b"user.a\0");
            }
            SETXATTR => {
                let value = vec![b'v'; random.usize(0..300)];
                put(&mut body, value.len() as u64, 4);
                put(&mut body, random.u64(0..5), 4);
                body.extend(some_name(random));
                body.push(0);
                body.extend(value);
            }
            _ => self.any_body(kind, &mut body, random),
        }
        // Only of these may the end be missing: fuser panics where data are not as long as they say, which they are from a kernel.
        if ![FORGET, BATCH_FORGET, WRITE, SETXATTR].contains(&kind) && random.u8(..) == 0 {
            body.truncate(random.usize(..=body.len()));
            body.resize(body.len().max(16), 0);
        }
        Message { kind, node, most, body }
    }

    /// How often a node is forgotten: never more often than the kernel has it, unless it is none of its nodes.
    fn taken(&mut self, node: u64, random: &mut Rng) -> u64 {
        let Some(had) = self.known.get_mut(&node) else { return random.u64(0..3) };
        let count = random.u64(0..=*had);
        *had -= count;
        if *had == 0 && node != ROOT {
            self.known.remove(&node);
        }
        count
    }

    /// Numbers as many as its structure has, and then the names that it may have.
    fn any_body(&self, kind: u32, body: &mut Vec<u8>, random: &mut Rng) {
        // In words of four bytes: SETATTR; MKNOD, FSYNC, CREATE, RENAME2; MKDIR, RENAME, LINK; FALLOCATE; LSEEK; no other has more than twelve.
        let words = match kind {
            LOOKUP | 6 | 10 | 11 | 24 => 0,
            4 => 22,
            8 | 20 | 35 | 45 => 4,
            9 | 12 | 13 => 2,
            43 => 8,
            46 => 6,
            _ => 12,
        };
        // No number here is the largest that a time can be.
        (0..words / 2).for_each(|_| put(body, some_number(random) & !(1 << 62), 8));
        match kind {
            // Where it goes, or what is linked.
            12 | 13 | 45 => body[..8].copy_from_slice(&self.some_writable_node(random).to_le_bytes()),
            // A file or a directory, mostly, and no other flags than there are.
            8 if random.bool() => body[..4].copy_from_slice(&0o100_644_u32.to_le_bytes()),
            // SETATTR: a kernel has no more nanoseconds than a second, and none at the end of time.
            4 => body[56..68].chunks_mut(4).for_each(|part| {
                let nanoseconds = number(part, 0, 4) % 1_000_000_000;
                part.copy_from_slice(&(nanoseconds as u32).to_le_bytes());
            }),
            // IOCTL brings nothing along.
            39 => body[24..28].fill(0),
            _ => {}
        }
        if kind == 45 {
            body[8..12].copy_from_slice(&random.u32(0..8).to_le_bytes());
        }
        for _ in 0..2 {
            body.extend(some_name(random));
            body.push(0);
        }
    }
}

fn some_name(random: &mut Rng) -> &'static [u8] {
    match random.u8(0..12) {
        0 => b"lower",
        1 => b"upper",
        2 => b"work",
        3 => b"user.overlay.opaque",
        4 => b"/",
        _ => NAMES[random.usize(..NAMES.len())],
    }
}

/// Small ones, large ones, and what lies at the ends of ranges.
fn some_number(random: &mut Rng) -> u64 {
    match random.u8(0..6) {
        0 => random.u64(0..8),
        1 | 2 => random.u64(0..1 << 16),
        3 => random.u64(0..1 << 32),
        4 => u64::MAX >> random.u32(0..34),
        _ => random.u64(..) >> random.u32(0..64),
    }
}

fn put(body: &mut Vec<u8>, value: u64, length: usize) {
    body.extend(&value.to_le_bytes()[..length]);
}

fn number(bytes: &[u8], at: usize, length: usize) -> u64 {
    let mut value = [0; 8];
    value[..length].copy_from_slice(&bytes[at..at + length]);
    u64::from_le_bytes(value)
}
