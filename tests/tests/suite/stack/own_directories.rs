//! Directories of the host in a stack that we mount: as the base, and as layers.

use anyhow::{Result, ensure};

use super::servers::{nothing_is_left, ours, two_layers};
use crate::support::{Desk, Expect, tests};

tests! {
    Apptainer, Desk: [a_step_shares_one_tree];
    ApptainerOnce, Desk: [
        a_base_and_layers_show_what_the_engine_shows, what_was_deleted_in_a_directory_stays_deleted,
        tmp_writes_over_directories_of_others, as_root_too, a_base_alone_is_the_engines, what_is_written_meanwhile_is_seen,
        what_changes_meanwhile_is_old_or_new_or_an_error, links_lead_nowhere_outside, a_colleague_changes_what_he_likes,
        a_library_that_is_replaced_stays_with_who_has_it, a_linked_upper_is_the_engines, a_lease_is_waited_for,
        a_mark_that_only_root_may_read,
    ];
}

/// What a container has written to a directory, by the engine.
const WRITE: &str = "condatainer exec --mounts=engine -o mod.sqf -o ./d:rw -- sh -c 'rm /opt/mod/file; rm -r /usr/share/base-files; \
    mkdir /usr/share/base-files; echo new > /usr/share/base-files/new; mkdir /own; echo directory > /own/file; ln /own/file /own/link'";

fn written_directory(desk: &Desk) -> Result<()> {
    two_layers(desk)?;
    desk.script(&format!("mkdir -p d/upper d/work; {WRITE}"))?.success().map(drop)
}

fn a_base_and_layers_show_what_the_engine_shows(desk: &Desk) -> Result<()> {
    written_directory(desk)?;
    let look = "cat /etc/condatainer-base /own/file; ls -A /opt/mod /usr/share/base-files /own; stat -c '%F %a' /own/link /etc /usr/bin/env; \
        find /usr /opt /own -printf '%P %y %m %s %l\\n' 2> /dev/null | grep -v ' d ' | sort | md5sum; python3 -c 'print(6 * 7)'";
    for base in ["", "-b /srv/base/base"] {
        let typed = format!("condatainer exec {base} -o mod.sqf -o ./d -- sh -c \"{look}\"");
        let engines = desk.script(&typed)?.success()?.stdout;
        ensure!(engines.contains("directory\n/opt/mod:\nlink\n"), "{engines}");
        let own = ours(desk, &typed)?.success()?.stdout;
        ensure!(own == engines, "{base}\nours:\n{own}\nthe engine's:\n{engines}");
    }
    nothing_is_left(desk)
}

/// By either overlay, in whatever language.
fn what_was_deleted_in_a_directory_stays_deleted(desk: &Desk) -> Result<()> {
    two_layers(desk)?;
    let make = "mkdir -p a/upper/opt/mod b/opt/mod c/upper/opt; touch a/upper/opt/mod/.wh.file b/opt/mod/.wh..wh..opq b/opt/mod/new; \
        mkdir c/upper/opt/mod; python3 -c 'import os; os.setxattr(\"c/upper/opt/mod\", \"user.overlay.opaque\", b\"y\")'";
    desk.script(make)?.success()?;
    for (layer, shown) in [("./a", "link"), ("./b", "new"), ("./c", "")] {
        for mode in ["", ":tmp"] {
            ours(desk, &format!("condatainer exec -o mod.sqf -o {layer}{mode} -- ls -A /opt/mod"))?.says(shown)?;
        }
    }
    nothing_is_left(desk)
}

/// As root's overlay marks a directory that was made anew, and a user can read that of an image only.
fn a_mark_that_only_root_may_read(desk: &Desk) -> Result<()> {
    desk.squashfs("mod.sqf", "mkdir -p opt/mod; echo module > opt/mod/file")?;
    let mark = "import os; os.setxattr(\"dir/upper/opt/mod\", \"trusted.overlay.opaque\", b\"y\")";
    let make = format!(
        "mkdir -p dir/upper/opt/mod dir/work; echo new > dir/upper/opt/mod/new; python3 -c '{mark}'; chown -R 1001:1001 dir; \
        mke2fs -q -t ext3 -d dir env.img 16M; chown 1001:1001 env.img"
    );
    desk.as_root(&make)?.success()?;
    let look =
        |layer: &str| format!("export CONDATAINER_MOUNTS=own; condatainer exec -o mod.sqf -o {layer} -- ls /opt/mod");
    desk.script(&look("dir"))?.says("file\nnew")?;
    desk.script(&look("env.img"))?.says("new")?;
    nothing_is_left(desk)
}

fn a_step_shares_one_tree(desk: &Desk) -> Result<()> {
    written_directory(desk)?;
    let step = "srun -n3 --condatainer-base=/srv/base/base --condatainer-overlay=mod.sqf,./d,env.img sh -c 'cat /own/file; stat -c %i /own/link'";
    // The image lies above the directory.
    let output = ours(desk, step)?.success()?;
    let mut lines: Vec<&str> = output.stdout.lines().collect();
    lines.sort_unstable();
    lines.dedup();
    ensure!(lines.len() == 2 && lines.contains(&"image"), "{output:?}");
    nothing_is_left(desk)
}

/// A colleague's, of which a user namespace knows no owner.
fn tmp_writes_over_directories_of_others(desk: &Desk) -> Result<()> {
    written_directory(desk)?;
    let theirs = "mkdir -p theirs/upper/lab; echo theirs > theirs/upper/lab/file; echo no > theirs/upper/lab/secret; \
        chmod 640 theirs/upper/lab/secret; chmod -R o+rX theirs/upper/lab/file; chown -R bob:bob theirs";
    desk.as_root(&format!("{theirs}; sha256sum theirs/upper/lab/file > sums; chmod 644 sums"))?.success()?;
    let change = "cat /lab/secret; echo mine >> /lab/file; cat /lab/file; rm /own/file; cat /own/link; rm -f /lab/secret; mv /lab /laboratory; ls /laboratory; \
        echo changed > /etc/condatainer-base; cat /etc/condatainer-base; rm -r /usr/share/doc; ls -d /usr/share/doc";
    let typed = format!(
        "condatainer exec -b /srv/base/base -o ./d -o ./theirs:tmp -- sh -c '{change}'; sha256sum --quiet -c sums && cat d/upper/own/file"
    );
    let output = ours(desk, &typed)?.says("theirs\nmine\ndirectory\nfile\nchanged\ndirectory")?;
    output.complains("/lab/secret: Permission denied")?;
    nothing_is_left(desk)
}

fn as_root_too(desk: &Desk) -> Result<()> {
    written_directory(desk)?;
    let look = "id -u; stat -c %u:%g /etc /own/file; chown 42:43 /own/file; stat -c %u:%g /own/file; echo x > /etc/new && cat /etc/new";
    let wanted = "0\n0:0\n0:0\n42:43\nx";
    ours(desk, &format!("condatainer exec -f -b /srv/base/base -o ./d:tmp -- sh -c '{look}'"))?.says(wanted)?;
    nothing_is_left(desk)
}

fn a_base_alone_is_the_engines(desk: &Desk) -> Result<()> {
    let alone = ours(desk, "condatainer exec -b /srv/base/base -- cat /etc/condatainer-base")?.success()?;
    ensure!(!alone.stdout.is_empty(), "{alone:?}");
    alone.without_a_word()?;
    ours(desk, "condatainer exec -b /srv/base/base --dry-run true")?
        .says("/usr/bin/apptainer -q exec /srv/base/base true")
        .map(drop)
}

/// What is written into a file, and what is new, is seen soon.
fn what_is_written_meanwhile_is_seen(desk: &Desk) -> Result<()> {
    written_directory(desk)?;
    let inside = "cat /own/file; ls /own; touch there; until grep -q more /own/file; do sleep 0.1; done; \
        until [ -e /own/late ]; do sleep 0.1; done; until ls /own | grep -q late; do sleep 0.1; done; cat /own/file";
    for mode in ["", ":tmp"] {
        let text = format!(
            "rm -f there; condatainer exec -o mod.sqf -o ./d{mode} -- sh -c '{inside}' & start=$!; until [ -e there ]; do sleep 0.1; done; \
            echo more >> d/upper/own/file; echo late > d/upper/own/late; wait $start; rm d/upper/own/late; echo directory > d/upper/own/file"
        );
        ours(desk, &text)?.says("directory\nfile\nlink\ndirectory\nmore")?;
    }
    nothing_is_left(desk)
}

fn what_changes_meanwhile_is_old_or_new_or_an_error(desk: &Desk) -> Result<()> {
    written_directory(desk)?;
    let inside = "cat /own/file; touch there; until [ -e go ]; do sleep 0.1; done; cat /own/file; cat /own/late; ls /etc > /dev/null && echo fine";
    let text = format!(
        "condatainer exec -o ./d -- sh -c '{inside}' & start=$!; until [ -e there ]; do sleep 0.1; done; \
        echo another > d/upper/own/next; mv d/upper/own/next d/upper/own/file; rm d/upper/own/link; echo late > d/upper/own/late; touch go; wait $start; \
        condatainer exec -o ./d -- cat /own/file /own/late"
    );
    let output = ours(desk, &text)?;
    let text = &output.stdout;
    ensure!(text.starts_with("directory\n") && text.ends_with("fine\nanother\nlate\n"), "{output:?}");
    ensure!(!text.contains("anoth\n") && output.stderr.is_empty() || output.stderr.contains("/own/"), "{output:?}");
    nothing_is_left(desk)
}

/// A link is followed in the container, as one of an image is.
fn links_lead_nowhere_outside(desk: &Desk) -> Result<()> {
    two_layers(desk)?;
    let make = "mkdir -p d/upper; echo secret > outside; ln -s \"$PWD/outside\" d/upper/absolute; ln -s ../../outside d/upper/relative; ln -s ../.. d/upper/above";
    desk.script(make)?.success()?;
    let look = "cat /relative; ls -d /above/etc; readlink /absolute";
    let output = ours(desk, &format!("condatainer exec -o ./d -- sh -c '{look}' 2>&1"))?;
    ensure!(output.stdout.contains("/above/etc") && !output.stdout.contains("secret"), "{output:?}");
    nothing_is_left(desk)
}

/// Reads what there is, whatever it is by then, and prints it; three hundred times, and until it has met the old content.
const READ: &str = r"#!/usr/bin/python3
import os, time
seen = b''
def read(path):
    file = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        while some := os.read(file, 512): yield some
    finally:
        os.close(file)
for number in range(20000):
    if number >= 300 and b'old' in seen: break
    for path in '/lab/x', '/lab/x/any':
        try:
            for some in read(path): seen += some
        except OSError: pass
    for look in lambda: os.stat('/lab/x'), lambda: [entry.stat() for entry in os.scandir('/lab')]:
        try: look()
        except OSError: pass
    time.sleep(0.01)
print(seen.decode(), end='')
";

/// While alice reads, bob puts other things in a file's place: what she gets is what was there, or an error.
fn a_colleague_changes_what_he_likes(desk: &Desk) -> Result<()> {
    two_layers(desk)?;
    let theirs = "mkdir -p theirs/upper/lab; echo old > theirs/upper/lab/x; echo kept > theirs/upper/lab/kept; echo secret > secret; \
        chown -R bob:bob theirs; touch theirs/go; cd theirs/upper/lab";
    let swaps = "echo old > n; mv n x; rm x; mkdir x; rmdir x; echo new > x; rm x; ln -s ../../../secret x; rm x; mkfifo x; rm x; \
        echo old > x; sleep 0.1; ln x y; rm x; mv y x; sleep 0.1; echo new >> x; cd ..; mv lab lab.2; ln -s lab.2 lab; rm lab; mv lab.2 lab; cd lab";
    desk.as_root(&format!(
        "{theirs}; setsid runuser -u bob -- sh -c 'while [ -e ../../go ]; do {swaps}; done' < /dev/null > /dev/null 2>&1 &"
    ))?
    .success()?;
    // What was looked at counts for a second, so a few hundred reads in a row can all meet the same state.
    desk.write("read.py", READ)?;
    let output = ours(desk, "condatainer exec -o mod.sqf -o ./theirs -- sh -c './read.py; cat /opt/mod/file'");
    desk.as_root("rm theirs/go")?.success()?;
    let output = output?.success()?;
    let text = output.stdout.strip_suffix("module\n").unwrap_or_default();
    ensure!(text.contains("old") && text.lines().all(|line| ["old", "new"].contains(&line)), "{output:?}");
    ensure!(!output.stderr.contains("damaged"), "{output:?}");
    nothing_is_left(desk)
}

/// As on a disk: whoever has a file open, or has mapped it, goes on with that file.
fn a_library_that_is_replaced_stays_with_who_has_it(desk: &Desk) -> Result<()> {
    written_directory(desk)?;
    let make = "python3 -c 'open(\"d/upper/own/library\", \"w\").write(\"old\" * 2**20)'; \
        printf 'import mmap, os, sys, time\\nopened = open(\"/own/library\", \"rb\")\\nmapped = mmap.mmap(opened.fileno(), 0, prot=mmap.PROT_READ)\\nopen(\"there\", \"w\")\\n\
        while not os.path.exists(\"go\"): time.sleep(0.05)\\ntime.sleep(2)\\nprint(mapped[-3:], opened.read()[-3:], os.fstat(opened.fileno()).st_size)\\n' > look.py";
    desk.script(make)?.success()?;
    let text = "condatainer exec -o mod.sqf -o ./d -- python3 look.py & start=$!; until [ -e there ]; do sleep 0.1; done; \
        echo new > d/upper/own/next; mv d/upper/own/next d/upper/own/library; touch go; wait $start";
    ours(desk, text)?.says("b'old' b'old' 3145728")?;
    nothing_is_left(desk)
}

/// An engine follows it, and we do not.
fn a_linked_upper_is_the_engines(desk: &Desk) -> Result<()> {
    two_layers(desk)?;
    desk.script(
        "mkdir -p d/work elsewhere/own; echo elsewhere > elsewhere/own/file; ln -s \"$PWD/elsewhere\" d/upper",
    )?
    .success()?;
    let typed = "condatainer exec -o mod.sqf -o ./d -- cat /own/file";
    ours(desk, typed)?.ends_with(125)?.complains("d/upper: is a symbolic link")?;
    desk.script(&format!("CONDATAINER_MOUNTS=auto {typed}"))?
        .says("elsewhere")?
        .complains("d/upper: is a symbolic link")?;
    nothing_is_left(desk)
}

/// Whoever has one lets go when somebody else opens the file.
fn a_lease_is_waited_for(desk: &Desk) -> Result<()> {
    written_directory(desk)?;
    let hold = "import fcntl, signal, time; f = open('d/upper/own/file', 'r+'); go = lambda *_: fcntl.fcntl(f, fcntl.F_SETLEASE, fcntl.F_UNLCK); \
        signal.signal(signal.SIGIO, go); fcntl.fcntl(f, fcntl.F_SETLEASE, fcntl.F_WRLCK); open('held', 'w'); time.sleep(60)";
    let text = format!(
        "python3 -c \"{hold}\" & holder=$!; until [ -e held ]; do sleep 0.1; done; \
        condatainer exec -o mod.sqf -o ./d -- cat /own/file; code=$?; kill $holder; exit $code"
    );
    ours(desk, &text)?.says("directory")?;
    nothing_is_left(desk)
}
