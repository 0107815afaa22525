//! Bad requests end at the prompt, in a line that says what is wrong; what goes wrong later ends on the node, and no node is
//! drained by it.

use anyhow::{Result, ensure};

use crate::support::{Desk, Expect, tests};

tests! {
    Slurm, Desk: [
        a_missing_image, an_unreadable_image, a_truncated_image, a_random_file, an_empty_file, an_ext4_image, an_image_without_upper, a_fifo_does_not_hang,
        an_ext_image_as_base, a_missing_base, a_missing_bind, two_writers, one_image_twice, a_writable_squashfs, an_unwritable_image, an_unknown_mode, an_empty_layer,
        an_unknown_scope, fakeroot_needs_no_argument, batch_and_salloc_refuse_too, an_image_deleted_while_the_job_was_queued,
        an_image_replaced_by_rubbish_while_the_job_was_queued, too_many_options,
    ];
}

/// srun, sbatch and salloc all refuse at the prompt: no job is made.
fn refused_at_the_prompt(desk: &Desk, options: &[&str], text: &str) -> Result<()> {
    desk.refused(desk.srun(&[&["-J", "refused"], options, &["echo", "RAN"]].concat())?, text)?;
    let output =
        desk.run(&[&["sbatch", "-J", "refused", "-o", "ran.out"], options, &["--wrap", "echo RAN"]].concat())?;
    desk.refused(output, text)?;
    ensure!(!desk.files()?.contains(&"ran.out".into()), "the job ran");
    let jobs = desk.as_root("scontrol -o show jobs")?.stdout;
    ensure!(!jobs.contains("JobName=refused"), "a job was made: {jobs}");
    Ok(())
}

fn layer_refused(desk: &Desk, layers: &str, text: &str) -> Result<()> {
    refused_at_the_prompt(desk, &[&format!("--condatainer-overlay={layers}")], text)
}

fn a_missing_image(desk: &Desk) -> Result<()> {
    let text = format!("condatainer: {}: no such file or directory", desk.path("nope.img"));
    layer_refused(desk, "nope.img", &text)
}

fn an_unreadable_image(desk: &Desk) -> Result<()> {
    let bob = desk.of("bob")?;
    bob.image("private.img")?;
    bob.script("chmod 755 /home/bob; chmod 600 private.img")?.success()?;
    layer_refused(desk, &bob.path("private.img"), "private.img: permission denied (it must be readable by you)")
}

fn a_truncated_image(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    desk.script("truncate -s 1M env.img")?.success()?;
    layer_refused(desk, "env.img", "env.img: is truncated: ")?;
    desk.squashfs("low.sqf", "head -c 1M /dev/urandom > opt/data")?;
    desk.script("truncate -s 500K low.sqf")?.success()?;
    layer_refused(desk, "low.sqf", "low.sqf: is truncated: ")
}

fn a_random_file(desk: &Desk) -> Result<()> {
    // Not quite random: nothing in it may look like an image by chance.
    desk.script("head -c 1M /dev/urandom | tr '\\000-\\100' 'x' > env.img")?.success()?;
    layer_refused(
        desk,
        "env.img",
        "env.img: is not an image that condatainer knows; a layer is a squashfs, ext3 or SIF image, or a directory",
    )
}

fn an_empty_file(desk: &Desk) -> Result<()> {
    desk.script(": > env.img")?.success()?;
    layer_refused(desk, "env.img", "env.img: is empty, not an image")
}

fn an_ext4_image(desk: &Desk) -> Result<()> {
    desk.script("mkdir -p t/upper t/work; truncate -s 64M env.img; /sbin/mke2fs -q -F -t ext4 -d t env.img")?
        .success()?;
    layer_refused(&desk.with_mounts("engine"), "env.img", "env.img: Apptainer does not accept this image: ")
}

fn an_image_without_upper(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    desk.script("/sbin/debugfs -w -R 'ln /upper /other' env.img; /sbin/debugfs -w -R 'unlink /upper' env.img")?
        .success()?;
    layer_refused(desk, "env.img", "env.img: has no upper/ directory: if it had one, it is damaged")
}

fn a_fifo_does_not_hang(desk: &Desk) -> Result<()> {
    desk.script("mkfifo env.img")?.success()?;
    layer_refused(desk, "env.img", "env.img: is a fifo, not an image")
}

fn an_ext_image_as_base(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    refused_at_the_prompt(desk, &["--condatainer-base=env.img"], "an ext image cannot be the base: give it as a layer")
}

fn a_missing_base(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    refused_at_the_prompt(
        desk,
        &["--condatainer-base=no.sif", "--condatainer-overlay=env.img"],
        "no.sif: no such file or directory",
    )
}

fn a_missing_bind(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    let text = format!("bind {}: No such file or directory", desk.path("nope"));
    refused_at_the_prompt(desk, &["--condatainer-overlay=env.img", "--condatainer-bind=nope:/x"], &text)
}

fn one_image_twice(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    desk.run(&["ln", "-s", "env.img", "link.img"])?.success()?;
    layer_refused(desk, "link.img,env.img:rw", "env.img are the same: what is written to must be named once")
}

fn two_writers(desk: &Desk) -> Result<()> {
    desk.image("a.img")?;
    desk.image("b.img")?;
    layer_refused(desk, "a.img:rw,b.img:rw", "only one layer can be written to: use :ro for the other")?;
    layer_refused(desk, "a.img:rw,b.img:tmp", "writes can go to one place only")
}

fn a_writable_squashfs(desk: &Desk) -> Result<()> {
    desk.squashfs("low.sqf", "")?;
    layer_refused(desk, "low.sqf:rw", "low.sqf: a squashfs layer is read-only and cannot be :rw: use an ext3 image")
}

fn an_unwritable_image(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    desk.script("chmod 444 env.img")?.success()?;
    layer_refused(desk, "env.img:rw", "env.img: you may not write this file, so it cannot be :rw")
}

fn an_unknown_mode(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    layer_refused(desk, "env.img:wr", "layer 'env.img:wr': unknown mode ':wr': use :ro, :rw or :tmp")
}

fn an_empty_layer(desk: &Desk) -> Result<()> {
    for list in ["", ",", "a.sqf,"] {
        layer_refused(desk, list, "empty layer in ")?;
    }
    Ok(())
}

fn an_unknown_scope(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    let options = ["--condatainer-scope=some", "--condatainer-overlay=env.img"];
    refused_at_the_prompt(desk, &options, "--condatainer-scope=some: write all, batch or steps")
}

fn fakeroot_needs_no_argument(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    let output = desk.srun(&["--condatainer-fakeroot=yes", "--condatainer-overlay=env.img", "echo", "RAN"])?;
    ensure!(output.code != 0 && !output.stdout.contains("RAN"), "{output:?}");
    desk.nodes_are_well()
}

fn batch_and_salloc_refuse_too(desk: &Desk) -> Result<()> {
    let text = "nope.img: no such file or directory";
    desk.refused(desk.run(&["salloc", "-Q", "--condatainer-overlay=nope.img", "echo", "RAN"])?, text)?;
    desk.write("job.sh", "#!/bin/sh\n#SBATCH --condatainer-overlay=nope.img\necho RAN\n")?;
    desk.refused(desk.run(&["sbatch", "job.sh"])?, text)?;
    Ok(())
}

/// A job is held, something happens to its image, it is released: it must fail with 125 and this text.
fn queued(desk: &Desk, meanwhile: &str, expected: &str) -> Result<()> {
    desk.image("env.img")?;
    let id = desk.submit(&["--hold", "--condatainer-overlay=env.img:rw"], "#!/bin/sh\necho RAN\n")?;
    desk.script(meanwhile)?.success()?;
    desk.run(&["scontrol", "release", &id.to_string()])?.success()?;
    let job = desk.job_ends(id)?;
    let text = desk.output_of(id)?;
    ensure!(job.state == "FAILED" && job.code == 125, "{job:?} {text}");
    ensure!(text.contains(expected) && !text.contains("RAN"), "{text}");
    desk.nodes_are_well()
}

fn an_image_deleted_while_the_job_was_queued(desk: &Desk) -> Result<()> {
    queued(desk, "rm env.img", &format!("condatainer: {}: no such file or directory", desk.path("env.img")))
}

fn an_image_replaced_by_rubbish_while_the_job_was_queued(desk: &Desk) -> Result<()> {
    queued(
        desk,
        "echo rubbish > env.img",
        "env.img: is a text file; a layer is a squashfs, ext3 or SIF image, or a directory",
    )
}

fn too_many_options(desk: &Desk) -> Result<()> {
    desk.squashfs("low.sqf", "")?;
    let layer = format!("--condatainer-env=LONG={}", "x".repeat(100_000));
    let output = desk.srun(&[&layer, "--condatainer-overlay=low.sqf", "echo", "RAN"])?;
    desk.refused(output, "more than the 65536 that reach a node: shorten the lists")?.in_a_short_line()
}

/// One line for a person, whatever was typed.
trait Brief {
    fn in_a_short_line(self) -> Result<()>;
}

impl Brief for cluster::Output {
    fn in_a_short_line(self) -> Result<()> {
        let longest = self.stderr.lines().map(str::len).max().unwrap_or_default();
        ensure!(longest < 1000, "a line of {longest} bytes");
        Expect::complains(self, "condatainer: ").map(drop)
    }
}
