//! How programs install things: tar, pip, dpkg, and the kernel's OverlayFS when something of a lower layer is changed. The calls are those that
//! strace shows of them.

use condatainer_writer::Renaming;

use super::hand::Hand;
use super::programs::text;

const ROOT: u32 = condatainer_formats::ext::raw::ROOT_INO;

/// Many small files; a directory's mode and time are set when all is in it.
pub fn untar(hand: &mut Hand) {
    let top = hand.mkdir((ROOT, "upper"), 0o755);
    let mut directories = Vec::new();
    for number in 0..12 {
        let parent = if number % 3 == 0 { top } else { *directories.last().unwrap() };
        let directory = hand.mkdir((parent, &format!("d{number}")), 0o700);
        directories.push(directory);
        for file in 0..9 {
            let name = format!("f{file}");
            let ino = hand.create((directory, &name), 0o600);
            hand.write(ino, 0, &text(&format!("{number}/{file}"), number * file * 173 % 14_000));
            hand.times(ino, 1_500_000_000 + i64::from(file as u32));
            hand.chown(ino, 1001);
            hand.chmod(ino, if file == 3 { 0o4755 } else { 0o644 });
        }
        let link = hand.symlink((directory, "link"), &"../".repeat(number * 3 + 1));
        hand.times(link, 1_400_000_000);
        hand.link(hand.ino((directory, "f1")), (directory, "same"));
        if number % 2 == 0 {
            hand.pause();
        }
    }
    for directory in directories.into_iter().rev() {
        hand.times(directory, 1_300_000_000);
        hand.chmod(directory, 0o755);
    }
    hand.pause();
}

/// Files, then bytecode that is renamed into place, a list that is made to last; and the same again over it, with the old one set aside.
pub fn pip(hand: &mut Hand) {
    let top = hand.mkdir((ROOT, "upper"), 0o755);
    let site = hand.mkdir((top, "site-packages"), 0o755);
    for version in 1..4 {
        if version > 1 {
            for name in ["numpy", "dist-info"] {
                hand.replace((site, name), (site, &format!("~{name}")));
            }
        }
        let package = hand.mkdir((site, "numpy"), 0o755);
        for module in 0..16 {
            let ino = hand.create((package, &format!("m{module}.py")), 0o644);
            hand.write(ino, 0, &text(&format!("{version} {module}"), module * 1_931 % 25_000));
        }
        let cache = hand.mkdir((package, "__pycache__"), 0o755);
        for module in 0..16 {
            let (name, made) = (format!("m{module}.pyc"), format!("m{module}.pyc.140232"));
            let ino = hand.create((cache, &made), 0o644);
            hand.write(ino, 0, &text(&format!("{version} compiled {module}"), 3000));
            hand.replace((cache, &made), (cache, &name));
            if module % 5 == 0 {
                hand.pause();
            }
        }
        let info = hand.mkdir((site, "dist-info"), 0o755);
        for name in ["INSTALLER", "RECORD"] {
            let ino = hand.create((info, "tmp8a"), 0o600);
            hand.write(ino, 0, &text(&format!("{name} {version}"), 9000));
            hand.sync(ino);
            hand.chmod(ino, 0o644);
            hand.replace((info, "tmp8a"), (info, name));
        }
        if version > 1 {
            let (package, info) = (hand.ino((site, "~numpy")), hand.ino((site, "~dist-info")));
            let cache = hand.ino((package, "__pycache__"));
            for module in 0..16 {
                hand.remove((package, &format!("m{module}.py")));
                hand.remove((cache, &format!("m{module}.pyc")));
            }
            hand.remove((package, "__pycache__"));
            hand.remove((site, "~numpy"));
            for name in ["INSTALLER", "RECORD"] {
                hand.remove((info, name));
            }
            hand.remove((site, "~dist-info"));
        }
        hand.pause();
    }
}

/// All files of a package are made, then made to last, then renamed over those of the version before; what is installed stands in a file that
/// is replaced.
pub fn dpkg(hand: &mut Hand) {
    let top = hand.mkdir((ROOT, "upper"), 0o755);
    let [usr, admin] = ["usr", "dpkg"].map(|name| hand.mkdir((top, name), 0o755));
    let updates = hand.mkdir((admin, "updates"), 0o755);
    let ino = hand.create((admin, "status"), 0o644);
    hand.write(ino, 0, &text("status", 7000));
    for version in 1..5 {
        let file = |number: usize| format!("file{number}");
        for number in 0..14 {
            let ino = hand.create((usr, &format!("{}.dpkg-new", file(number))), 0);
            hand.write(ino, 0, &text(&format!("{version} {number}"), number * 2_111 % 21_000));
            hand.chown(ino, 0);
            hand.chmod(ino, 0o755);
            hand.times(ino, 1_600_000_000 + version);
        }
        for number in 0..14 {
            hand.sync(hand.ino((usr, &format!("{}.dpkg-new", file(number)))));
        }
        for number in 0..14 {
            let (name, made, kept) =
                (file(number), format!("{}.dpkg-new", file(number)), format!("{}.dpkg-tmp", file(number)));
            if version > 1 {
                hand.link(hand.ino((usr, &name)), (usr, &kept));
            }
            hand.replace((usr, &made), (usr, &name));
            if version > 1 {
                hand.remove((usr, &kept));
            }
        }
        hand.sync(usr);
        // A note of each package first, then all in one.
        let ino = hand.create((updates, "tmp.i"), 0o644);
        hand.write(ino, 0, &text(&format!("update {version}"), 900));
        hand.sync(ino);
        hand.replace((updates, "tmp.i"), (updates, "0001"));
        hand.sync(updates);
        let ino = hand.create((admin, "status-new"), 0o644);
        hand.write(ino, 0, &text(&format!("status {version}"), 7000 + 500 * version as usize));
        hand.sync(ino);
        if hand.found((admin, "status-old")).is_some() {
            hand.remove((admin, "status-old"));
        }
        hand.link(hand.ino((admin, "status")), (admin, "status-old"));
        hand.replace((admin, "status-new"), (admin, "status"));
        hand.sync(admin);
        hand.remove((updates, "0001"));
    }
}

/// What the kernel's OverlayFS does in `work` before it renames it into `upper`: files of a lower layer are changed, deleted and replaced.
pub fn copy_up(hand: &mut Hand) {
    let [upper, work] = ["upper", "work"].map(|name| hand.mkdir((ROOT, name), 0o755));
    let work = hand.mkdir((work, "work"), 0);
    let etc = hand.mkdir((upper, "etc"), 0o755);
    let shared = hand.whiteout((work, "#0"));
    for number in 0..24 {
        let name = format!("lower{number}");
        let made = format!("#{number:x}a");
        match number % 4 {
            // One is written to: it is copied, and that lasts before it is seen.
            0 | 1 => {
                let ino = hand.create((work, &made), 0);
                hand.set_xattr(ino, "user.overlay.origin", &[7; 30]);
                hand.write(ino, 0, &text(&name, number * 1_777 % 40_000));
                hand.sync(ino);
                hand.set_xattr(ino, "security.capability", &[1; 20]);
                hand.chown(ino, 1000);
                hand.chmod(ino, 0o640);
                hand.times(ino, 1_200_000_000);
                hand.set_xattr(etc, "user.overlay.impure", b"y");
                hand.replace((work, &made), (etc, &name));
                hand.times(etc, 1_100_000_000);
            }
            // One is deleted: a mark that all of them share.
            2 => {
                hand.link(shared, (work, &made));
                hand.replace((work, &made), (etc, &name));
            }
            // A directory is deleted and made again: it shows nothing of what is below.
            _ => {
                hand.link(shared, (work, &made));
                hand.replace((work, &made), (etc, &name));
                let ino = hand.mkdir((work, &made), 0o700);
                hand.set_xattr(ino, "user.overlay.opaque", b"y");
                hand.chmod(ino, 0o755);
                hand.exchange((work, &made), (etc, &name));
                hand.remove((work, &made));
                let file = hand.create((ino, "new"), 0o644);
                hand.write(file, 0, &text(&name, 500));
            }
        }
        if number % 5 == 0 {
            hand.pause();
        }
    }
    // A directory that is in both goes: an empty one takes its place, then a mark.
    let ino = hand.mkdir((work, "#f0"), 0);
    hand.set_xattr(ino, "user.overlay.opaque", b"y");
    hand.exchange((work, "#f0"), (etc, "lower3"));
    hand.remove((hand.ino((work, "#f0")), "new"));
    hand.remove((work, "#f0"));
    hand.link(shared, (work, "#f1"));
    hand.exchange((work, "#f1"), (etc, "lower3"));
    hand.remove((work, "#f1"));
    // One in the upper directory that lies over something is renamed.
    hand.rename((etc, "lower0"), (etc, "renamed"), Renaming { whiteout: true, ..Renaming::default() });
    hand.pause();
}
