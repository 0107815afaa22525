//! Layers that we mount, from images that somebody takes away, and from a file server that is gone.
//!
//! A FUSE file system stands for that server. Stopped, it answers as little as a server that is down does on a hard mount. Killed, it gives errors
//! as a soft mount does. Virtual machines have real NFS (`tests/vm/stacks`).

use anyhow::{Context, Result, ensure};

use super::servers::{MARK, nothing_is_left, ours};
use crate::support::{Desk, Expect, tests};

tests! {
    Apptainer, Desk: [
        a_step_that_waits_for_a_lost_file_server_ends, what_a_file_server_answers_by_an_error_is_said, an_image_that_somebody_takes_away,
    ];
    ApptainerOnce, Desk: [who_waits_for_a_lost_file_server_can_be_ended];
}

/// `net/`, served by a process `$net`: a module with a file that nobody has read yet, and an image.
const NET: &str = "net() { mkdir -p net; squashfuse_ll net.sqf net > /dev/null && net=$(pgrep -u alice -f \"^squashfuse_ll net.sqf net$\" -n); }; ";
/// Whatever is read or looked up for the first time. All that has a test's own words is the test's.
fn read(word: &str) -> String {
    format!("cat /opt/{word}/large > /dev/null & ls -l /opt/{word}/names > /dev/null & ")
}

/// For pgrep(1): who does that.
fn readers(word: &str) -> String {
    format!("-u alice -f '^(cat|ls -l) /opt/{word}'")
}

/// Random bytes cannot be packed, and to try it takes longer than all else here.
const UNPACKED: &str = "-quiet -no-progress -noD -noF";

/// Names that cannot be packed: those of a listing are more than the system reads ahead.
fn make(desk: &Desk, word: &str) -> Result<()> {
    let module = format!(
        "t=$(mktemp -d); chmod 755 $t; mkdir -p $t/opt/{word}/names; head -c 24M /dev/urandom > $t/opt/{word}/large
        (cd $t/opt/{word}/names; head -c 160000 /dev/urandom | od -An -v -tx8 -w8 | xargs touch)
        mkdir tree; mksquashfs $t tree/far.sqf {UNPACKED}; rm -r $t"
    );
    desk.script(&module)?.success()?;
    desk.image_with("env.img", "1001:1001", "mkdir own; echo image > own/file")?;
    desk.script(&format!("mv env.img tree; mksquashfs tree net.sqf {UNPACKED}; rm -r tree"))?.success().map(drop)
}

/// Nobody waits any more, in the kernel neither.
fn all_have_ended(desk: &Desk, word: &str) -> Result<()> {
    nothing_is_left(desk)?;
    desk.wait_until(&format!("! pgrep {}", readers(word)))
}

fn who_waits_for_a_lost_file_server_can_be_ended(desk: &Desk) -> Result<()> {
    let word = "ended";
    make(desk, word)?;
    let (read, readers) = (read(word), readers(word));
    let (beside, itself) = (format!("{read} touch at; sleep 8662"), format!("touch at; exec ls -l /opt/{word}/names"));
    let kill = format!("pkill -KILL {readers}");
    let (plain, tmp) = ("-o net/far.sqf", "-o net/far.sqf -o net/env.img:tmp");
    // What the command has left behind waits, or the command itself does, which the kernel cannot end as long as it waits for an answer.
    for (layers, reads, waiting, end, code) in [
        (plain, &beside, 2, "kill -TERM $start", 143),
        (tmp, &beside, 2, "kill -TERM $start", 143),
        (tmp, &itself, 1, &kill, 137),
    ] {
        let text = format!(
            "{NET} rm -f there go at; net; condatainer exec {layers} -- sh -c 'touch there; until [ -e go ]; do sleep 0.1; done; {reads}' & start=$!; \
            until [ -e there ]; do sleep 0.1; done; kill -STOP $net; touch go; until [ -e at ] && [ $(pgrep -c {readers}) = {waiting} ]; do sleep 0.1; done; \
            sleep 0.5; pgrep -c {readers}; {end}; wait $start; code=$?; \
            for n in $(seq 100); do pgrep {readers} > /dev/null || [ -n \"$(servers)\" ] || break; sleep 0.1; done; servers; pgrep -a {readers}; \
            kill -CONT $net; fusermount3 -u net; exit $code"
        );
        let output = ours(desk, &text)?.ends_with(code).with_context(|| format!("{end} {layers}"))?;
        ensure!(output.stdout == format!("{waiting}\n"), "they wait, and then nobody does: {end} {layers}: {output:?}");
        all_have_ended(desk, word)?;
    }
    Ok(())
}

fn a_step_that_waits_for_a_lost_file_server_ends(desk: &Desk) -> Result<()> {
    let word = "step";
    make(desk, word)?;
    let task = format!(
        "touch there.$SLURM_PROCID; until [ -e go ]; do sleep 0.1; done; {} touch at.$SLURM_PROCID; exec sleep 8661",
        read(word)
    );
    let step = format!("srun -n2 -O --condatainer-overlay=net/far.sqf,net/env.img:tmp sh -c '{task}'");
    ours(desk, &format!("{NET} net; echo $net > net.pid"))?.success()?;
    let job = format!("#!/bin/sh\nexport CONDATAINER_MOUNTS=own\n{MARK}\n{step}\n");
    let id = desk.submit(&["-n1"], &job)?;
    desk.wait_until("[ -e there.0 ] && [ -e there.1 ]")?;
    desk.script("kill -STOP $(cat net.pid); touch go")?.success()?;
    desk.wait_until(&format!("[ -e at.0 ] && [ -e at.1 ] && [ $(pgrep -c {}) = 4 ]", readers(word)))?;
    desk.script(&format!("sleep 0.5; scancel {id}"))?.success()?;
    let ended = desk.job_ends(id).and_then(|_| all_have_ended(desk, word));
    desk.script("kill -CONT $(cat net.pid); fusermount3 -u net")?.success()?;
    ended?;
    desk.wait_until("! pgrep -u alice -f '^sleep 8661'")?;
    desk.nodes_are_well()
}

fn what_a_file_server_answers_by_an_error_is_said(desk: &Desk) -> Result<()> {
    let word = "said";
    make(desk, word)?;
    let read = format!(
        "touch there; until [ -e go ]; do sleep 0.1; done; cat /opt/{word}/large > /dev/null || echo lost; ls -l /opt/{word}/names > /dev/null || echo lost; exit 4"
    );
    let meanwhile = "until [ -e there ]; do sleep 0.1; done; kill -KILL $net; touch go; wait $start; code=$?; fusermount3 -u net; rm there go; exit $code";
    for start in
        ["condatainer exec -o net/far.sqf -o net/env.img:tmp --", "srun --condatainer-overlay=net/far.sqf,net/env.img"]
    {
        let text = format!("{NET} net; {start} sh -c '{read}' & start=$!; {meanwhile}");
        let output = ours(desk, &text)?.ends_with(4).with_context(|| start.to_owned())?;
        ensure!(output.stdout == "lost\nlost\n", "{start}: {output:?}");
        let output = output.complains("Input/output error")?;
        match start.starts_with("srun") {
            true => output.complains("or a file server failed: ")?,
            false => output.complains("/net/")?.complains(": cannot be read: Transport endpoint is not connected")?,
        };
        all_have_ended(desk, word)?;
    }
    desk.nodes_are_well()
}

/// Deleted, it is read to the end: it goes with its last reader. Cut off, it is an error, and a line.
fn an_image_that_somebody_takes_away(desk: &Desk) -> Result<()> {
    let word = "away";
    let read = format!(
        "touch there; until [ -e go ]; do sleep 0.05; done; cat /opt/{word}/large > /dev/null && echo read; exit 5"
    );
    for start in ["condatainer exec -o far.sqf --", "srun --condatainer-overlay=far.sqf"] {
        for (what, is_read) in [("rm far.sqf", true), ("truncate -s 8192 far.sqf", false)] {
            let module = format!(
                "t=$(mktemp -d); chmod 755 $t; mkdir -p $t/opt/{word}; head -c 24M /dev/urandom > $t/opt/{word}/large; mksquashfs $t far.sqf {UNPACKED}; rm -r $t"
            );
            desk.script(&module)?.success()?;
            let text = format!(
                "{start} sh -c '{read}' & start=$!; until [ -e there ]; do sleep 0.05; done; {what}; touch go; wait $start; code=$?; rm -f there go far.sqf; exit $code"
            );
            let output = ours(desk, &text)?.ends_with(5).with_context(|| format!("{start} {what}"))?;
            ensure!(output.stdout == if is_read { "read\n" } else { "" }, "{start} {what}: {output:?}");
            if !is_read {
                let output = output.complains("Input/output error")?;
                output.complains(if start.starts_with("srun") { "an image is damaged, or" } else { "/far.sqf: " })?;
            }
            all_have_ended(desk, word)?;
        }
    }
    desk.nodes_are_well()
}
