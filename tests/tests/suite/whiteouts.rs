//! Deletions and who honours them: what a writer of ours leaves is in the language that everybody understands, and what somebody else
//! has written since is noticed.

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::support::{Desk, Expect, tests};

tests! {
    Apptainer, Desk: [
        what_our_writer_deleted_is_deleted_for_everybody, an_image_without_fuse_whiteouts_is_read_by_the_kernel,
        a_foreign_writer_is_noticed, new_directories_show_nothing_of_the_writers_bookkeeping,
        a_replaced_directory_is_read_by_fuse, a_deleted_name_can_be_used_again, many_readers_at_once,
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
    }
    ensure!(!needs_fuse(desk, "env.img")?, "readers have made it forgotten");
    // fuse2fs before 1.47.4 does not tell the kernel which names are devices, so it would list what is deleted.
    desk.srun_in("env.img:rw", "rm /etc/condatainer-base")?.says("")?;
    ensure!(needs_fuse(desk, "env.img")?, "the kernel may list the name of a deleted file");
    desk.srun_in("env.img", "ls /etc | grep condatainer; true")?.says("")?;
    Ok(())
}

fn a_foreign_writer_is_noticed(desk: &Desk) -> Result<()> {
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
