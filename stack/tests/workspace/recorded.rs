//! Power cuts in the work of real programs: what they have done to the disk is noted, and each part of it replayed, by us, by e2fsck and by the
//! kernel. What a program has made to last is there, and what it never shows in part, is whole.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use condatainer_writer::replay;

use super::place::{Place, Who, run};
use super::record::{Overlay, apply, each_cut};
use super::{Test, chance, disk};

pub(crate) const TESTS: &[Test] = &[
    ("tar_is_cut_off", tar_is_cut_off),
    ("dpkg_is_cut_off", dpkg_is_cut_off),
    ("sqlite_is_cut_off", sqlite_is_cut_off),
    ("git_is_cut_off", git_is_cut_off),
    ("copies_are_cut_off", copies_are_cut_off),
];

/// What is in the image after a crash: `upper`, and what was said to last last, as a number.
type Holds<'a> = &'a dyn Fn(&Path, u64) -> Result<(), String>;

/// Says that what has so high a number lasts.
const LASTS: &str = "lasts() { echo $(stat -c %s $PLACE/oracle/events) $1 >> $PLACE/oracle/lasts; }; ";

/// Where all is installed that a script calls, or it says that it is not.
fn is_covered(programs: &[&str]) -> bool {
    let missing = programs.iter().find(|program| !Path::new("/usr/bin").join(program).exists());
    if let Some(missing) = missing {
        println!("NOT COVERED: no {missing} here");
    }
    missing.is_none()
}

/// Does it, and cuts it off again and again.
fn cut_off(place: &Place, who: Who, script: &str, holds: Holds<'_>) -> Result<(), String> {
    place.own("oracle");
    let base = fs::read(place.image()).unwrap();
    let events = place.path("oracle/events");
    let script = format!("set -e; cd $D; {LASTS}{script}");
    let mut command = place.command(who, &["/bin/bash", "-c", &script]);
    let output = command.env("TRIED", disk::noted(events.to_str().unwrap())).output().unwrap();
    if !output.status.success() {
        return Err(format!("{output:?}"));
    }
    let (recorder, starts) = disk::again(base, &fs::read(&events).unwrap());
    let lasts: Vec<(u64, u64)> =
        fs::read_to_string(place.path("oracle/lasts")).unwrap_or_default().lines().map(pair).collect();
    let last = |end: usize| {
        let at = starts.get(end).copied().unwrap_or(u64::MAX);
        lasts.iter().rfind(|(from, _)| *from <= at).map_or(0, |(_, number)| *number)
    };
    let mut wrong = Vec::new();
    let mut tries = 0;
    let mut check = |image: &Overlay<'_>, end: usize, by: usize| {
        tries += 1;
        let why = shown(place, image, by).and_then(|shown| holds(&shown.upper, last(end)));
        wrong.extend(why.err().map(|why| format!("after {end} of {} events, {by}: {why}", starts.len())));
    };
    let count = chance::runs(6) as usize;
    each_cut(&recorder, chance::seed(), count, |overlay, end| check(overlay, end, end % 3));
    // All of some prefixes, too.
    let (mut image, mut applied) = (recorder.base.clone(), 0);
    let all = recorder.events();
    for end in (0..=all.len()).step_by((all.len() / count).max(1)) {
        apply(&mut image, &all[applied..end]);
        applied = end;
        check(&Overlay::new(&image), end, (end + 1) % 3);
    }
    println!("{} events, {tries} cuts", all.len());
    match wrong.first() {
        None => Ok(()),
        Some(first) => Err(format!("{} of {tries}: {first}", wrong.len())),
    }
}

fn pair(line: &str) -> (u64, u64) {
    let (at, number) = line.split_once(' ').unwrap();
    (at.parse().unwrap(), number.parse().unwrap())
}

/// An image after a crash, replayed and mounted.
struct Shown {
    _mounted: super::place::Mounted,
    upper: PathBuf,
}

/// Replayed by us, by e2fsck, or by the kernel. It is a file of its own: what was mounted before may be in use for a moment more.
fn shown(place: &Place, image: &Overlay<'_>, by: usize) -> Result<Shown, String> {
    let at = "oracle/shown";
    fs::create_dir_all(place.path(at)).unwrap();
    let file = tempfile::NamedTempFile::new_in(place.path("oracle")).unwrap();
    let path = file.path();
    if by == 0 {
        replay(image).map_err(|error| error.to_string())?;
    }
    fs::write(path, image.image()).unwrap();
    if by == 1 {
        let output = Command::new("e2fsck").arg("-fy").arg(path).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if !matches!(output.status.code(), Some(0 | 1)) || text.contains("? yes") {
            return Err(text);
        }
    }
    // What is left of deletions is done by whoever mounts it first.
    let mount = ["-m", "--propagation", "private", "sh", "-c", "mount -o loop \"$0\" \"$1\" && umount \"$1\""];
    run(Command::new("unshare").args(mount).arg(path).arg(place.path(at)));
    let checked = Command::new("e2fsck").arg("-fn").arg(path).output().unwrap();
    if !checked.status.success() {
        return Err(String::from_utf8_lossy(&checked.stdout).into_owned());
    }
    Ok(Shown { _mounted: place.mount(path, at), upper: place.path(at).join("upper") })
}

/// All that lies at a place, if it exists.
fn files(top: &Path) -> Vec<PathBuf> {
    let mut found: Vec<_> = Some(top.to_path_buf()).into_iter().filter(|top| top.exists()).collect();
    let mut at = 0;
    while at < found.len() {
        if fs::symlink_metadata(&found[at]).unwrap().is_dir() {
            found.extend(fs::read_dir(&found[at]).unwrap().map(|entry| entry.unwrap().path()));
        }
        at += 1;
    }
    found
}

/// Some 150 files below `at`.
fn tree(at: &Path, text: &str) {
    for directory in 0..10 {
        let directory = at.join(format!("d{}/e{directory}", directory % 3));
        fs::create_dir_all(&directory).unwrap();
        for file in 0..14_usize {
            fs::write(directory.join(format!("f{file}")), text.repeat(file * file * 70 % 2400)).unwrap();
        }
        std::os::unix::fs::symlink("f3", directory.join("link")).unwrap();
        fs::hard_link(directory.join("f4"), directory.join("same")).unwrap();
    }
}

/// A file has all that it has in the archive, or the beginning of it; what was made to last is all there.
fn tar_is_cut_off() -> Result<(), String> {
    let place = Place::new(24, &["-J", "size=1"], |_, lower| {
        tree(&lower.join("t"), "archive ");
        run(Command::new("tar")
            .arg("-C")
            .arg(lower)
            .args(["--numeric-owner", "-cf"])
            .arg(lower.join("t.tar"))
            .arg("t"));
    });
    let lower = place.path("lower/t");
    let script = "mkdir x; tar -xf t.tar -C x; sync x/t/d0/e0/f13 x/t; lasts 1; mkdir y; tar -xf t.tar -C y --warning=no-timestamp; rm -r x";
    cut_off(&place, Who::Plain, script, &|upper, lasts| {
        let mut whole = 0;
        for top in ["x/t", "y/t"].map(|top| upper.join(top)) {
            for path in files(&top) {
                let wanted = lower.join(path.strip_prefix(&top).unwrap());
                let [found, wanted_is] = [&path, &wanted].map(|path| fs::symlink_metadata(path).unwrap());
                if found.is_file() {
                    let [content, wanted] = [&path, &wanted].map(|path| fs::read(path).unwrap());
                    if !wanted.starts_with(&content) {
                        return Err(format!("{} has what is not its own", path.display()));
                    }
                    // Its mode and time are set when all is in it.
                    if found.mtime() == wanted_is.mtime()
                        && content.len() < wanted.len()
                        && found.mtime() < 1_000_000_000
                    {
                        return Err(format!("{} is not whole", path.display()));
                    }
                    whole += usize::from(content.len() == wanted.len());
                }
            }
        }
        let is_removed = upper.join("y").exists();
        if lasts == 1 && !is_removed && whole < 150 { Err(format!("{whole} are whole")) } else { Ok(()) }
    })
}

/// A file that was there is that of one version or of the next.
fn dpkg_is_cut_off() -> Result<(), String> {
    if !is_covered(&["dpkg", "dpkg-deb"]) {
        return Ok(());
    }
    let texts = ["one ", "another "];
    let place = Place::new(24, &["-J", "size=1"], |_, lower| {
        for (version, text) in (1..).zip(texts) {
            let at = lower.join(format!("p{version}"));
            tree(&at.join("usr/share/p"), text);
            fs::create_dir(at.join("DEBIAN")).unwrap();
            let control =
                format!("Package: p\nVersion: {version}\nArchitecture: all\nMaintainer: a <a@b>\nDescription: p\n");
            fs::write(at.join("DEBIAN/control"), control).unwrap();
            run(Command::new("dpkg-deb")
                .args(["--root-owner-group", "-Znone", "-b"])
                .arg(&at)
                .arg(lower.join(format!("p{version}.deb"))));
            fs::remove_dir_all(at).unwrap();
        }
    });
    let wanted = place.path("oracle/wanted");
    for (number, text) in texts.iter().enumerate() {
        tree(&wanted.join(number.to_string()), text);
    }
    let script = "export PATH=$PATH:/usr/sbin:/sbin; mkdir -p r/var/lib/dpkg/info r/var/lib/dpkg/updates r/var/lib/dpkg/triggers; : > r/var/lib/dpkg/status; sync r/var/lib/dpkg/status
        for n in 1 2; do dpkg --force-bad-path --root=$PWD/r --log=/dev/null -i p$n.deb > /dev/null; lasts $n; done";
    cut_off(&place, Who::Range, script, &|upper, lasts| {
        let (top, admin) = (upper.join("r/usr/share/p"), upper.join("r/var/lib/dpkg"));
        let of =
            |number: u64, path: &Path| fs::read(wanted.join(number.to_string()).join(path.strip_prefix(&top).unwrap()));
        let mut seen = [0; 2];
        for path in files(&top).into_iter().filter(|path| path.is_file()) {
            if path.extension().is_some() {
                continue;
            }
            let content = fs::read(&path).unwrap();
            let which = (0..2).find(|number| of(*number, &path).is_ok_and(|wanted| wanted == content));
            seen[which.ok_or_else(|| format!("{} is of no version: {} bytes", path.display(), content.len()))?
                as usize] += 1;
        }
        let status = fs::read_to_string(admin.join("status")).unwrap_or_default();
        let is_installed = status.contains("Status: install ok installed");
        match lasts {
            1 if seen[0] + seen[1] < 150 => Err(format!("{seen:?}")),
            2 if seen[1] < 150 => Err(format!("{seen:?}")),
            1.. if !(is_installed || status.contains("Package: p\n")) => Err(format!("status: {status}")),
            _ => Ok(()),
        }
    })
}

/// Every row that was committed is there, but for the last one where the journal's removal has not been made to last.
fn sqlite_is_cut_off() -> Result<(), String> {
    if !is_covered(&["sqlite3"]) {
        return Ok(());
    }
    for (mode, may_lack) in [("delete", 1), ("truncate", 1), ("wal", 0)] {
        let place = Place::new(24, &["-J", "size=1"], |_, _| {});
        let script = format!(
            "sqlite3 db 'pragma journal_mode={mode}; pragma synchronous=full; create table t(a integer primary key, b text)' > /dev/null; sync db .
            for n in $(seq 14); do sqlite3 db \"pragma synchronous=full; insert into t(b) values(hex(randomblob($n * 700)))\"; lasts $n; done"
        );
        let held = cut_off(&place, Who::Plain, &script, &|upper, lasts| {
            if lasts == 0 {
                return Ok(());
            }
            let script = "pragma integrity_check; select count(*), sum(length(b) = a * 1400) from t";
            let output = Command::new("sqlite3").arg(upper.join("db")).arg(script).output().unwrap();
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            let rows = said.strip_prefix("ok\n").and_then(|rest| rest.trim().split_once('|'));
            match rows {
                Some((rows, whole)) if rows == whole && rows.parse::<u64>().unwrap() + may_lack >= lasts => Ok(()),
                _ => Err(format!("{lasts} were committed: {output:?}")),
            }
        });
        held.map_err(|why| format!("{mode}: {why}"))?;
    }
    Ok(())
}

/// What is reachable is whole, and nothing that was committed is lost but for the last name.
fn git_is_cut_off() -> Result<(), String> {
    if !is_covered(&["git"]) {
        return Ok(());
    }
    let place = Place::new(24, &["-J", "size=1"], |_, _| {});
    let script = "export HOME=$D GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
        git init -q r; cd r; git config core.fsync all; git config gc.auto 0; sync .git/HEAD .git/config
        for n in $(seq 7); do for f in 1 2 3 4; do seq $n $((f * 300)) > f$f.$n; done; git add .; git commit -qm $n; lasts $n; done; git repack -adq; lasts 8";
    cut_off(&place, Who::Plain, script, &|upper, lasts| {
        if lasts == 0 {
            return Ok(());
        }
        let git = |words: &[&str]| {
            let output = Command::new("git")
                .args(["-c", "safe.directory=*", "-C"])
                .arg(upper.join("r"))
                .args(words)
                .output()
                .unwrap();
            let said = [output.stdout, output.stderr].concat();
            (output.status.success(), String::from_utf8_lossy(&said).trim().to_owned())
        };
        let (is_sound, said) = git(&["fsck", "--full"]);
        // Before the first name there is none.
        let (_, count) = git(&["rev-list", "--count", "--all"]);
        match count.parse::<u64>() {
            Ok(count) if is_sound && count + 1 >= lasts.min(7) => Ok(()),
            _ => Err(format!("{lasts} were committed: {count} {said}")),
        }
    })
}

/// What layers have is in the image whole or not at all, and a name that is hidden is so in the change that takes it away.
fn copies_are_cut_off() -> Result<(), String> {
    let place = Place::new(24, &["-J", "size=1"], |_, lower| {
        fs::create_dir(lower.join("d")).unwrap();
        for (number, name) in (0..12_usize).flat_map(|number| ["f", "g", "h", "k", "d/"].map(|name| (number, name))) {
            fs::write(lower.join(format!("{name}{number}")), format!("{name}{number} ").repeat(number * 1700)).unwrap();
        }
    });
    let lower = place.path("lower");
    let script =
        "for n in $(seq 0 11); do echo more >> f$n; chmod 600 g$n; mv h$n i$n; rm k$n; sync f$n; lasts $((n + 1)); done
        mv d e; sync e; lasts 13";
    cut_off(&place, Who::Plain, script, &|upper, lasts| {
        let below = |name: String| fs::read(lower.join(name)).unwrap();
        let is_hidden =
            |name: &str| fs::symlink_metadata(upper.join(name)).is_ok_and(|found| found.file_type().is_char_device());
        let mode = |name: &str| fs::metadata(upper.join(name)).map_or(0, |found| found.mode() & 0o777);
        let hold = |holds: bool, what: String| if holds { Ok(()) } else { Err(what) };
        for number in 0..12 {
            let is_done = number < lasts;
            let [f, g, h, i, k] = ["f", "g", "h", "i", "k"].map(|name| format!("{name}{number}"));
            let changed = [below(f.clone()), b"more\n".to_vec()].concat();
            match fs::read(upper.join(&f)) {
                Ok(found) => hold(found == changed || !is_done && found == below(f.clone()), f)?,
                Err(_) => hold(!is_done, f)?,
            }
            match fs::read(upper.join(&g)) {
                Ok(found) => {
                    hold(found == below(g.clone()) && (mode(&g) == 0o600 || !is_done && mode(&g) == 0o644), g)?
                }
                Err(_) => hold(!is_done, g)?,
            }
            let is_moved = is_hidden(&h);
            hold(is_moved == upper.join(&i).exists() && (is_moved || !is_done), format!("{h} {i}"))?;
            let copy = if is_moved { i } else { h.clone() };
            hold(fs::read(upper.join(&copy)).map_or(!is_moved, |found| found == below(h)), copy)?;
            hold(is_hidden(&k) || !is_done, k)?;
        }
        hold(is_hidden("d") == upper.join("e").exists() && (is_hidden("d") || lasts < 13), "d and e".into())?;
        for top in ["d", "e"]
            .map(|top| upper.join(top))
            .iter()
            .filter(|top| xattr::get(top, "user.overlay.opaque").is_ok_and(|value| value.is_some()))
        {
            for number in 0..12 {
                let found = fs::read(top.join(number.to_string())).unwrap_or_default();
                hold(found == below(format!("d/{number}")), format!("{} of {}", number, top.display()))?;
            }
        }
        Ok(())
    })
}
