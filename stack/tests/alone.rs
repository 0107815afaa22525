//! The server in a process of its own: what happens when it is killed, and how much memory it takes.

// A failing preparation is a failing test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use condatainer_formats::ext::{FileType, Ids, Xattr};
use condatainer_stack::ids::Show;
use condatainer_stack::layer::{Attributes, Entry, Key, Layer, Time};
use condatainer_stack::merge::{Merged, Stacked};
use condatainer_stack::serve::{Lower, Options, Requests, Trouble, run};
use nix::errno::Errno;
use nix::mount::{MntFlags, umount2};
use tempfile::TempDir;

/// Says where to serve, in the process that does.
const PLACE: &str = "STACK_TEST_PLACE";
const DIRECTORIES: u64 = 200;
const FILES: u64 = 1000;
const WIDE: u64 = 100_000;

/// Many names, none of which is kept: `DIRECTORIES` with `FILES` each, and one with `WIDE`.
struct Many;

impl Many {
    fn kind(key: Key) -> FileType {
        if key.0 <= DIRECTORIES + 1 { FileType::Directory } else { FileType::Regular }
    }
}

impl Layer for Many {
    fn root(&self) -> Key {
        Key(0)
    }

    fn attributes(&self, key: Key) -> io::Result<Attributes> {
        let time = Time::default();
        Ok(Attributes {
            kind: Self::kind(key),
            mode: 0o755,
            ids: Ids::ROOT,
            size: 1 << 30,
            blocks: 8,
            links: 1,
            device: (0, 0),
            accessed: time,
            modified: time,
            changed: time,
        })
    }

    fn entries(&self, directory: Key, visit: &mut dyn FnMut(Entry<'_>) -> bool) -> io::Result<()> {
        let (first, count) = match directory.0 {
            0 => (1, DIRECTORIES + 1),
            n if n <= DIRECTORIES => (n << 32, FILES),
            _ => (1 << 47, WIDE),
        };
        for number in first..first + count {
            let name = format!("a-name-of-usual-length-{number}");
            if !visit(Entry { name: name.as_bytes(), key: Key(number), kind: Some(Self::kind(Key(number))) }) {
                break;
            }
        }
        Ok(())
    }

    fn read(&self, _file: Key, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        buf.fill((offset >> 12) as u8);
        Ok(buf.len())
    }

    fn target(&self, _link: Key) -> io::Result<Vec<u8>> {
        Err(Errno::EINVAL.into())
    }

    fn xattrs(&self, _key: Key) -> io::Result<Vec<Xattr>> {
        Ok(Vec::new())
    }
}

/// Not a test by itself: the server, in the process that a test starts.
#[test]
fn serves_where_it_is_told_to() {
    let Some(place) = std::env::var_os(PLACE).map(PathBuf::from) else { return };
    let stacked = || Stacked { path: "many".into(), bytes: 0, layer: Arc::new(Many) };
    let merged = Merged::new(vec![stacked(), stacked()]).unwrap();
    let lower = Arc::new(Lower::new(merged, Show::everything(), Arc::new(Trouble::on_stderr())));
    let node = lower.root();
    let requests = Requests::new((lower, node), None, Ids::ROOT, Time::default());
    let device = support::mount::attach(&place).unwrap();
    run(requests, device, Options { threads: 4, acls: false }, || println!("\nready")).unwrap();
}

struct Served {
    at: TempDir,
    process: Child,
    /// Open to the end: the server says a word when it ends.
    _said: io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Served {
    fn new() -> Self {
        let at = tempfile::tempdir().unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "serves_where_it_is_told_to", "--nocapture"]).env(PLACE, at.path());
        let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(process.stdout.take().unwrap()).lines();
        assert!(said.by_ref().map(Result::unwrap).any(|line| line == "ready"), "the server did not start");
        Self { at, process, _said: said }
    }

    fn path(&self) -> PathBuf {
        self.at.path().join("lower")
    }

    /// Most memory that it has had, in kB.
    fn memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = umount2(self.at.path(), MntFlags::MNT_DETACH);
        let _ = self.process.wait();
    }
}

fn walk(at: &Path) -> usize {
    let mut names = 0;
    for entry in fs::read_dir(at).unwrap().map(Result::unwrap) {
        names += 1;
        if entry.metadata().unwrap().is_dir() {
            names += walk(&entry.path());
        }
    }
    names
}

#[test]
fn memory_is_bounded_whatever_is_walked_through() {
    let served = Served::new();
    let names = (DIRECTORIES * FILES + WIDE + DIRECTORIES + 1) as usize;
    assert_eq!(walk(&served.path()), names);
    let memory = served.memory();
    println!("{names} names: {memory} kB");
    assert!(memory < 64 << 10, "{memory} kB");
}

#[test]
fn readers_of_a_killed_server_get_an_error() {
    for round in 0..3 {
        let mut served = Served::new();
        let directory = fs::read_dir(served.path()).unwrap().next().unwrap().unwrap().path();
        let file = fs::read_dir(&directory).unwrap().next().unwrap().unwrap().path();
        let open = File::open(&file).unwrap();
        let started = AtomicUsize::new(0);
        let codes: Vec<Option<i32>> = std::thread::scope(|scope| {
            let readers: Vec<_> = (0..4)
                .map(|reader| {
                    let (open, started, at) = (&open, &started, served.path());
                    scope.spawn(move || {
                        let mut buf = vec![0; 1 << 20];
                        for i in 0.. {
                            started.fetch_add(1, Ordering::Relaxed);
                            let done = if reader == 0 {
                                at.join(format!("missing-{i}")).symlink_metadata().map(drop).or_else(|error| {
                                    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
                                })
                            } else {
                                open.read_at(&mut buf, (reader * 200 + i) << 20).map(drop)
                            };
                            if let Err(error) = done {
                                return error.raw_os_error();
                            }
                        }
                        None
                    })
                })
                .collect();
            while started.load(Ordering::Relaxed) < 20 + 40 * round {
                std::thread::yield_now();
            }
            served.process.kill().unwrap();
            let since = Instant::now();
            let codes = readers.into_iter().map(|reader| reader.join().unwrap()).collect();
            assert!(since.elapsed() < Duration::from_secs(120), "readers hung for {:?}", since.elapsed());
            codes
        });
        let allowed = [Errno::ENOTCONN, Errno::ECONNABORTED, Errno::EIO].map(|code| Some(code as i32));
        assert!(codes.iter().all(|code| allowed.contains(code)), "{codes:?}");
        // A name that nobody asked for: of the root itself the kernel may still know all that it is asked.
        let asked = served.path().join("never").symlink_metadata();
        assert_eq!(asked.unwrap_err().raw_os_error(), Some(Errno::ENOTCONN as i32));
    }
}
