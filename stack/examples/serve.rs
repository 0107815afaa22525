//! Serves images at a directory, as root: for measurements, and for a look at what is shown. It ends when that is unmounted.
//!
//! `serve [--plain UID:GID] [--threads N] [--tmp DIRECTORY] PLACE LAYER…`, the lowest first. A layer is `squashfs:FILE`, `ext:FILE` or `ext-upper:FILE`.
//! What is served is in `PLACE/lower`; with `--tmp` there are `upper` and `work` besides, kept in that directory.

#![forbid(unsafe_code)]

use std::error::Error;
use std::fs::{File, OpenOptions};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use condatainer_formats::ext::Ids;
use condatainer_formats::source::Window;
use condatainer_formats::squashfs::Budget;
use condatainer_stack::ids::Show;
use condatainer_stack::layer::ext::{ExtLayer, Start};
use condatainer_stack::layer::squashfs::SquashfsLayer;
use condatainer_stack::layer::{Layer, Time};
use condatainer_stack::merge::{Merged, Stacked};
use condatainer_stack::scratch::{Backing, Scratch};
use condatainer_stack::serve::tree::Tree;
use condatainer_stack::serve::{Lower, Options, Requests, Top, Trouble, run};
use nix::mount::{MsFlags, mount};

type Failure = Box<dyn Error>;

fn main() -> Result<(), Failure> {
    let (mut show, mut threads, mut scratch, mut words) = (Show::everything(), 4, None, Vec::new());
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or("a value is missing");
        match &*argument {
            "--plain" => show = Show::Plain(ids(&value()?)?),
            "--threads" => threads = value()?.parse()?,
            "--tmp" => scratch = Some(File::open(value()?)?),
            _ => words.push(argument),
        }
    }
    let [place, layers @ ..] = &*words else { return Err("serve PLACE LAYER…".into()) };
    let layers = layers.iter().map(|word| open(word)).collect::<Result<Vec<_>, _>>()?;
    let options = Options { threads, acls: show.shows_acls() };
    let lower = Arc::new(Lower::new(Merged::new(layers)?, show, Arc::new(Trouble::on_stderr())));
    let (ids, node, is_written) = (lower.ids_of_root(), lower.root(), scratch.is_some());
    let writable = scratch.map(|directory| -> Result<_, Failure> {
        let scratch = Scratch::new(Backing::beneath(directory.as_fd())?, None, ids, 0o755);
        let tops = vec![Top { name: "upper", node: scratch.upper() }, Top { name: "work", node: scratch.work() }];
        Ok((Arc::new(scratch) as Arc<dyn Tree>, tops))
    });
    let requests = Requests::new((lower, node), writable.transpose()?, ids, Time::default());
    run(requests, attach(Path::new(place), is_written)?, options, || println!("ready"))?;
    Ok(())
}

fn ids(text: &str) -> Result<Ids, Failure> {
    let (uid, gid) = text.split_once(':').ok_or("--plain UID:GID")?;
    Ok(Ids { uid: uid.parse()?, gid: gid.parse()? })
}

fn open(word: &str) -> Result<Stacked, Failure> {
    let (kind, path) = word.split_once(':').ok_or("a layer is KIND:FILE")?;
    let file = File::open(path)?;
    let bytes = file.metadata()?.len();
    let window = Window::whole(bytes);
    let layer: Arc<dyn Layer> = match kind {
        "squashfs" => Arc::new(SquashfsLayer::open(file, window, Budget { metadata: 8 << 20, data: 16 << 20 })?),
        "ext" => Arc::new(ExtLayer::open(file, window, Start::Root, 8 << 20)?),
        "ext-upper" => Arc::new(ExtLayer::open(file, window, Start::Upper, 8 << 20)?),
        _ => return Err(format!("{kind} is none of squashfs, ext and ext-upper").into()),
    };
    Ok(Stacked { path: path.into(), bytes, layer })
}

fn attach(place: &Path, is_written: bool) -> Result<OwnedFd, Failure> {
    let device = OpenOptions::new().read(true).write(true).open("/dev/fuse")?;
    let number = device.as_raw_fd();
    let data = format!("fd={number},rootmode=40000,user_id=0,group_id=0,default_permissions,allow_other");
    let mut flags = MsFlags::MS_NODEV | MsFlags::MS_NOSUID;
    flags.set(MsFlags::MS_RDONLY, !is_written);
    mount(Some("condatainer"), place, Some("fuse"), flags, Some(&*data))?;
    Ok(device.into())
}
