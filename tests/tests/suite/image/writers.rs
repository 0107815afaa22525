//! One writer at a time, told apart by name; what a killed writer leaves is healed by the next.

use anyhow::{Context, Result, ensure};

use crate::support::{Desk, Expect, WHERE, tests};

tests! {
    Apptainer, Desk: [
        a_second_writer_is_told_who_holds_the_image, a_writer_waits_for_readers, who_waits_comes_after, short_starts_at_once_come_one_after_the_other, who_lends_an_image_waits_for_it, a_step_that_waits_can_be_cancelled, own_batch_holds_the_image,
        the_next_job_finds_the_image_free, a_killed_writer_is_repaired_and_synced_data_is_there, a_reader_of_a_killed_image_is_not_refused,
        left_over_daemons_are_ended, a_full_disk_is_no_success, a_full_image_is_no_success, an_image_without_inodes_is_no_success,
        a_full_tmpdir_is_no_success, a_limit_on_file_sizes_is_refused_at_once, what_is_written_anew_has_no_old_end,
    ];
}

/// Starts a step that holds the image until its standard input, a named pipe, is closed; `with` runs meanwhile.
pub(crate) fn while_held(desk: &Desk, mode: &str, with: impl FnOnce(&str) -> Result<()>) -> Result<()> {
    let text = format!(
        "srun -J holder --condatainer-overlay=env.img:{mode} sh -c 'touch {0}/held; while [ -e {0}/held ]; do sleep 0.1; done' > /dev/null 2>&1 &",
        desk.dir
    );
    desk.script(&text)?.success()?;
    desk.wait_until("[ -e held ]")?;
    let job =
        desk.script("squeue -h -n holder -o '%i %Z' | grep -F \"$PWD\" | cut -d' ' -f1 | tail -n1")?.success()?.stdout;
    let result = with(job.trim());
    desk.run(&["rm", "-f", "held"])?;
    desk.wait_until("! squeue -h -n holder -o %Z | grep -qF \"$PWD\"")?;
    result
}

fn a_second_writer_is_told_who_holds_the_image(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    while_held(desk, "rw", |job| {
        let holder = format!("in use for writing by user alice, job {job}.0, process ");
        for (mode, why) in [
            ("rw", "one writer at a time"),
            ("ro", "it cannot be read meanwhile"),
            ("tmp", "it cannot be read meanwhile"),
        ] {
            let output = desk.refused(desk.srun_in(&format!("env.img:{mode}"), "echo RAN")?, &holder)?;
            let output = output.complains(" on n1; ")?.complains(why)?;
            ensure!(output.code == 125, "{mode}: exit code {}", output.code);
        }
        let (job, text) = desk.batch(&["--condatainer-overlay=env.img:rw"], "#!/bin/sh\necho RAN\n")?;
        ensure!(job.code == 125 && text.contains(&holder) && !text.contains("RAN"), "{job:?} {text}");
        desk.nodes_are_well()
    })?;
    desk.is_clean("env.img")
}

fn a_writer_waits_for_readers(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    while_held(desk, "ro", |_| {
        desk.srun_in("env.img", WHERE)?.says("inside env")?;
        desk.refused(desk.srun_in("env.img:rw", "echo RAN")?, "in use by readers, so it cannot be :rw now").map(drop)
    })
}

/// At a prompt and in steps, several at once; and nobody waits longer than he wants to.
fn who_waits_comes_after(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    while_held(desk, "rw", |_| {
        let refused = desk.exec(&["--wait=100ms", "-o", "env.img:rw"], "true")?.ends_with(125)?;
        refused.complains("waiting until")?.complains("one writer at a time")?;
        let all = "condatainer exec --wait -o env.img:rw -- sh -c 'echo exec >> /came; sleep 1' 2>> said & \
                   CONDATAINER_WAIT=1m condatainer exec -o env.img:rw -- sh -c 'echo key >> /came; sleep 1' 2>> said & \
                   srun --condatainer-wait=1m --condatainer-overlay=env.img:rw sh -c 'echo srun >> /came; sleep 1' 2>> said & \
                   sbatch -Q --wait --array=1-2 -o /dev/null --condatainer-wait --condatainer-overlay=env.img:rw --wrap 'echo job >> /came; sleep 1' & \
                   while [ $(grep -c 'waiting until' said) -lt 2 ]; do sleep 0.1; done; rm held; wait";
        desk.script(all)?.success().map(drop)
    })?;
    let said = desk.script("cat said")?.stdout;
    let came = desk.exec(&["-o", "env.img:ro"], "sort /came | xargs")?;
    came.says("exec job job key srun").context(said)?;
    desk.is_clean("env.img")
}

/// Whoever is faster may be through before the others look again.
fn short_starts_at_once_come_one_after_the_other(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    let text = "for i in 1 2 3 4 5 6; do condatainer exec --wait -o env.img:rw -- sh -c \"echo $i >> /came\" 2> said.$i || echo failed $i & done; wait";
    let output = desk.script(text)?.success()?;
    ensure!(output.stdout.is_empty(), "{output:?} {}", desk.script("cat said.*")?.stdout);
    desk.exec(&["-o", "env.img:ro"], "sort /came | xargs")?.says("1 2 3 4 5 6")?;
    desk.is_clean("env.img")
}

/// And a signal ends that at once.
fn who_lends_an_image_waits_for_it(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    while_held(desk, "rw", |_| {
        let with_root = "condatainer overlay with-root --wait env.img -- sh -c 'id -u > /came' 2> said & start=$!; until grep -q 'waiting until' said; do sleep 0.05; done";
        desk.script(&format!("{with_root}; kill -TERM $start; wait $start"))?.ends_with(143)?;
        desk.script(&format!("{with_root}; rm held; wait $start; cat said"))?.success().map(drop)
    })?;
    desk.exec(&["-o", "env.img:ro"], "cat /came; stat -c %u /came")?.says("0\n1001")?;
    desk.is_clean("env.img")
}

/// Its task and its keeper end, although nobody has let go of the image.
fn a_step_that_waits_can_be_cancelled(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    while_held(desk, "rw", |_| {
        let text = "srun -J waits --condatainer-wait --condatainer-overlay=env.img:rw touch /never 2> said & \
                    until squeue -h -n waits -t R | grep -q .; do sleep 0.1; done; sleep 0.5; scancel -n waits; wait; \
                    while squeue -h -n waits | grep -q .; do sleep 0.1; done; [ -e held ]";
        desk.script(text)?.success().map(drop)
    })?;
    desk.exec(&["-o", "env.img:ro"], "ls /never || echo none")?.says("none")?;
    desk.nodes_are_well()
}

fn own_batch_holds_the_image(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    let script =
        "#!/bin/sh\n#SBATCH --condatainer-overlay=env.img:rw\necho batch; PATH=$PATH:/usr/bin; srun echo RAN\n";
    let steps_only = "#!/bin/sh\n#SBATCH --condatainer-overlay=env.img:rw --condatainer-scope=steps\nsrun touch /made && srun ls /made\n";
    let (_, text) = desk.batch(&[], steps_only)?;
    ensure!(text.contains("/made"), "{text}");
    // The batch script itself runs in the container, where srun is only if the host shows it.
    let bind = "--condatainer-bind=/usr/bin/srun,/usr/lib,/lib,/usr/local/lib/slurm,/etc/slurm,/run/munge,/srv/base,/etc/passwd,/etc/hosts";
    let (_, text) = desk.batch(&[bind], script)?;
    ensure!(text.contains("batch\n") && !text.contains("RAN"), "{text}");
    ensure!(
        text.contains("this job's own batch script holds the image") && text.contains("--condatainer-scope=steps"),
        "{text}"
    );
    // Of one who reads it no note tells.
    let reads = "#!/bin/sh\n#SBATCH --time=2 --condatainer-overlay=env.img --condatainer-wait\necho batch; srun --condatainer-overlay=env.img:rw echo RAN; echo ended $?\n";
    let (_, text) = desk.batch(&[], reads)?;
    ensure!(
        text.contains("ended 125") && text.contains("and does not end before this does") && !text.contains("RAN"),
        "{text}"
    );
    desk.nodes_are_well()
}

fn the_next_job_finds_the_image_free(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    for round in 0..4 {
        desk.srun_in("env.img:rw", &format!("echo {round} >> /rounds; wc -l < /rounds"))?
            .says(&(round + 1).to_string())?;
    }
    desk.srun_in("env.img", "xargs < /rounds")?.says("0 1 2 3")?;
    desk.is_clean("env.img")
}

/// Writes as carol by the engine's way, whom no other test uses, and kills every process of hers.
pub(crate) fn killed_writer<'a>(desk: &Desk<'a>) -> Result<Desk<'a>> {
    let carol = desk.of("carol")?.with_mounts("engine");
    carol.image("env.img")?;
    let write = format!(
        "echo synced > /data; mkdir /d; seq 2000 > /d/file; sync /data /d/file; touch {0}/written; exec sleep 1000",
        carol.dir
    );
    carol.script(&format!("srun --condatainer-overlay=env.img:rw sh -c '{write}' > /dev/null 2>&1 &"))?.success()?;
    carol.wait_until("[ -e written ]")?;
    // fuse2fs first: without the others it would unmount the image in order. One that was just being made escapes a single pkill.
    let kill = "pkill -KILL -U carol -x fuse2fs && while pkill -KILL -U carol; do sleep 0.02; done";
    carol.as_root(&format!("{kill}; scancel -u carol; rm written"))?.success()?;
    carol.wait_until("[ -z \"$(squeue -h -u carol)\" ]")?;
    Ok(carol)
}

fn a_killed_writer_is_repaired_and_synced_data_is_there(desk: &Desk) -> Result<()> {
    let _alone = alone();
    let carol = killed_writer(desk)?;
    let output = carol.srun_in("env.img:rw", "cat /data; tail -n1 /d/file")?.says("synced\n2000")?;
    output.complains("its last user was killed, or found the disk full: repairing it (e2fsck -p)")?;
    carol.srun_in("env.img:rw", "cat /data")?.says("synced")?.without_a_word()?;
    carol.is_clean("env.img")
}

fn a_reader_of_a_killed_image_is_not_refused(desk: &Desk) -> Result<()> {
    let _alone = alone();
    let carol = killed_writer(desk)?;
    carol.srun_in("env.img", "cat /data")?.says("synced")?;
    Ok(())
}

/// Everything of a session is killed but the FUSE daemons, which keep the lock for nobody. (In a step the warden ends them.)
fn left_over_daemons_are_ended(desk: &Desk) -> Result<()> {
    let _alone = alone();
    let carol = desk.of("carol")?.with_mounts("engine");
    carol.image("env.img")?;
    let write = format!("echo kept > /data; touch {0}/written; exec sleep 1000", carol.dir);
    // Stopped first: whoever is alive while the others die would end the daemons.
    let kill = "set -- $(ps -o pid=,comm= -U carol | awk '$2 !~ /^(fuse2fs|fuse-overlayfs|squashfuse)/ { print $1 }')
        kill -STOP $@; kill -KILL $@";
    for mode in ["ro", "rw"] {
        carol
            .script(&format!("setsid condatainer exec -w -o env.img sh -c '{write}' > /dev/null 2>&1 &"))?
            .success()?;
        carol.wait_until("[ -e written ]")?;
        carol.as_root(&format!("{kill}; rm written"))?;
        ensure!(
            carol.script("pgrep -x fuse2fs -u carol")?.code == 0,
            "{mode}: no daemon was left, so this shows nothing"
        );
        let output = carol.srun_in(&format!("env.img:{mode}"), "cat /data")?.says("kept")?;
        output.complains("ended what a killed container had left behind: ")?;
        carol.wait_until("! pgrep -U carol -x 'fuse.*|squashfuse.*'").context(mode)?;
    }
    carol.is_clean("env.img")
}

/// fuse2fs has answered for what then finds no room. Whoever goes on because of a success would go on without it.
fn a_full_disk_is_no_success(desk: &Desk) -> Result<()> {
    let desk = &desk.with_mounts("engine");
    desk.as_root("mkdir small; mount -t tmpfs -o size=12m,mode=1777 small small; chown alice small")?.success()?;
    desk.image("small/env.img")?;
    let few = desk.exec(&["-w", "-o", "small/env.img"], "echo few > /file")?.ends_with(0)?;
    let image = desk.path("small/env.img");
    few.complains(&format!("{image}: only "))?
        .complains("MiB are free on its disk: what does not fit is lost, perhaps without an error")?;
    let many = "mkdir /d; for i in $(seq 1 20); do head -c 1000000 /dev/urandom > /d/$i; done; true";
    let output = desk.exec(&["-w", "-o", "small/env.img"], many)?.ends_with(1)?;
    output.complains("what was written last may be lost: make room, then run 'condatainer overlay check ")?;
    desk.script("cp --sparse=always small/env.img env.img")?.success()?;
    desk.script("rm small/env.img")?.success()?;
    desk.image("small/env.img")?;
    desk.srun_in("small/env.img:rw", "true")?.success()?.complains("MiB are free on its disk")?;
    desk.as_root("umount -l small")?.success()?;
    // How much is damaged is chance, and which repair it takes.
    desk.run(&["condatainer", "overlay", "check", "--fix=force", "env.img"])?.ends_with(0)?;
    desk.exec(&["-o", "env.img"], "cat /file")?.says("few")?;
    desk.is_clean("env.img")
}

/// `sync` at its end would tell; most programs do not ask.
const FILL: &str = "perl -e 'open(F, q(>), q(/big)); print F q(x) x 30_000_000; close(F)'";

fn a_full_image_is_no_success(desk: &Desk) -> Result<()> {
    let desk = &desk.with_mounts("engine");
    desk.small_image("env.img")?;
    let image = desk.path("env.img");
    let resize = format!("run 'condatainer overlay resize --free 1G {image}'");
    desk.exec(&["-w", "-o", "env.img"], "head -c 4M /dev/zero > /some")?.success()?.without_a_word()?;
    let output = desk.exec(&["-w", "-o", "env.img"], FILL)?.ends_with(1)?;
    output.complains(&format!("{image}: is full: what was written last may be lost: {resize}"))?;
    desk.exec(&["-w", "-o", "env.img"], &format!("{FILL}; exit 7"))?.ends_with(7)?.complains(&resize)?;
    // Nothing could be added any more, and that was said.
    let told = format!("{image}: is full: what does not fit is lost, perhaps without an error; {resize} first");
    desk.exec(&["-w", "-o", "env.img"], "echo ran")?.says("ran")?.complains(&told)?;
    desk.srun_in("env.img:rw", "echo ran")?.says("ran")?.complains(&told)?;
    desk.exec(&["-o", "env.img"], "echo ran")?.says("ran")?.without_a_word()?;
    desk.run(&["condatainer", "overlay", "resize", "--free", "1G", "env.img"])?.success()?;
    let all = "head -c 20M /dev/zero > /more && sync /more && stat -c %s /more";
    desk.exec(&["-w", "-o", "env.img"], all)?.says("20971520")?;
    desk.is_clean("env.img")
}

fn an_image_without_inodes_is_no_success(desk: &Desk) -> Result<()> {
    let desk = &desk.with_mounts("engine");
    desk.as_root(
        "t=$(mktemp -d); chmod 755 $t; mkdir $t/upper $t/work; chown 1001:1001 $t/*; truncate -s 64M env.img
        mke2fs -q -F -t ext3 -b 4096 -I 256 -N 64 -m 0 -J size=4 -O none,has_journal,ext_attr,resize_inode,dir_index,filetype,sparse_super,large_file -d $t env.img
        rm -r $t; chown 1001:1001 env.img",
    )?
    .success()?;
    let many = "mkdir /d; for i in $(seq 400); do touch /d/$i || exit 0; done 2> /dev/null; exit 0";
    let output = desk.exec(&["-w", "-o", "env.img"], many)?.ends_with(1)?;
    output.complains(
        "env.img: is full (no inodes are left, so no file can be made): what was written last may be lost",
    )?;
    desk.run(&["condatainer", "overlay", "resize", "-s", "+1G", "env.img"])?.success()?;
    desk.exec(&["-w", "-o", "env.img"], "touch /one && ls /one")?.says("/one")?.without_a_word()?;
    desk.is_clean("env.img")
}

fn a_full_tmpdir_is_no_success(desk: &Desk) -> Result<()> {
    desk.as_root("mkdir small; mount -t tmpfs -o size=12m,mode=1777 small small; chown alice small")?.success()?;
    desk.image("env.img")?;
    let in_tmp = |mounts: &'static str, text: &str| {
        let words = ["condatainer", "exec", "-o", "env.img:tmp", "--", "sh", "-c", text];
        desk.with_mounts(mounts).command().env("TMPDIR", &desk.path("small")).run(&words)
    };
    for mounts in ["own", "engine"] {
        in_tmp(mounts, "echo few > /file")?.success()?.without_a_word()?;
    }
    in_tmp("engine", FILL)?
        .ends_with(1)?
        .complains("small: the disk is full: some of what the command wrote to its :tmp layer was lost")?;
    ensure!(desk.run(&["ls", "-A", "small"])?.stdout.is_empty(), "something is left");
    // Ours tells the command itself, at once.
    in_tmp("own", "head -c 30000000 /dev/zero > /file && echo WRITTEN")?
        .ends_with(1)?
        .without_stdout()?
        .complains("No space left on device")?;
    ensure!(desk.run(&["ls", "-A", "small"])?.stdout.is_empty(), "something is left");
    desk.as_root("umount -l small").map(drop)
}

/// fuse2fs before 1.47.4 does not cut a file that is opened to be written anew: its old end came back in the next container.
fn what_is_written_anew_has_no_old_end(desk: &Desk) -> Result<()> {
    let ways = "echo new > /f/shell; cp /f/shell /f/cp; perl -e 'open(my $f, q(+>), q(/f/perl)); print $f qq(new\\n)'
        dd if=/f/shell of=/f/dd status=none; printf '' > /f/empty; truncate -s 4 /f/truncate; tee /f/tee < /f/shell > /dev/null
        : > /f/append; echo new >> /f/append; echo new > /usr/share/base-files/profile";
    let old = "mkdir /f; for f in shell cp perl dd empty truncate tee append; do seq 1000 > /f/$f; done; echo new > /f/truncate; seq 1000 >> /f/truncate";
    for name in ["env.img", "root.img"] {
        if name == "env.img" {
            desk.image(name)?
        } else {
            desk.root_image(name)?
        }
        let image = format!("{name}:rw");
        desk.exec(&["-o", &image], old)?.success()?;
        desk.exec(&["-o", &image], ways)?.success()?;
        let list = "cd /f; for f in *; do echo $f $(cat $f); done; cat /usr/share/base-files/profile";
        let found = desk.exec(&["-o", name], list)?.success()?.stdout;
        let expected = "append new\ncp new\ndd new\nempty\nperl new\nshell new\ntee new\ntruncate new\nnew\n";
        ensure!(found == expected, "{name}: {}", found.chars().take(400).collect::<String>());
        desk.is_clean(name)?;
    }
    Ok(())
}

fn a_limit_on_file_sizes_is_refused_at_once(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    let why = "env.img: your limit on file sizes is 48.83 MiB and the image has 64.00 MiB; raise it (ulimit -f)";
    let limited = |text: &str| desk.script(&format!("ulimit -f 50000; {text}"));
    limited("condatainer exec -w -o env.img -- echo RAN")?.ends_with(125)?.without_stdout()?.complains(why)?;
    limited("condatainer exec -o env.img -- echo RAN")?.says("RAN")?;
    limited("condatainer exec -o env.img:tmp -- echo RAN")?.says("RAN")?;
    for verb in ["chown --root", "check --fix", "resize -s +10M", "with-root"] {
        let output = limited(&format!("condatainer overlay {verb} env.img"))?;
        ensure!(output.code != 0 && output.stderr.contains(why), "{verb}: {} {}", output.code, output.stderr);
    }
    // The copy and the image may not grow beyond it either.
    for how in ["", "--in-place"] {
        let output = desk.script(&format!("ulimit -f 70000; condatainer overlay resize {how} -s 1G env.img; ls -A"))?;
        let output =
            output.complains("your limit on file sizes is 68.36 MiB and the image would have 1.00 GiB; raise it")?;
        ensure!(!output.stdout.contains("resizing"), "{}", output.stdout);
    }
    desk.exec(&["-o", "env.img"], "stat -c %u /opt/layers/env")?.says("1001")?;
    desk.is_clean("env.img")
}

/// Carol can be killed by one test at a time.
pub(crate) fn alone() -> std::sync::MutexGuard<'static, ()> {
    static CAROL: std::sync::Mutex<()> = std::sync::Mutex::new(());
    CAROL.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
