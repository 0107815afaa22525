//! Deletions and who honours them: what a writer of ours leaves is in the language that everybody understands, and what somebody else
//! has written since is noticed.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::support::{Desk, Expect, tests, times};

tests! {
    Apptainer, Desk: [
        what_our_writer_deleted_is_deleted_for_everybody, an_image_without_fuse_whiteouts_is_read_by_the_kernel,
        a_foreign_writer_is_noticed, new_directories_show_nothing_of_the_writers_bookkeeping,
        a_replaced_directory_is_read_by_fuse, a_deleted_name_can_be_used_again, many_readers_at_once,
        what_is_deleted_in_a_base_stays_deleted, names_that_tell_no_type, random_work_is_the_same_for_everybody,
    ];
}

/// Apptainer by hand, as one would do without us.
pub(crate) fn by_hand(desk: &Desk, overlay: &str, shell: &str) -> Result<cluster::Output> {
    desk.run(&["apptainer", "-q", "exec", "--overlay", overlay, "/srv/base/base.sqf", "sh", "-c", shell])
}

/// Whether a start would run the overlay by fuse-overlayfs although nothing is written.
fn needs_fuse(desk: &Desk, image: &str) -> Result<bool> {
    let plan = desk.run(&["condatainer", "exec", "--dry-run=json", "-o", image, "true"])?.success()?;
    let plan: Value = serde_json::from_str(&plan.stdout)?;
    Ok(plan["overlay_driver"] == true)
}

fn what_our_writer_deleted_is_deleted_for_everybody(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    desk.srun_in("env.img:rw", "rm -r /etc/condatainer-base /usr/share/doc; mkdir /new")?.says("")?;
    desk.is_clean("env.img")?;
    for overlay in ["env.img:ro", "env.img"] {
        let output = by_hand(desk, overlay, "ls -A /new; ls -d /etc/condatainer-base /usr/share/doc")?.ends_with(2)?;
        ensure!(output.stdout.is_empty(), "{overlay}: shown: {}", output.stdout);
    }
    desk.is_clean("env.img")
}

fn an_image_without_fuse_whiteouts_is_read_by_the_kernel(desk: &Desk) -> Result<()> {
    let desk = &desk.with_mounts("engine");
    desk.image("env.img")?;
    desk.srun_in("env.img:rw", "mkdir -p /ext3/env/bin; echo 1 > /ext3/env/bin/x; echo 1 >> /etc/condatainer-base")?
        .says("")?;
    ensure!(!needs_fuse(desk, "env.img")?, "nothing in it needs fuse-overlayfs");
    // Each reader mounts the image, which changes its superblock; what is known stays known.
    for _ in 0..3 {
        desk.srun_in("env.img", "ls -A /ext3/env/bin; tail -n1 /etc/condatainer-base")?.says("x\n1")?;
        let marks =
            desk.run(&["getfattr", "--only-values", "-n", "user.condatainer.whiteouts", "env.img"])?.success()?;
        ensure!(marks.stdout.contains("mnt_count"), "the mark is gone: {}", marks.stdout);
        // Valid for the superblock as the reader left it: a search would make a new one, and so another change time of the file.
        let changed = || Ok::<_, anyhow::Error>(desk.run(&["stat", "-c", "%Z.%z", "env.img"])?.success()?.stdout);
        let before = changed()?;
        ensure!(!needs_fuse(desk, "env.img")? && changed()? == before, "the next start had to search again");
    }
    ensure!(!needs_fuse(desk, "env.img")?, "readers have made it forgotten");
    // fuse2fs before 1.47.4 does not tell the kernel which names are devices, so it would list what is deleted.
    desk.srun_in("env.img:rw", "rm /etc/condatainer-base")?.says("")?;
    ensure!(needs_fuse(desk, "env.img")?, "the kernel may list the name of a deleted file");
    desk.srun_in("env.img", "ls /etc | grep condatainer; true")?.says("")?;
    Ok(())
}

fn a_foreign_writer_is_noticed(desk: &Desk) -> Result<()> {
    let desk = &desk.with_mounts("engine");
    desk.image("env.img")?;
    desk.squashfs("low.sqf", "mkdir -p opt/dir; echo 1 > opt/file; echo 1 > opt/dir/old")?;
    let layers = "low.sqf,env.img";
    desk.srun_in(&format!("{layers}:rw"), "mkdir /new")?.says("")?;
    desk.srun_in(layers, "cat /opt/file /opt/dir/old")?.says("1\n1")?;
    ensure!(!needs_fuse(desk, layers)?, "nothing in it needs fuse-overlayfs");
    // Within the same second, so that no time in the superblock can tell.
    let write = "rm -r /opt/file /opt/dir; mkdir /opt/dir";
    let base = "/srv/base/base.sqf";
    desk.run(&["apptainer", "-q", "exec", "--overlay", "low.sqf:ro", "--overlay", "env.img", base, "sh", "-c", write])?
        .says("")?;
    ensure!(needs_fuse(desk, layers)?, "a foreign writer was not noticed");
    desk.srun_in(layers, "ls /opt/file 2> /dev/null; ls -A /opt/dir")?.says("")?;
    Ok(())
}

fn new_directories_show_nothing_of_the_writers_bookkeeping(desk: &Desk) -> Result<()> {
    let desk = &desk.with_mounts("engine");
    desk.image("env.img")?;
    let tree = "mkdir -p /a/b/c /d; echo 1 > /a/b/file; mv /d /a/d; rm -r /a/b/c; mkdir /a/b/c; ln -s x /a/link";
    let look = "cd /a && find . | sort";
    let written = desk.srun_in("env.img:rw", &format!("{tree}; {look}"))?.success()?.stdout;
    for mode in ["ro", "tmp", "rw"] {
        desk.srun_in(&format!("env.img:{mode}"), look)?.says(written.trim_end())?;
    }
    ensure!(!needs_fuse(desk, "env.img")?, "nothing in it needs fuse-overlayfs");
    desk.srun_in("env.img:rw", "rm -r /a && mkdir /a && ls -A /a")?.says("")?;
    desk.srun_in("env.img:ro", "ls -A /a")?.says("")?;
    desk.is_clean("env.img")
}

/// What an opaque directory hides is known only to fuse-overlayfs.
fn a_replaced_directory_is_read_by_fuse(desk: &Desk) -> Result<()> {
    let desk = &desk.with_mounts("engine");
    desk.image("env.img")?;
    desk.squashfs("low.sqf", "mkdir -p opt/dir/sub; echo 1 > opt/dir/old")?;
    desk.srun_in("low.sqf,env.img:rw", "rm -r /opt/dir && mkdir /opt/dir && echo 1 > /opt/dir/new")?.says("")?;
    ensure!(needs_fuse(desk, "low.sqf,env.img")?, "the kernel would show what is hidden");
    ensure!(!needs_fuse(desk, "env.img")?, "without the layer there is nothing to hide");
    desk.srun_in("low.sqf,env.img", "ls -A /opt/dir")?.says("new")?;
    desk.srun_in("env.img", "ls -A /opt/dir")?.says("new")?;
    Ok(())
}

fn a_deleted_name_can_be_used_again(desk: &Desk) -> Result<()> {
    for fakeroot in [false, true] {
        let name = if fakeroot { "root.img" } else { "env.img" };
        if fakeroot {
            desk.root_image(name)?
        } else {
            desk.image(name)?
        }
        let rw = format!("{name}:rw");
        desk.srun_in(&rw, "rm -r /etc/condatainer-base /etc/debian_version /usr/share/doc")?.success()?;
        let again = "mkdir /etc/condatainer-base /usr/share/doc && echo new > /etc/debian_version && rm /etc/debian_version && ln -s x /etc/debian_version && rmdir /usr/share/doc";
        desk.srun_in(&rw, again)?.success()?;
        let look = "stat -c %F /etc/condatainer-base /etc/debian_version; ls -d /usr/share/doc 2> /dev/null; true";
        for mode in ["ro", "rw"] {
            desk.srun_in(&format!("{name}:{mode}"), look)?.says("directory\nsymbolic link")?;
        }
        desk.is_clean(name)?;
    }
    Ok(())
}

fn many_readers_at_once(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    desk.srun_in("env.img:rw", "mkdir /data; echo shared > /data/file")?.says("")?;
    let look = "cat /data/file; ls -A /data";
    let output = desk.srun(&["-n8", "--overcommit", "--condatainer-overlay=env.img", "sh", "-c", look])?.success()?;
    let mut lines: Vec<_> = output.stdout.lines().collect();
    lines.sort_unstable();
    ensure!(lines == [["file"; 8], ["shared"; 8]].concat(), "{lines:?}");
    desk.is_clean("env.img")
}

/// Apptainer stacks the overlay inside a SIF with the kernel's overlay, too.
fn what_is_deleted_in_a_base_stays_deleted(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    by_hand(desk, "env.img", "rm -r /etc/condatainer-base /usr/share/debconf; mkdir /usr/share/debconf")?.success()?;
    let add = "cp /srv/base/base.sif own.sif; chmod u+w own.sif
        apptainer sif add --datatype 4 --partfs 2 --parttype 4 --partarch 2 --groupid 1 own.sif env.img";
    desk.script(add)?.success()?;
    let look = "ls -A /usr/share/debconf; ls -A /etc | grep condatainer; true";
    let exec = |more: &[&str]| {
        desk.run(&[&["condatainer", "exec", "-b", "own.sif"], more, &["--", "sh", "-c", look]].concat())
    };
    exec(&[])?.says("")?;
    desk.squashfs("low.sqf", "echo 1 > opt/file")?;
    exec(&["-o", "low.sqf"])?.says("")?;
    Ok(())
}

/// Without the feature `filetype` the kernel's overlay would list what is deleted.
fn names_that_tell_no_type(desk: &Desk) -> Result<()> {
    let make = "mkdir -p tree/upper tree/work; PATH=$PATH:/usr/sbin
        mke2fs -q -F -t ext3 -O ^filetype,^extent,^64bit,^metadata_csum -d tree env.img 64M";
    desk.script(make)?.success()?;
    desk.srun_in("env.img:rw", "rm /etc/condatainer-base")?.says("")?;
    desk.srun_in("env.img:ro", "ls -A /etc | grep condatainer; true")?.says("")?;
    desk.is_clean("env.img")
}

/// A session of random work by Apptainer alone, then a translation: everybody sees what that Apptainer saw before, our own readers and
/// writers, and Apptainer by hand, with the kernel's overlay where that is enough. The next round goes on from there.
///
/// What fuse-overlayfs itself does wrong in a session (a lower file shows again when the directory in its place is renamed) is the
/// same before and after, and no matter here.
fn random_work_is_the_same_for_everybody(desk: &Desk) -> Result<()> {
    rounds_of_random_work(&desk.with_mounts("engine"), "whiteouts", random_round)
}

/// Rounds of random work in `env.img` on `low.sqf`, each from a seed of its own, which is told. `work.py` does it, and lists what it sees; with
/// `driver.conf` an Apptainer by hand reads by fuse-overlayfs.
pub(crate) fn rounds_of_random_work(desk: &Desk, theme: &str, round: fn(&Desk, u64) -> Result<()>) -> Result<()> {
    let seed = seed()?;
    eprintln!("{theme}: CONDATAINER_SEED={seed}");
    desk.write("work.py", include_str!("work.py"))?;
    desk.script("sed '/^enable overlay *=/d; $a enable overlay = driver' /etc/apptainer/apptainer.conf > driver.conf")?
        .success()?;
    desk.squashfs("low.sqf", LOW)?;
    desk.image("env.img")?;
    for number in 0..u64::from(times(2, 50)) {
        round(desk, seed + number).with_context(|| format!("CONDATAINER_SEED={seed}, round {number}"))?;
    }
    Ok(())
}

/// Something to change, delete and replace in every way.
const LOW: &str = "cd opt; mkdir -p dir/sub/deep keep gone/sub to-file/x a/b/c moved/sub emptied old/new/x
    for f in file single dir/old dir/sub/old dir/sub/deep/old gone/sub/x to-dir moved/sub/x emptied/a emptied/b keep/a \
        a/b/c/x a/x a/b/old old/new/x/deep 'od d'; do echo low-$f > \"$f\"; done
    ln -s file link; : > empty; : > dir/empty";

fn seed() -> Result<u64> {
    match std::env::var("CONDATAINER_SEED") {
        Ok(seed) => seed.parse().context("CONDATAINER_SEED is no number"),
        Err(_) => Ok(std::time::UNIX_EPOCH.elapsed()?.as_secs()),
    }
}

fn random_round(desk: &Desk, seed: u64) -> Result<()> {
    let list = "python3 work.py list /opt";
    let by_hand = |options: &[&str], image: &str| Ok::<_, anyhow::Error>(stacked(desk, options, image, list)?.stdout);
    let ours = |layers: &str| Ok::<_, anyhow::Error>(desk.srun_in(layers, list)?.success()?.stdout);
    stacked(desk, &[], "env.img", &format!("python3 work.py {seed} /opt"))?;
    let expected = by_hand(&[], "env.img")?;
    // Rarely a round deletes nothing of the layer below; then there is nothing to translate.
    desk.run(&["condatainer", "overlay", "check", "--fix", "env.img"])?.success()?;
    desk.is_clean("env.img")?;
    let plain = !needs_fuse(desk, "low.sqf,env.img")?;
    same("our reader", &expected, &ours("low.sqf,env.img")?)?;
    if plain {
        same("a reader by hand", &expected, &by_hand(&[], "env.img:ro")?)?;
    }
    same("a reader with fuse-overlayfs", &expected, &by_hand(&["-c", "driver.conf"], "env.img:ro")?)?;
    same("a writer by hand", &expected, &by_hand(&[], "env.img")?)?;
    same("our writer", &expected, &ours("low.sqf,env.img:rw")?)?;
    desk.run(&["condatainer", "-q", "overlay", "seal", "--force", "-o", "low.sqf", "env.img"])?.success()?;
    same("the sealed layer", &expected, &ours("low.sqf,env.sqf")?)?;
    desk.is_clean("env.img")
}

/// Apptainer by hand, with the layer below the image.
pub(crate) fn stacked(desk: &Desk, options: &[&str], image: &str, shell: &str) -> Result<cluster::Output> {
    let stack = ["exec", "--overlay", "low.sqf:ro", "--overlay", image, "/srv/base/base.sqf", "sh", "-c", shell];
    desk.run(&[&["apptainer", "-q"], options, &stack].concat())?.success()
}

pub(crate) fn same(who: &str, expected: &str, found: &str) -> Result<()> {
    let lines = |text: &str| text.lines().map(String::from).collect::<std::collections::BTreeSet<_>>();
    let (expected, found) = (lines(expected), lines(found));
    let (lacks, has): (Vec<_>, Vec<_>) = (expected.difference(&found).collect(), found.difference(&expected).collect());
    ensure!(lacks.is_empty() && has.is_empty(), "{who} lacks {lacks:#?} and has {has:#?}");
    Ok(())
}
