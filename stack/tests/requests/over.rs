//! Messages in any order to a server that lays an image over layers, of which one contradicts itself, or both do.

use std::fs;
use std::io;
use std::process::{Command, Stdio};
use std::sync::Arc;

use condatainer_formats::ext::Ids;
use condatainer_formats::source::ReadAt;
use condatainer_stack::ids::Show;
use condatainer_stack::overlay::Overlay;
use condatainer_stack::serve::tree::ROOT;
use condatainer_stack::serve::{Guarded, Requests, Trouble};
use condatainer_stack::workspace::{Owners, Workspace};
use condatainer_writer::Volume;
use condatainer_writer::device::Device;
use fastrand::Rng;
use parking_lot::RwLock;

use crate::images::{Image, mutated, sound};
use crate::mad::Mad;
use crate::protocol::Kernel;
use crate::tool::tool;
use crate::{MANY, Time, bounded, dice, lower, rounds};

/// An image that something was written to: with marks of both kinds, and directories that layers have too.
fn written() -> Vec<u8> {
    let bench = tempfile::tempdir().unwrap();
    let upper = bench.path().join("tree/upper");
    for path in ["a/a/b", "a/.wh.b", "b/.wh..wh..opq", "b/c", ".wh.c", "x"] {
        let path = upper.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }
    fs::hard_link(upper.join("x"), upper.join("a/c")).unwrap();
    fs::create_dir(bench.path().join("tree/work")).unwrap();
    let image = bench.path().join("image");
    let mut mke2fs = tool("mke2fs");
    mke2fs.args(["-q", "-F", "-t", "ext3", "-m", "0", "-b", "1024", "-N", "256", "-J", "size=1"]);
    mke2fs.args(["-O", "^resize_inode", "-d"]).arg(bench.path().join("tree")).arg(&image).arg("3M");
    assert!(mke2fs.stdout(Stdio::null()).status().unwrap().success());
    fs::read(image).unwrap()
}

/// Whether some of it was changed.
fn changed(image: &mut [u8], random: &mut Rng) -> bool {
    let changes = random.usize(0..4) * usize::from(random.bool());
    for _ in 0..changes {
        let mut at = random.usize(..image.len());
        while image[at] == 0 && random.u8(..) != 0 {
            at = random.usize(..image.len());
        }
        image[at] ^= 1 << random.u8(0..8);
    }
    changes > 0
}

#[test]
fn messages_to_a_server_that_lays_an_image_over_layers_have_an_answer() {
    let (layers, image) = (sound(), written());
    let (mut random, mut done, mut nodes, mut whole, rounds) = (dice(), 0, 0, 0, rounds());
    while done < rounds {
        let mut bytes = image.clone();
        let is_changed = changed(&mut bytes, &mut random);
        let memory = Arc::new(Memory(RwLock::new(bytes)));
        nodes += serve(&layers, &memory, is_changed, &mut random);
        if !is_changed {
            whole += 1;
            in_order(&memory);
        }
        done += MANY;
    }
    let servers = (done / MANY) as usize;
    assert!(nodes > servers * 5 && whole > servers / 4, "{nodes} nodes of {servers} servers, {whole} images in order");
    bounded();
}

/// How many nodes were known in the end.
fn serve(layers: &[Image], memory: &Arc<Memory>, is_changed: bool, random: &mut Rng) -> usize {
    let mut below: Vec<_> = (0..random.usize(1..4)).filter_map(|_| mutated(layers, random)).collect();
    // What e2fsck says of times after 2310 is no fault.
    if below.is_empty() || is_changed && random.bool() {
        below.push(Arc::new(Mad(random.u64(..))));
    }
    let said = Arc::new(RwLock::new(Vec::new()));
    let trouble = || {
        let said = Arc::clone(&said);
        Arc::new(Trouble::with(move |line| said.write().push(line.to_owned())))
    };
    let volume = match Volume::open(Arc::clone(memory) as Arc<dyn Device>) {
        Ok(volume) => Arc::new(volume),
        Err(_) if is_changed => return 0,
        Err(error) => panic!("{error}"),
    };
    let show = Show::everything();
    let owners = Owners::new(show.clone(), Ids::ROOT, Ids::ROOT);
    let Ok(upper) = Workspace::new(Arc::clone(&volume), owners, trouble(), "image".into()) else { return 0 };
    let lower = Arc::into_inner(lower(below, show)).unwrap();
    let overlay = Arc::new(Overlay::new(upper, lower));
    let guarded = Arc::new(Guarded::new(Arc::clone(&overlay) as _, trouble()));
    let mut kernel =
        Kernel::mount(Requests::one(&(guarded as _), overlay.root(), Ids::ROOT, Time::default()), ROOT + 1);
    (0..MANY).for_each(|_| kernel.ask(random));
    let nodes = kernel.unmount();
    assert_eq!(overlay.remembered(), 0, "all that was given is forgotten");
    drop(overlay);
    let ended = volume.end();
    assert!(is_changed || ended.is_ok(), "{ended:?}");
    let mistakes: Vec<_> = said.read().iter().filter(|line| line.contains("a mistake")).cloned().collect();
    assert_eq!(mistakes, [""; 0]);
    nodes
}

fn in_order(memory: &Memory) {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), &*memory.0.read()).unwrap();
    let checked = Command::new("e2fsck").arg("-fn").arg(file.path()).output().unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
}

struct Memory(RwLock<Vec<u8>>);

impl ReadAt for Memory {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read().read_at(buf, offset)
    }
}

impl Device for Memory {
    fn size(&self) -> u64 {
        self.0.read().len() as u64
    }

    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        self.0.write()[offset as usize..][..data.len()].copy_from_slice(data);
        Ok(())
    }

    fn reserve(&self, offset: u64, length: u64) -> io::Result<()> {
        assert!(offset + length <= self.size());
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}
