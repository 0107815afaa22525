//! What is outside of the namespaces: it starts the server and what enters them, and waits for both, as `exec` does.

use std::env;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use condatainer_formats::source::Window;
use condatainer_stack::namespace::{mounts, user::Users};
use condatainer_stack::process::start::{Entrance, Patience, Server};
use condatainer_stack::process::{ENTER, Entry, Format, Image, Stack};
use condatainer_writer::device::FileDevice;
use condatainer_writer::recover;
use nix::unistd::{getegid, geteuid};

use super::place::RANGE;

/// What a server that was killed has left was replayed; as a status.
pub(crate) const KILLED: u8 = 77;

/// What lies below: a directory, or images of layers, lowest first.
fn lower(place: &Path) -> Vec<(Format, u64, File)> {
    let opened = ["lower.sqf", "higher.sqf"].map(|name| File::open(place.join(name)));
    let layers = opened.into_iter().flatten().map(|file| (Format::Squashfs, file.metadata().unwrap().len(), file));
    let layers: Vec<_> = layers.collect();
    if layers.is_empty() { vec![(Format::Directory, 0, File::open(place.join("lower")).unwrap())] } else { layers }
}

/// Runs `words` in the namespaces; `$D` is the overlay. `KILL` says after how many microseconds the server is killed.
pub(crate) fn start(words: &[OsString]) -> ExitCode {
    let place = PathBuf::from(env::var_os("PLACE").unwrap());
    let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
    let users = match env::var_os("RANGE") {
        Some(_) => Users::Subuid { uid, gid, uids: RANGE, gids: RANGE },
        None if uid == 0 => Users::Everybody,
        None => Users::Caller { uid, gid },
    };
    let program = env::current_exe().unwrap();
    let stack = Stack { users: users.clone(), points: Vec::new(), memory: None };
    let lower = lower(&place);
    let file = File::options().read(true).write(true).open(place.join("disk/image")).unwrap();
    let size = file.metadata().unwrap().len();
    // By its name the server, which gets no variables, knows what is tried.
    let name = env::var("TRIED").unwrap_or_else(|_| "image".into());
    let image = |format, size| Image { path: name.clone().into(), format, offset: 0, size };
    let layers = lower.iter().map(|(format, size, file)| (image(*format, *size), file.as_fd()));
    let images = layers.chain([(image(Format::Workspace, size), file.as_fd())]);
    let mut server = Server::start(&program, images, &stack, None).unwrap();
    let at = place.join("place");
    let (entrance, stdin) = Entrance::pair().unwrap();
    let entry = Entry { users, place: at.clone(), is_written: true, is_overlaid: false, is_laid: true };
    let mut command = Command::new(&program);
    command.arg(ENTER).args(words).stdin(Stdio::from(stdin)).env("D", mounts::merged(&at, true));
    let mut engine = command.spawn().unwrap();
    drop(command);
    let led = entrance.lead(engine.id(), &entry, io::stdin().as_fd(), &server);
    if let Err(why) = led {
        println!("refused: {why}");
        let _ = engine.wait();
        return ExitCode::from(125);
    }
    let kill = env::var("KILL").ok().map(|after| after.parse().unwrap());
    if let Some(after) = kill {
        thread::sleep(Duration::from_micros(after));
        server.kill();
    }
    let status = engine.wait().unwrap();
    for line in server.end(Patience::UntilWritten).lines {
        println!("server: {line}");
    }
    if kill.is_some() {
        recover(Arc::new(FileDevice::new(file, Window::whole(size)))).unwrap();
        return ExitCode::from(KILLED);
    }
    ExitCode::from(u8::try_from(status.code().unwrap_or(99)).unwrap())
}
