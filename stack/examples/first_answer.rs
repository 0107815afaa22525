//! How long it takes until what a server serves can be read, from before its process is started.
//!
//! `first_answer PROGRAM PLACE IMAGE…`: PROGRAM is condatainer, PLACE a directory to mount on, an IMAGE `squashfs:FILE` or `ext:FILE`, the lowest
//! first. Prints medians and quartiles of $RUNS runs (50), in ms: until the server answers the kernel, and until the process that becomes the
//! engine has its namespaces and mounts, has listed the root, and runs `/bin/true`. Beside them, what starting `PROGRAM --version` takes.

#![forbid(unsafe_code)]

use std::error::Error;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use condatainer_stack::namespace::user::Users;
use condatainer_stack::process::start::{Entrance, Patience, Server};
use condatainer_stack::process::{ENTER, Entry, Format, Image, Stack};
use nix::unistd::{getegid, geteuid};

type Failure = Box<dyn Error>;

fn main() -> Result<(), Failure> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [program, place, images @ ..] = &*words else { return Err("first_answer PROGRAM PLACE IMAGE…".into()) };
    let (program, place) = (Path::new(program), Path::new(place));
    let runs: usize = std::env::var("RUNS").map_or(Ok(50), |runs| runs.parse())?;
    let images = images.iter().map(|word| open(word)).collect::<Result<Vec<_>, _>>()?;
    let mut columns = [Vec::new(), Vec::new()];
    for turn in 0..=runs {
        let started = Instant::now();
        Command::new(program).arg("--version").stdout(Stdio::null()).status()?;
        let version = started.elapsed();
        let whole = serve_once(program, place, &images)?;
        // The first is not counted.
        if turn > 0 {
            [whole, version]
                .iter()
                .zip(&mut columns)
                .for_each(|(took, column)| column.push(took.as_secs_f64() * 1000.0));
        }
    }
    for (what, mut column) in ["until the root is listed in the namespaces", "PROGRAM --version"].iter().zip(columns) {
        column.sort_by(f64::total_cmp);
        let at = |part: usize| column.get(column.len() * part / 4).copied().unwrap_or_default();
        println!("| {what} | {:.2} | {:.2}–{:.2} |", at(2), at(1), at(3));
    }
    Ok(())
}

fn open(word: &str) -> Result<(Image, File), Failure> {
    let (format, path) = word.split_once(':').ok_or("an image is FORMAT:FILE")?;
    let format = match format {
        "squashfs" => Format::Squashfs,
        "ext" => Format::Ext,
        _ => return Err(format!("{format} is neither squashfs nor ext").into()),
    };
    let file = File::open(path)?;
    let size = file.metadata()?.len();
    Ok((Image { path: path.into(), format, offset: 0, size }, file))
}

fn serve_once(program: &Path, place: &Path, images: &[(Image, File)]) -> Result<std::time::Duration, Failure> {
    let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
    let users = if uid == 0 { Users::Everybody } else { Users::Caller { uid, gid } };
    let stack = Stack { users: users.clone(), points: Vec::new(), memory: None };
    let started = Instant::now();
    let images = images.iter().map(|(image, file)| (image.clone(), file.as_fd()));
    let server = Server::start(program, images, &stack, None)?;
    let (entrance, stdin) = Entrance::pair()?;
    let entry = Entry { users, place: place.into(), is_written: false, is_overlaid: false, is_laid: false };
    let mut command = Command::new(program);
    command.args([ENTER, "/bin/true"]).stdin(Stdio::from(stdin));
    let mut engine = command.spawn()?;
    drop(command);
    entrance.lead(engine.id(), &entry, io::stdin().as_fd(), &server)?;
    let took = started.elapsed();
    engine.wait()?;
    server.end(Patience::Short).lines.iter().for_each(|line| eprintln!("{line}"));
    Ok(took)
}
