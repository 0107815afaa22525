//! What a call changes besides what it is for: the times of a file and of its directory; and what an open file lets be done.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use rustix::fs as sys;
use rustix::fs::{CWD, Mode, OFlags, Timespec, Timestamps};

use super::ground::{one, said};

/// The calls of a user, each with what it is about; `effects` has a file and a directory whose times are told.
pub(crate) const CALLS: &str = "
    umask 022; mkdir d 0755; mkdir e 0755; create d/f 0644; effects d/f d chmod d/f 0600; effects d/f d write d/f 10; effects d/f d truncate d/f 3
    effects d/f d truncate d/f 3; effects d/f d truncate d/f 9; effects d/f d link d/f d/l; effects d/f d unlink d/l; effects d/f d rename d/f d/g
    effects d/g e rename d/g e/g; effects e/g d rename e/g d/f; effects d/f d xattr d/f user.a 5; effects d/f d chown d/f own own; effects d/f d stat d/f
    effects d/f d open d/f r; effects d/f d open d/f w; effects d/f d open d/f wt; effects d/f d open d/f wt; effects d/f d times d/f 5 6
    effects d/f d omit d/f 7 omit; effects d/f d omit d/f omit 8; effects d/f d omit d/f omit omit; stat d/f; effects d/f d omit d/f now omit
    effects d d mkdir d/s 0755; effects d/s d rename d/s e/s; effects e/s d rename e/s d/s; effects d d rmdir d/s; effects d d symlink x d/y
    effects d d unlink d/y; effects d d fifo d/p 0644; effects d/p d chmod d/p 0600; effects d d unlink d/p; effects d/f d append d/f; effects d/f d unmade d/f
    create d/a 0644; create d/b 0644; effects d/a d rename d/a d/b exchange; effects d/b d rename d/a d/b; effects d/b e link d/b e/b; effects e/b d unlink d/b
    open d/f we; open d/f rt; stat d/f; write d/f 9; open d/f rt; stat d/f; symlink nowhere dangling; open dangling rce; open dangling rcx; stat nowhere
    open dangling wc; stat nowhere; open d wt; open d rcd; open new rcd; stat new; open d path; open dangling path; open d/f noatime; append d/f; readonly d/f
    fifo q 0600; open q wn; open q rn; open q/x r; stat d/f/x; chmod d/f/x 0600; rename d/f/x y; rename d/b d/f/x; link d/f/x y; symlink x d/f/y; readlink d/f/x
    truncate d/f/x 1; times d/f/x 1 2; xattr d/f/x user.a 5; get d/f/x user.a; rmdir d/f/x; chown d/f/x own own; get d/f user.none; symlink l1 l2; symlink l2 l1
    stat l1/x; chmod l1 0600; rename d/f l1/x; link l1/x y; truncate l1 1; mkdir l1/x 0755; rmdir l1; unlink l1; rename d /proc/x; link d/f /proc/x
    chmod LONG256 0600; stat LONG256; truncate LONG256 1; rename LONG256 x; readlink LONG256; times LONG256 1 2; rmdir LONG256; xattr LONG256 user.a 5
    xattr d/f user.LONG249 5; xattr d/f user.LONG250 5; xattr d/f user.LONG251 5; symlink PATH4096 z; busy x; mkdir sg 02775; mkdir sg/in 0700; stat sg/in
    chmod sg/in 0755; stat sg/in; chmod sg/in 02755; stat sg/in; rename d d/../d; rename e d/b; rename d/b e; rename e/. x; rename d/.. x; rmdir e/.; mkdir d/ 0755
    mkdir slash/ 0755; stat slash/; rmdir slash/; create slash/ 0644; symlink d dl; rmdir dl; unlink dl/; rename dl dm; stat dm; mkdir dm 0755; rename d dm
";

/// Those of root and of others, as in [`super::ground`].
pub(crate) const OTHERS: &str = "
    umask 022; mkdir s 01777; 5 mkdir s/d 0755; 6 rmdir s/d; 6 rename s/d s/e; 6 mkdir s/e 0755; 6 rename s/e s/d; 5 rename s/d s/e; 5 create s/f 0666
    6 create s/g 0666; 6 rename s/g s/f; 5 rename s/f s/g; 6 write s/f 3; 6 truncate s/f 1; 6 chmod s/f 0600; 6 chown s/f 6 6; 6 rename s/f s/g exchange
    5 rename s/f s/g exchange; chown s 5 5; 5 unlink s/g; 5 rmdir s/e; stat s; rmdir s; mkdir r 0777; mkdir q 0777; 5 mkdir r/d 0755; 6 rename r/d q/d; 6 rename r/d r/e
    5 rename r/e q/d; 6 mkdir r/o 0755; 5 rename q/d r/o; 6 rmdir q/d; 5 mkdir q/d/x 0755; 6 rmdir q/d; 6 rename q/d r/o; 6 rename r/o q/d
    mkdir t 02777; chown t 5 7; chmod t 02777; 6 create t/f 02755; stat t/f; 6 mkdir t/d 0700; stat t/d; 6 chmod t/d 02700; stat t/d; 6 create t/g 0644; 6 chmod t/g 02755
    stat t/g; 6 chown t/g 6 6; stat t/g; 6 chmod t/g 02755; stat t/g; 6 write t/g 5; stat t/g; chmod t/g 06755; 5 write t/g 3; chmod t/g 06777; 5 write t/g 3; stat t/g
    chmod t/g 06777; 5 truncate t/g 1; stat t/g; chmod t/d 06755; chown t/d 5 5; stat t/d; create u 0644; chown u 5 5
    6 times u now now; 6 omit u omit omit; 6 omit u now omit; 5 omit u 5 omit; chmod u 0666; 6 omit u now omit; 6 times u now now; 6 omit u omit now; 6 omit u 5 omit
    6 open u noatime; 5 open u noatime; 6 open u wt; 6 device u/x 0600; 6 device q/dev 0600; 6 fifo q/p 0644; 6 xattr u trusted.a 5
    mkdir v 0; 5 stat v; 5 open v rd; 5 create v/f 0644; 5 stat v/f; mkdir w 0333; 5 open w rd; 5 create w/f 0644; 5 stat w/f; 6 unlink w/f; mkdir x 0555
    5 create x/f 0644; 5 mkdir x/d 0755; create x/f 0644; 5 unlink x/f; 5 rename x/f y; 5 link x/f q/l; 5 chmod x/f 0600; mkdir y 0755; 5 symlink a y/l; symlink a y/l
    5 unlink y/l; 5 readlink y/l; chmod y 0700; 5 readlink y/l; 5 access y w; 5 access q w; 5 access u w
";

/// A call of this module, if it is one.
pub(crate) fn call(words: &[&str]) -> Option<String> {
    let path = words[1];
    Some(match words[0] {
        "effects" => effects(path, words[2], &words[3..].join(" ")),
        "omit" => omit(path, words),
        "append" => said(append(path)),
        "readonly" => said(read_only(path)),
        "unmade" => said(unmade(path)),
        "busy" => said(busy(path)),
        _ => return None,
    })
}

/// Which times a call changes: of a file, wherever it is then, and of a directory.
fn effects(file: &str, directory: &str, words: &str) -> String {
    let held = sys::open(file, OFlags::PATH | OFlags::NOFOLLOW, Mode::empty()).unwrap();
    let look = || {
        let file = sys::fstat(&held).unwrap();
        let directory = fs::metadata(directory).unwrap();
        let times = |at: [(i64, i64); 2]| at;
        [
            times([(file.st_mtime, file.st_mtime_nsec as i64), (file.st_ctime, file.st_ctime_nsec as i64)]),
            times([(directory.mtime(), directory.mtime_nsec()), (directory.ctime(), directory.ctime_nsec())]),
        ]
    };
    let before = look();
    // The clock of files goes in steps.
    sleep(Duration::from_millis(12));
    let answer = one(words);
    let changed: Vec<String> = (0..2)
        .map(|which| {
            let marks = ["m", "c"].iter().enumerate().filter(|(at, _)| before[which][*at] != look()[which][*at]);
            format!("{}{}", ["file ", "directory "][which], marks.map(|(_, mark)| *mark).collect::<String>())
        })
        .collect();
    format!("{answer} {}", changed.join(" "))
}

/// utimensat(2) with times that are left alone.
fn omit(path: &str, words: &[&str]) -> String {
    let time = |word: &str| match word {
        "omit" => Timespec { tv_sec: 0, tv_nsec: sys::UTIME_OMIT as _ },
        "now" => Timespec { tv_sec: 0, tv_nsec: sys::UTIME_NOW as _ },
        word => Timespec { tv_sec: word.parse().unwrap(), tv_nsec: 123_456_789 },
    };
    let times = Timestamps { last_access: time(words[2]), last_modification: time(words[3]) };
    let done = sys::utimensat(CWD, path, &times, sys::AtFlags::SYMLINK_NOFOLLOW);
    said(done.map_err(io::Error::from).and_then(|()| fs::symlink_metadata(path)).map(|found| {
        let old =
            |seconds: i64, part: i64| if seconds < 1_000_000 { format!("{seconds}.{part}") } else { "new".into() };
        format!("{} {}", old(found.atime(), found.atime_nsec()), old(found.mtime(), found.mtime_nsec()))
    }))
}

/// Two who append do not write over each other.
fn append(path: &str) -> io::Result<String> {
    fs::write(path, "start")?;
    let open = || File::options().append(true).open(path);
    let (mut one, mut other) = (open()?, open()?);
    one.write_all(b"1")?;
    other.write_all(b"2")?;
    one.write_all(b"3")?;
    fs::read_to_string(path)
}

fn read_only(path: &str) -> io::Result<String> {
    let (mut read, mut written) = (File::open(path)?, File::options().write(true).open(path)?);
    Ok(format!(
        "{} {}",
        said(read.write(b"x").map(|_| String::new())),
        said(written.read(&mut [0]).map(|_| String::new()))
    ))
}

/// A file that is open is still all there when it has no name.
fn unmade(path: &str) -> io::Result<String> {
    let mut file = File::options().read(true).write(true).open(path)?;
    fs::remove_file(path)?;
    file.write_all(b"more")?;
    file.set_len(2)?;
    file.set_permissions(fs::Permissions::from_mode(0o640))?;
    let found = file.metadata()?;
    let again = File::options().write(true).create_new(true).mode(0o644).open(path);
    Ok(format!("{} {:o} {} {}", found.nlink(), found.mode(), found.len(), again.is_ok()))
}

/// A program that runs is not written to, and one that is written to does not run.
fn busy(path: &str) -> io::Result<String> {
    fs::copy("/bin/sleep", path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
    let mut running = Command::new(std::path::absolute(path)?).arg("60").stdin(Stdio::null()).spawn()?;
    let told = [one(&format!("open {path} w")), one(&format!("truncate {path} 0")), one(&format!("open {path} r"))];
    let renamed = fs::rename(path, format!("{path}2")).and_then(|()| fs::remove_file(format!("{path}2")));
    running.kill()?;
    running.wait()?;
    fs::copy("/bin/sleep", path)?;
    let written = File::options().write(true).open(path)?;
    let refused = Command::new(std::path::absolute(path)?).arg("0").status();
    drop(written);
    fs::remove_file(path)?;
    Ok(format!("{told:?} {} {}", renamed.is_ok(), said(refused.map(|status| format!("{:?}", status.code())))))
}
