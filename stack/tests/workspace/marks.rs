//! What says that something is deleted, in the words of other programs; and images that other hands have made.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::sync::Arc;

use condatainer_formats::ext::Window;
use condatainer_stack::layer::ext::{ExtLayer, Start};
use condatainer_stack::merge::{Merged, Stacked};

use super::Test;
use super::place::{Place, Who, run, same};

pub(crate) const TESTS: &[Test] = &[
    ("what_is_opaque_is_so_at_the_first_look", what_is_opaque_is_so_at_the_first_look),
    ("what_is_deleted_stays_deleted", what_is_deleted_stays_deleted),
    ("a_full_image_hides_what_it_has_to_and_can_be_emptied", a_full_image_hides_what_it_has_to_and_can_be_emptied),
    ("marks_take_no_inode", marks_take_no_inode),
    ("files_with_names_of_marks_are_somebodys", files_with_names_of_marks_are_somebodys),
    ("directories_are_opaque_for_every_overlay", directories_are_opaque_for_every_overlay),
    ("an_image_that_was_never_used_gets_its_directories", an_image_that_was_never_used_gets_its_directories),
    ("an_upper_of_root_is_the_users", an_upper_of_root_is_the_users),
];

/// As fuse-overlayfs makes it.
fn mark(path: &Path) {
    fs::write(path, "").unwrap();
    fs::set_permissions(path, PermissionsExt::from_mode(0o700)).unwrap();
}

fn put(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// All of it is the user's.
fn give(content: &Path) {
    run(std::process::Command::new("chown").args(["-R", "64997:64997"]).arg(content));
}

fn what_is_opaque_is_so_at_the_first_look() -> Result<(), String> {
    for form in ["file", "user.fuseoverlayfs.opaque", "trusted.overlay.opaque", "user.overlay.opaque"] {
        let place = Place::new(16, &[], |content, lower| {
            put(&lower.join("d/old"), "old");
            put(&content.join("upper/d/new"), "new");
            if form == "file" {
                mark(&content.join("upper/d/.wh..wh..opq"));
                // It makes this one besides, in each new directory.
                run(std::process::Command::new("mknod")
                    .args(["-m", "700"])
                    .arg(content.join("upper/d/.wh..opq"))
                    .args(["c", "0", "0"]));
            }
            give(content);
        });
        if form != "file" {
            place.change(&[&format!("ea_set /upper/d {form} y")]);
        }
        place.change(&["set_inode_field /upper/d mtime 20200102030405"]);
        let before = mtime(&place, "/upper/d");
        let done = place.script(Who::Plain, "ls -A $D/d; test ! -e $D/d/old; stat -c %Y $D/d");
        same(done.fine()?, "new\n1577934245".into()).map_err(|why| format!("{form}: {why}"))?;
        place.check()?;
        for name in ["user.overlay.opaque", "trusted.overlay.opaque"] {
            let says = place.debugfs(&format!("ea_get /upper/d {name}"));
            same(says.trim().ends_with("\"y\""), true).map_err(|why| format!("{form}, {name}: {why}: {says}"))?;
        }
        let names = place.debugfs("ls -p /upper/d");
        same(names.contains(".wh.") || names.contains(".opq"), false)?;
        same(mtime(&place, "/upper/d"), before)?;
        same(place.script(Who::Plain, "cd $D; rm -r d; ls -A").fine()?, String::new())?;
    }
    Ok(())
}

fn mtime(place: &Place, path: &str) -> String {
    let says = place.debugfs(&format!("stat {path}"));
    says.lines().filter(|line| line.trim().starts_with("mtime")).collect()
}

fn what_is_deleted_stays_deleted() -> Result<(), String> {
    let place = Place::new(16, &[], |content, lower| {
        for name in ["a", "b", "c/x", "c/y", "e"] {
            put(&lower.join(name), "old");
        }
        fs::create_dir(content.join("upper/c")).unwrap();
        for name in ["a", "b", "c/x", "e", "nothing"] {
            let name = Path::new(name);
            mark(
                &content
                    .join("upper")
                    .join(name.with_file_name(format!(".wh.{}", name.file_name().unwrap().display()))),
            );
        }
        // Made again since.
        put(&content.join("upper/e"), "new");
        give(content);
    });
    let script = "cd $D; ls -A . c; cat e; echo again > a; rm e; mkdir b; rm c/y; ls -A c | wc -l";
    same(place.script(Who::Plain, script).fine()?, ".:\nc\ne\n\nc:\ny\nnew0".into())?;
    place.check()?;
    same(
        place.script(Who::Plain, "cd $D; ls -A . c; cat a; rmdir b; rm -r c; ls -A").fine()?,
        ".:\na\nb\nc\n\nc:\nagain\na".into(),
    )?;
    same(place.script(Who::Plain, "cd $D; echo x > b; ls -A").fine()?, "a\nb".into())?;
    place.check()?;
    same(place.debugfs("ls -p /upper").contains("/.wh."), false)
}

/// Other blocks would be needed to write that something is deleted, and there are none.
fn a_full_image_hides_what_it_has_to_and_can_be_emptied() -> Result<(), String> {
    let place = Place::new(8, &["-b", "1024", "-N", "900"], |content, lower| {
        fs::create_dir(content.join("upper/d")).unwrap();
        for n in 0..600 {
            put(&content.join(format!("upper/d/{n:03}-a-name-that-is-long-enough-to-fill-blocks")), "");
        }
        for n in 0..60 {
            put(&lower.join(format!("d/deleted-{n}")), "old");
            mark(&content.join(format!("upper/d/.wh.deleted-{n}")));
        }
        give(content);
    });
    // Now the directory has an index, and its blocks are full.
    let packed = std::process::Command::new("e2fsck").args(["-fyD"]).arg(place.image()).output().unwrap();
    same(packed.status.code() <= Some(1), true)?;
    let fill = "cd $D; cat /dev/zero > filler 2>/dev/null || true; for n in $(seq 2000); do echo > small$n || break; done 2>/dev/null";
    place.script(Who::Plain, fill).fine()?;
    place.check()?;
    let look = "cd $D/d; test -z \"$(ls -A | grep deleted)\"; ls | wc -l; test ! -e deleted-7; rm 000*; ls | wc -l
        for n in $(seq 0 59); do test ! -e deleted-$n; done";
    same(place.script(Who::Plain, look).fine()?, "600\n599".into())?;
    place.check()?;
    let emptied = "cd $D; rm filler small*; echo new > d/deleted-7; cat d/deleted-7; rm d/1* d/deleted-7; ls d | wc -l";
    same(place.script(Who::Plain, emptied).fine()?, "new\n499".into())?;
    place.check()?;
    same(place.debugfs("ls -p /upper/d").contains("/.wh."), false)?;
    same(place.script(Who::Plain, "ls $D/d | wc -l; ls $D/d | grep -c deleted || true").fine()?, "499\n0".into())
}

fn marks_take_no_inode() -> Result<(), String> {
    let place = Place::new(8, &["-N", "64"], |content, lower| {
        for n in 0..8 {
            put(&lower.join(format!("d/{n}")), "old");
            put(&content.join("upper/d/x"), "x");
            mark(&content.join(format!("upper/d/.wh.{n}")));
        }
        give(content);
    });
    let fill = "cd $D; n=0; while echo > f$n; do n=$((n + 1)); done 2>/dev/null";
    place.script(Who::Plain, fill).fine()?;
    // Some are left for what has to be hidden.
    let script =
        "cd $D; ! echo 2>/dev/null > more; ls -A d; df --output=iavail . | tail -n1 | tr -d ' '; rm -r d; rm f*";
    same(place.script(Who::Plain, script).fine()?, "x\n0".into())?;
    place.check()
}

/// Also in the next session.
fn files_with_names_of_marks_are_somebodys() -> Result<(), String> {
    let place = Place::new(16, &[], |_, lower| {
        for name in ["x", "y", "z"] {
            put(&lower.join(name), "lower");
        }
    });
    let make = "cd $D; install -m 700 /dev/null .wh.x; install -m 700 /dev/null f; mv f .wh.y; install -m 700 /dev/null g; ln g .wh.z; rm g
        mkdir .wh.d; install -m 700 /dev/null .wh..; install -m 700 /dev/null .wh...; ls -A";
    let all = ".wh..\n.wh...\n.wh.d\n.wh.x\n.wh.y\n.wh.z\nx\ny\nz";
    for script in [make, "cd $D; cat x y z > /dev/null; ls -A", "ls -A $D"] {
        let mut names: Vec<_> = place.script(Who::Plain, script).fine()?.lines().map(str::to_owned).collect();
        names.sort_unstable();
        same(names.join("\n"), all.into())?;
        place.check()?;
    }
    // And where it is only read.
    let (path, bytes) = (place.path("disk/image"), 16 << 20);
    let file = fs::File::open(&path).unwrap();
    let layer = Arc::new(ExtLayer::open(file, Window::whole(bytes), Start::Upper, 1 << 20).unwrap());
    let merged = Merged::new(vec![Stacked { path, bytes, layer }]).unwrap();
    let listed = merged.list(merged.root()).unwrap();
    let names: Vec<_> = listed.iter().map(|named| String::from_utf8_lossy(named.name).into_owned()).collect();
    same(names.join("\n"), all.strip_suffix("\nx\ny\nz").unwrap_or_default().into())
}

fn directories_are_opaque_for_every_overlay() -> Result<(), String> {
    let place = Place::new(16, &[], |_, lower| put(&lower.join("d/old"), "old"));
    place.script(Who::Plain, "cd $D; rm -r d; mkdir d; echo new > d/new").fine()?;
    place.check()?;
    // As SingularityCE mounts it, and one that has been written by nobody of these.
    for options in ["", "userxattr,"] {
        let script = format!(
            "cd {0}; mkdir -p i m; mount -o loop,ro disk/image i; trap 'umount m; umount i' EXIT
            mount -t overlay -o {options}lowerdir=i/upper:lower none m && ls -A m/d && cat m/d/new",
            place.path("").display()
        );
        same(run(std::process::Command::new("unshare").args(["-m", "sh", "-ec", &script])), "new\nnew\n".into())?;
    }
    place.check()
}

fn an_image_that_was_never_used_gets_its_directories() -> Result<(), String> {
    let place = Place::new(16, &[], |content, lower| {
        put(&lower.join("f"), "lower");
        for name in ["upper", "work"] {
            fs::remove_dir(content.join(name)).unwrap();
        }
    });
    same(place.script(Who::Plain, "cd $D; cat f; echo new > f; cat f").fine()?, "lowernew".into())?;
    place.check()?;
    let says = place.debugfs("stat /upper");
    same(says.contains("64997") && says.contains("Mode:  0755"), true).map_err(|why| format!("{why}: {says}"))
}

fn an_upper_of_root_is_the_users() -> Result<(), String> {
    let place = Place::new(16, &[], |content, _| {
        put(&content.join("upper/d/f"), "root's");
        fs::set_permissions(content.join("upper/d/f"), PermissionsExt::from_mode(0o600)).unwrap();
        for name in ["", "upper", "work"] {
            chown(content.join(name), Some(0), Some(0)).unwrap();
        }
    });
    place.script(Who::Plain, "cd $D; cat d/f; echo more >> d/f; touch d/g; mv d e; stat -c %u e e/f e/g").fine()?;
    place.check()?;
    same(place.debugfs("stat /upper/e/f").contains("User:     0"), true)?;
    same(place.script(Who::Range, "cd $D; stat -c %u e e/f e/g; chown 5 e/g").fine()?, "0\n0\n0".into())?;
    place.check()?;
    same(place.debugfs("stat /upper/e/g").contains("User:     5"), true)?;
    place.script(Who::Plain, "cd $D; rm -r e").fine()?;
    place.check()
}
