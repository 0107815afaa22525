//! What a file system must say to each call: the same calls on a workspace and on the kernel's own ext3, each below the kernel's overlay.
//!
//! The calls are words in a line. Root's begin with whose they are.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::errno::Errno;
use rustix::fs as sys;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RenameFlags, Timespec, Timestamps};

use super::place::{NOBODY, Place, Who, run};
use super::{INSIDE, Test, effects};

pub(crate) const TESTS: &[Test] = &[
    ("a_user_is_told_what_ext3_tells", a_user_is_told_what_ext3_tells),
    ("root_and_others_are_told_what_ext3_tells", root_and_others_are_told_what_ext3_tells),
    ("calls_change_what_they_change_on_ext3", calls_change_what_they_change_on_ext3),
    ("others_may_do_what_they_may_on_ext3", others_may_do_what_they_may_on_ext3),
];

/// A user's calls.
const CALLS: &str = "
    umask 022; mkdir d 0755; mkdir d 0755; mkdir d/0555 0555; stat d/0555; create d/0555/f 0644; mkdir d/0555/d 0755
    mkdir d/0700 0700; mkdir d/2755 02755; stat d/2755; mkdir d/2755/in 0755; stat d/2755/in; create d/2755/f 0644; stat d/2755/f
    mkdir d/1777 01777; stat d/1777; create f 0666; stat f; create f 0666; umask 077; create g 0666; stat g; umask 0; create h 0666; stat h
    umask 022; create f/x 0644; mkdir f/x 0755; unlink f/x; rmdir f; unlink d; rmdir d; rmdir missing; unlink missing; create missing/x 0644
    create LONG255 0644; stat LONG255; create LONG256 0644; mkdir LONG256 0755; link f LONG256; rename f LONG256; symlink t LONG256
    unlink LONG255; create PATH4096 0644
    symlink f l; readlink l; stat l; symlink f l; readlink f; open l rnf; open l r; symlink loop loop; open loop r; create loop/x 0644
    symlink LONG4000 long; readlink long; unlink long; symlink missing dangling; open dangling r; create dangling 0644; open dangling rc
    stat missing; unlink missing; link f k; stat f; stat k; link f k; link d dd; link missing m; link f missing/m; unlink f; stat k; rename k f
    rename f f; rename f d; rename d f; rename d d/in; rename d d/0700/in; rename missing f; rename f missing/f; mkdir e 0755
    create e/x 0644; rename d/0700 e; rename e d/0700; stat d/0700; mkdir e 0755; rename d/0700 e; stat e; rename e/x e/y; unlink e/y; rmdir e
    rename f d/f noreplace; rename d/f d/1777 noreplace; rename d/f d/1777 exchange; stat d/f; stat d/1777; rename d/f d/1777 exchange
    rename d/f f; chmod f 0600; stat f; chmod f 07777; stat f; chmod d 01755; stat d; chmod missing 0644; chmod l 0640; stat f; chmod f 0
    open f r; open f w; chmod f 0644; access d/0555 w; chown f own own; chown f 0 own; chown f own 0; chown missing own own
    truncate f 1000; stat f; truncate f 10; stat f; truncate f -1; truncate d 0; truncate missing 0; truncate f 3000000000000000; stat f
    truncate f 17179869184; stat f; truncate f 0; write f 5; stat f; open f rc; open f rcx; open d w; open d rc; open d rd; open f rd
    open d tmp; open f/ r; open d/ r; open . r; open .. r; mkdir . 0755; mkdir .. 0755; rmdir .; rmdir d/..; unlink .; rename . x; rename d .
    fifo p 0644; stat p; fifo p 0644; device c 0600; unlink p; times f 1 2; stat f; times f -5 -7; stat f; times f 4102444800 1; stat f
    times missing 1 2; times d 5 6; stat d; times l 7 8; xattr f user.x 5; xattr f user.x 3000; xattr f user.x 70000; xattr l user.x 5
    xattr f trusted.x 5; xattr f system.x 5; xattr f nonsense 5; xattr d user.x 5; lock f; lock d; setgid d; seek f
    mkdir many 0755; stat many; mkdir many/a 0755; mkdir many/b 0755; rmdir many; rename many/a many/b; rmdir many/b; rmdir many; rmdir many
";

/// Calls of root and of others, whose number is said first.
const OTHERS: &str = "
    umask 022; mkdir s 01777; 5 create s/f 0644; 6 unlink s/f; 6 rename s/f s/g; 6 create s/g 0644; 5 rename s/f s/g; 5 unlink s/f; 6 unlink s/g
    mkdir p 0755; 5 create p/f 0644; 5 mkdir p/d 0755; chown p 5 6; stat p; 5 create p/f 0644; stat p/f; 6 create p/g 0644; 6 open p/f r
    6 open p/f w; 5 chmod p/f 0600; 6 open p/f r; 6 chmod p/f 0644; 5 chown p/f 6 6; 5 chown p/f 5 6; chown p/f 6 6; 5 chmod p/f 0644
    mkdir g 02775; chown g 0 7; stat g; chmod g 02777; 5 mkdir g/d 0755; stat g/d; 5 create g/f 0644; stat g/f; 5 create g/s 02755; stat g/s
    5 chmod g/f 02755; stat g/f; chown g/f 5 5; 5 chmod g/f 06755; stat g/f; chown g/f 6 6; stat g/f; chmod g/f 06755; 6 chown g/f 6 6; stat g/f
    create x 0700; chown x 5 5; 6 open x r; 5 open x r; 5 truncate x 100; 6 truncate x 1; 6 times x 1 2; 5 times x 1 2; stat x; chmod x 0666
    6 times x 1 2; 6 times x now now; 6 xattr x user.a 5; chmod x 0644; 6 xattr x user.a 5; 5 xattr x user.a 5; 5 xattr x security.a 5
    mkdir n 0711; create n/f 0644; 5 open n/f r; 5 open n rd; 5 create n/g 0644; chmod n 0700; 5 open n/f r; 5 stat n/f; 5 unlink n/f
    mkdir k 0777; 5 create k/f 0600; 6 link k/f k/g; 5 link k/f k/g; 6 rename k/f k/h; 6 unlink k/h; stat k/g; chown k/g 70000 70000
    symlink k l; chown l 5 5; stat l; create c 0755; xattr c security.capability cap; stat c; write c 5; get c security.capability
    xattr c security.capability cap; chown c 5 5; get c security.capability; device dev 0600; stat dev; rmdir s; rmdir p
";

fn a_user_is_told_what_ext3_tells() -> Result<(), String> {
    a_user_makes(CALLS)
}

fn root_and_others_are_told_what_ext3_tells() -> Result<(), String> {
    root_and_others_make(OTHERS)
}

fn calls_change_what_they_change_on_ext3() -> Result<(), String> {
    a_user_makes(effects::CALLS)
}

fn others_may_do_what_they_may_on_ext3() -> Result<(), String> {
    root_and_others_make(effects::OTHERS)
}

fn a_user_makes(calls: &str) -> Result<(), String> {
    let place = Place::new(16, &["-b", "4096", "-I", "256"], |_, _| {});
    let ours = place.run_inside(Who::Plain, &["ground", calls])?;
    let script = format!(
        "mount -o loop $IMAGE $PLACE/oracle/fs; exec setpriv --reuid {NOBODY} --regid {NOBODY} --clear-groups \
         unshare -U -m --map-current-user --keep-caps sh -ec '{MOUNT}
         exec setpriv --inh-caps=-all --ambient-caps=-all $PLACE/program {INSIDE} ground \"$CALLS\"'"
    );
    same_lines(&ours, &oracle(&place, &script, calls)?)?;
    place.check()
}

fn root_and_others_make(calls: &str) -> Result<(), String> {
    let place = Place::new(16, &["-b", "4096", "-I", "256"], |_, _| {});
    let ours = place.run_inside(Who::Root, &["ground", calls])?;
    let script =
        format!("mount -o loop $IMAGE $PLACE/oracle/fs; {MOUNT}\nexec $PLACE/program {INSIDE} ground \"$CALLS\"");
    same_lines(&ours, &oracle(&place, &script, calls)?)?;
    place.check()
}

const MOUNT: &str = "mount -t overlay -o userxattr,lowerdir=$PLACE/lower,upperdir=$PLACE/oracle/fs/upper,workdir=$PLACE/oracle/fs/work none $D";

/// What the kernel says to it, on an image that was made alike.
fn oracle(place: &Place, script: &str, calls: &str) -> Result<String, String> {
    let other = Place::new(16, &["-b", "4096", "-I", "256"], |_, _| {});
    for name in ["oracle/fs", "oracle/merged"] {
        fs::create_dir(place.path(name)).unwrap();
    }
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-ec", script]).env("PLACE", place.path("")).env("IMAGE", other.image());
    command.env("D", place.path("oracle/merged")).env("CALLS", calls).stdin(Stdio::null());
    Ok(run(&mut command))
}

fn same_lines(ours: &str, oracle: &str) -> Result<(), String> {
    let differ: Vec<_> = ours.lines().zip(oracle.lines()).filter(|(ours, oracle)| ours != oracle).collect();
    let differ: Vec<_> = differ.iter().map(|(ours, oracle)| format!("ours {ours}\next3 {oracle}")).collect();
    if ours.lines().count() != oracle.lines().count() {
        return Err(format!("{} and {} lines\n{ours}", ours.lines().count(), oracle.lines().count()));
    }
    if differ.is_empty() { Ok(()) } else { Err(differ.join("\n")) }
}

/// Makes the calls, and prints what each says.
pub(crate) fn make(d: &Path, calls: &str) {
    std::env::set_current_dir(d).unwrap();
    for call in calls.split([';', '\n']).map(str::trim).filter(|call| !call.is_empty()) {
        let (who, words) = match call.split_once(' ') {
            Some((who, words)) if who.parse::<u32>().is_ok() => (Some(who), words),
            _ => (None, call),
        };
        let answer = match who {
            None => one(words),
            Some(who) => as_another(who.parse().unwrap(), words),
        };
        println!("{call}: {answer}");
    }
}

fn as_another(who: u32, words: &str) -> String {
    let mut command = Command::new(std::env::current_exe().unwrap());
    let output = command.args([INSIDE, "one", words]).uid(who).gid(who).output().unwrap();
    String::from_utf8_lossy(&output.stdout).trim().into()
}

/// Makes one call.
pub(crate) fn one(call: &str) -> String {
    let words: Vec<&str> = call.split_whitespace().collect();
    let name = |word: &str| match word.split_at_checked(4) {
        Some(("LONG", length)) => "n".repeat(length.parse().unwrap()),
        Some(("PATH", length)) => "n/".repeat(length.parse::<usize>().unwrap() / 2),
        _ => match word.split_once(".LONG") {
            Some((before, length)) => format!("{before}.{}", "n".repeat(length.parse().unwrap())),
            None => word.to_owned(),
        },
    };
    let words: Vec<String> = words.into_iter().map(name).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    if let Some(answer) = effects::call(&words) {
        return answer;
    }
    let (path, other) = (words[1].to_owned(), words.get(2).copied().unwrap_or_default().to_owned());
    let mode = || u32::from_str_radix(words[2], 8).unwrap();
    let number = |at: usize| words[at].parse::<i64>().unwrap();
    let id = |at: usize| match words[at] {
        "own" => nix::unistd::geteuid().as_raw(),
        word => word.parse().unwrap(),
    };
    let io = |result: std::io::Result<()>| said(result.map(|()| "ok".to_owned()));
    let os = |result: rustix::io::Result<()>| io(result.map_err(Into::into));
    match words[0] {
        "umask" => {
            nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(u32::from_str_radix(words[1], 8).unwrap()));
            "ok".into()
        }
        "mkdir" => os(sys::mkdir(path, Mode::from_raw_mode(mode()))),
        "create" => {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
            os(sys::open(path, flags, Mode::from_raw_mode(mode())).map(drop))
        }
        "open" => os(sys::open(path, flags(words[2]), Mode::from_raw_mode(0o644)).map(drop)),
        "unlink" => os(sys::unlink(path)),
        "rmdir" => os(sys::rmdir(path)),
        "link" => os(sys::link(path, other)),
        "symlink" => os(sys::symlink(path, other)),
        "readlink" => said(fs::read_link(path).map(|target| format!("{} bytes", target.as_os_str().len()))),
        "rename" => {
            let how = match words.get(3) {
                Some(&"noreplace") => RenameFlags::NOREPLACE,
                Some(&"exchange") => RenameFlags::EXCHANGE,
                _ => RenameFlags::empty(),
            };
            os(sys::renameat_with(CWD, path, CWD, other, how))
        }
        "chmod" => os(sys::chmod(path, Mode::from_raw_mode(mode()))),
        "chown" => io(chown(path, Some(id(2)), Some(id(3)))),
        "access" => os(sys::access(path, sys::Access::WRITE_OK)),
        "truncate" => io(fs::File::options()
            .write(true)
            .open(&path)
            .and_then(|file| nix::unistd::ftruncate(&file, number(2)).map_err(Into::into))),
        "write" => io(fs::write(path, "x".repeat(number(2) as usize))),
        "fifo" => os(sys::mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(mode()), 0)),
        "device" => {
            os(sys::mknodat(CWD, path, FileType::CharacterDevice, Mode::from_raw_mode(mode()), sys::makedev(1, 3)))
        }
        "times" => {
            let time = |at: usize| match words[at] {
                "now" => Timespec { tv_sec: 0, tv_nsec: sys::UTIME_NOW as _ },
                _ => Timespec { tv_sec: number(at), tv_nsec: 0 },
            };
            let times = Timestamps { last_access: time(2), last_modification: time(3) };
            os(sys::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW))
        }
        "xattr" => {
            let capability = [&0x0200_0001_u32.to_le_bytes()[..], &[4, 0, 0, 0], &[0; 12]].concat();
            let value = if words[3] == "cap" { capability } else { vec![b'v'; number(3) as usize] };
            os(sys::lsetxattr(path, words[2], &value, sys::XattrFlags::empty()))
        }
        "get" => {
            said(sys::lgetxattr(path, words[2], &mut vec![0; 100]).map_err(Into::into).map(|length| length.to_string()))
        }
        "lock" => said(lock(&path)),
        "seek" => said(
            fs::File::open(path).map(|file| sys::seek(file, sys::SeekFrom::Data(9999))).map(|at| format!("{at:?}")),
        ),
        "setgid" => os(sys::chmod(path, Mode::from_raw_mode(0o2755))),
        "stat" => said(fs::symlink_metadata(path).map(|found| says(&found))),
        other => panic!("no such call: {other}"),
    }
}

fn flags(word: &str) -> OFlags {
    match word {
        "r" => OFlags::RDONLY,
        "rnf" => OFlags::RDONLY | OFlags::NOFOLLOW,
        "w" => OFlags::WRONLY,
        "rc" => OFlags::RDONLY | OFlags::CREATE,
        "rcx" => OFlags::RDONLY | OFlags::CREATE | OFlags::EXCL,
        "rd" => OFlags::RDONLY | OFlags::DIRECTORY,
        "rt" => OFlags::RDONLY | OFlags::TRUNC,
        "wt" => OFlags::WRONLY | OFlags::TRUNC,
        "wc" => OFlags::WRONLY | OFlags::CREATE,
        "we" => OFlags::WRONLY | OFlags::EXCL,
        "rce" => OFlags::RDONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW,
        "rcd" => OFlags::RDONLY | OFlags::CREATE | OFlags::DIRECTORY,
        "rn" => OFlags::RDONLY | OFlags::NONBLOCK,
        "wn" => OFlags::WRONLY | OFlags::NONBLOCK,
        "path" => OFlags::PATH | OFlags::NOFOLLOW,
        "noatime" => OFlags::RDONLY | OFlags::NOATIME,
        // Named as missing in the guide: no version of the protocol that our library speaks has it.
        "tmp" => OFlags::RDONLY | OFlags::NOFOLLOW,
        other => panic!("no such flags: {other}"),
    }
}

/// A second descriptor of another process would wait for it.
fn lock(path: &str) -> std::io::Result<String> {
    let [one, other] = [fs::File::open(path)?, fs::File::open(path)?];
    sys::flock(&one, sys::FlockOperation::LockExclusive)?;
    let refused = sys::flock(&other, sys::FlockOperation::NonBlockingLockExclusive);
    Ok(format!("{refused:?}"))
}

fn says(found: &fs::Metadata) -> String {
    let (kind, size) = (found.file_type(), if found.is_dir() { 0 } else { found.len() });
    let links = if found.is_dir() { 0 } else { found.nlink() };
    let old = |seconds: i64| if (0..1_000_000_000).contains(&seconds.rem_euclid(4_000_000_000)) { seconds } else { 0 };
    format!(
        "{:o} {}:{} {links} {size} {} {}{}",
        found.permissions().mode(),
        found.uid(),
        found.gid(),
        old(found.mtime()),
        if kind.is_fifo() { "fifo" } else { "" },
        if kind.is_char_device() { found.rdev() } else { 0 }
    )
}

pub(crate) fn said(result: std::io::Result<String>) -> String {
    result.unwrap_or_else(|error| format!("{:?}", Errno::from_raw(error.raw_os_error().unwrap_or(0))))
}
