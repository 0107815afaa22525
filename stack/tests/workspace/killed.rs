//! The server is killed in the middle of work: what was made to last before is there afterwards, and the image is in order.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use fastrand::Rng;

use super::place::{Place, Who, same};
use super::start::KILLED;
use super::{Test, chance};

pub(crate) const TESTS: &[Test] =
    &[("a_killed_server_loses_nothing_that_was_synced", a_killed_server_loses_nothing_that_was_synced)];

fn a_killed_server_loses_nothing_that_was_synced() -> Result<(), String> {
    let place = Place::new(48, &["-J", "size=4"], |_, _| {});
    place.own("oracle");
    let mut random = Rng::with_seed(chance::seed());
    let program = place.path("program");
    for round in 0..chance::runs(50) {
        let mut command =
            place.command(Who::Plain, &[program.to_str().unwrap(), super::INSIDE, "work", &random.u64(..).to_string()]);
        let after = random.u64(1000..250_000);
        let output = command.env("KILL", after.to_string()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        // What a program is told whose file system has gone: the overlay takes a name that cannot be looked up any more for a stale one.
        let is_known = ["(os error 107)", "(os error 103)", "code: 107", "code: 103", "code: 116"]
            .iter()
            .any(|code| said.contains(code));
        if output.status.code() != Some(KILLED.into()) || !(said.is_empty() || is_known) || said.contains("LOST") {
            return Err(format!("round {round}, after {after} us: {}: {said}", output.status));
        }
        place.check().map_err(|why| format!("round {round}, after {after} us: {why}"))?;
    }
    let verified = fs::read_to_string(place.path("oracle/verified")).unwrap_or_default();
    same(verified.lines().count() > 20, true)
}

/// Looks whether all that is in the log of the host is there, and works until the end. The content of a file is its name, again and again.
pub(crate) fn work(d: &Path, oracle: &Path, seed: u64) {
    let mut random = Rng::with_seed(seed);
    let log = oracle.join("log");
    let known = fs::read_to_string(&log).unwrap_or_default();
    for line in known.lines() {
        let (name, length) = line.split_once(' ').unwrap();
        match fs::read(d.join(name)) {
            Ok(content) if content == text(name, length.parse().unwrap()) => {}
            Ok(content) => panic!("LOST {name}: {} bytes of {length}", content.len()),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => panic!("LOST {name}: {error}"),
            // The server is gone already.
            Err(error) => panic!("{name}: {error}"),
        }
    }
    append(&oracle.join("verified"), &format!("{}\n", known.lines().count()));
    // What was made to last in earlier rounds goes, so that there is always room.
    fs::remove_file(&log).or_else(|error| if known.is_empty() { Ok(()) } else { Err(error) }).unwrap();
    for entry in fs::read_dir(d).unwrap() {
        fs::remove_dir_all(entry.unwrap().path()).unwrap();
    }
    for directory in 0_u64.. {
        let directory = format!("{seed}-{directory}");
        fs::create_dir(d.join(&directory)).unwrap();
        for file in 0..random.u32(1..60) {
            let (path, length) = (format!("{directory}/{file}"), random.usize(1..40_000));
            let made = format!("{directory}/made");
            let mut written = File::create(d.join(&made)).unwrap();
            written.write_all(&text(&path, length)).unwrap();
            fs::rename(d.join(&made), d.join(&path)).unwrap();
            if random.u8(0..5) == 0 {
                written.sync_all().unwrap();
                append(&log, &format!("{path} {length}\n"));
            }
            if random.u8(0..4) == 0 {
                let link = d.join(format!("{directory}/link"));
                fs::hard_link(d.join(&path), &link).unwrap();
                fs::remove_file(&link).unwrap();
            }
        }
        if directory.len() % 3 == 0 {
            fs::create_dir_all(d.join("old")).unwrap();
        }
    }
}

fn append(path: &Path, text: &str) {
    let mut file = File::options().create(true).append(true).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

fn text(name: &str, length: usize) -> Vec<u8> {
    name.bytes().cycle().take(length).collect()
}
