//! What is written for one run: `--tmp` makes a base, modules and images writable that nobody changes, and memory can hold it.

use anyhow::{Context, Result, ensure};
use cluster::{Output, Proctrack, Release};

use super::servers::{MARK, nothing_is_left};
use crate::support::{Desk, Expect, Setup, World, tests};

tests! {
    Apptainer, Desk: [
        tasks_see_what_the_others_write, jobs_ask_for_it_as_for_anything_else, nothing_is_left_after_a_kill,
        what_does_not_go_together_is_said, a_full_disk_is_the_commands_error,
    ];
    ApptainerOnce, Desk: [
        a_base_is_written_to_without_an_image, modules_and_images_stay_as_they_are, the_namespaces_root_writes_too, e_and_run_know_it,
        memory_holds_what_it_was_given, only_our_mounts_keep_it_in_memory,
    ];
    MemoryCgroups, OwnCluster: [half_of_a_jobs_memory];
}

const WAYS: [&str; 2] = ["own", "engine"];

/// A bash text, where the layers are mounted in this way.
fn by(desk: &Desk, way: &str, text: &str) -> Result<Output> {
    desk.script(&format!("export CONDATAINER_MOUNTS={way}; {MARK}{text}"))
}

fn two_layers(desk: &Desk) -> Result<()> {
    desk.squashfs("mod.sqf", "mkdir -p opt/mod; echo module > opt/mod/file")?;
    desk.image_with("env.img", "1001:1001", "mkdir own; echo image > own/file")
}

fn a_base_is_written_to_without_an_image(desk: &Desk) -> Result<()> {
    let change =
        "echo new > /etc/new; rm /etc/condatainer-base; mkdir /opt/here; mv /etc/new /opt/here/; cat /opt/here/new";
    for way in WAYS {
        let text = format!(
            "mkdir -p scratch; export CONDATAINER_TMPDIR=$PWD/scratch; sha256sum /srv/base/base.sqf > sums; \
            condatainer exec --tmp -- sh -ec '{change}'; ls -A scratch; sha256sum --quiet -c sums; \
            condatainer exec -- sh -c 'cat /etc/condatainer-base > /dev/null && ls /opt/here 2> /dev/null || echo gone'"
        );
        by(desk, way, &text)?.says("new\ngone")?.without_a_word().with_context(|| way.to_owned())?;
    }
    let directory = "condatainer exec -b /srv/base/base --tmp -- sh -ec 'rm /etc/condatainer-base; echo x > /etc/x; cat /etc/x'; ls /srv/base/base/etc/condatainer-base";
    // The engine shows the files of such a base as root's, whom a user is not.
    by(desk, "own", directory)?.says("x\n/srv/base/base/etc/condatainer-base")?;
    nothing_is_left(desk)
}

fn modules_and_images_stay_as_they_are(desk: &Desk) -> Result<()> {
    two_layers(desk)?;
    let change = "echo other > /opt/mod/file; rm /own/file; echo own > /own/file; cat /opt/mod/file /own/file";
    for way in WAYS {
        for image in ["env.img", "env.img:ro", "env.img:tmp"] {
            let text = format!(
                "sha256sum mod.sqf > sums; condatainer exec --tmp -o mod.sqf -o {image} -- sh -ec '{change}'; \
                sha256sum --quiet -c sums; condatainer exec -o mod.sqf -o env.img -- cat /opt/mod/file /own/file"
            );
            let output = by(desk, way, &text)?.says("other\nown\nmodule\nimage");
            output.with_context(|| format!("{way} {image}"))?;
        }
    }
    nothing_is_left(desk)
}

fn the_namespaces_root_writes_too(desk: &Desk) -> Result<()> {
    let text = "chown 42:43 /etc/condatainer-base; mkdir /opt/s; chgrp 7 /opt/s; stat -c \"%u %g\" /etc/condatainer-base /opt/s; id -u";
    for way in WAYS {
        let output = by(desk, way, &format!("condatainer exec --tmp -f -- sh -ec '{text}'"))?.says("42 43\n0 7\n0")?;
        output.without_a_word().with_context(|| way.to_owned())?;
        // Who has no subordinate ids is root alone.
        let alone = "rm /etc/condatainer-base; mkdir /opt/s; stat -c '%u %g' /opt/s; id -u";
        let typed = format!("condatainer exec --tmp -f -- sh -ec \"{alone}\"");
        by(&desk.of("bob")?, way, &typed)?.says("0 0\n0").with_context(|| way.to_owned())?;
    }
    nothing_is_left(desk)
}

/// Each writes a file, and waits for those of all others.
const MEET: &str = "echo $SLURM_PROCID > /met.$SLURM_PROCID; until [ $(ls /met.? | wc -l) = 4 ]; do sleep 0.1; done; sort /met.? | tr -d \"\\n\"";

fn tasks_see_what_the_others_write(desk: &Desk) -> Result<()> {
    for way in WAYS {
        for option in ["", "--condatainer-fakeroot"] {
            let step = format!("srun -n4 --condatainer-tmp {option} sh -c '{MEET}'; srun --condatainer-tmp ls /met.0");
            let output = by(desk, way, &step)?;
            ensure!(output.stdout.trim() == "0123".repeat(4) && output.code != 0, "{way} {option}: {output:?}");
        }
    }
    nothing_is_left(desk)
}

fn jobs_ask_for_it_as_for_anything_else(desk: &Desk) -> Result<()> {
    two_layers(desk)?;
    let write = "echo $0 > /etc/new && cat /etc/new";
    for (line, asked) in [("#SBATCH", "--condatainer-tmp"), ("#CNT", "--tmp")] {
        let job =
            format!("#!/bin/sh\n{line} {asked}\necho batch > /etc/new\nsrun sh -c '{write}' step\ncat /etc/new\n");
        let (job, said) = desk.batch(&["-n1", "--export=ALL,CONDATAINER_MOUNTS=own"], &job)?;
        // A container for the script and one for the step: each has its own.
        ensure!(job.state == "COMPLETED" && said == "step\nbatch\n", "{line}: {job:?} {said}");
    }
    let salloc = format!("salloc -Q -n1 --condatainer-tmp --condatainer-overlay=mod.sqf srun sh -c '{write}' alloc");
    by(desk, "own", &salloc)?.says("alloc")?;
    // What a job was given is no obstacle to an image that a step names.
    let job = "#!/bin/sh\n#SBATCH --condatainer-tmp --condatainer-scope=steps\nsrun --condatainer-overlay=env.img:rw sh -c 'echo is kept > /own/file'\nsrun --condatainer-overlay=env.img cat /own/file\n";
    let (job, said) = desk.batch(&["-n1"], job)?;
    ensure!(job.state == "COMPLETED" && said == "is kept\n", "{job:?} {said:?}");
    nothing_is_left(desk)
}

fn e_and_run_know_it(desk: &Desk) -> Result<()> {
    two_layers(desk)?;
    let output = by(desk, "own", "condatainer e --tmp -- sh -c 'echo x > /own/file; cat /own/file'")?.says("x")?;
    output.complains("is removed at the end: ./env.img (found here; -n leaves it out) stays as it is")?;
    by(desk, "own", "cd /; condatainer e --tmp -- sh -c 'echo x > /opt/x; cat /opt/x'")?.says("x")?;
    desk.write("script.sh", "#!/bin/sh\n#DEP: ./env.img\necho y > /own/file; cat /own/file\n")?;
    by(desk, "own", "condatainer run --tmp ./script.sh; condatainer exec -o env.img -- cat /own/file")?
        .says("y\nimage")?;
    desk.write("script.sh", "#!/bin/sh\n#SBATCH -n1\n#DEP: ./env.img\necho y > /own/file; cat /own/file\n")?;
    let shown = desk.script("condatainer run --tmp --scratch=disk --dry-run ./script.sh")?.success()?.stdout;
    ensure!(shown.contains("run --no-submit --tmp '--scratch=disk' "), "{shown}");
    nothing_is_left(desk)
}

fn nothing_is_left_after_a_kill(desk: &Desk) -> Result<()> {
    for place in ["disk", "memory"] {
        let text = format!(
            "mkdir -p scratch; export CONDATAINER_TMPDIR=$PWD/scratch CONDATAINER_SCRATCH={place}; \
            condatainer exec --tmp -- sh -c 'dd if=/dev/zero of=/big bs=1M count=8 2> /dev/null; touch there; exec sleep 7540' & start=$!; \
            until [ -e there ] && pgrep -u alice -f '^sleep 7540' > /dev/null; do sleep 0.1; done; rm there; kill -KILL $start; pkill -KILL -u alice -f '^sleep 7540'; wait $start; ls -A scratch"
        );
        by(desk, "own", &text)?.without_stdout()?;
        nothing_is_left(desk).with_context(|| place.to_owned())?;
        let job = format!(
            "#!/bin/bash\n{MARK}export CONDATAINER_MOUNTS=own CONDATAINER_SCRATCH={place} CONDATAINER_TMPDIR=$PWD/scratch\n\
            srun -n2 -O --condatainer-tmp sh -c 'echo > /file.$SLURM_PROCID; touch there.$SLURM_PROCID; exec sleep 7541'\n"
        );
        let id = desk.submit(&["-n1"], &job)?;
        desk.wait_until("[ -e there.0 ] && [ -e there.1 ]")?;
        desk.script(&format!("rm there.?; scancel --full --signal=KILL {id}"))?.success()?;
        desk.job_ends(id)?;
        nothing_is_left(desk).with_context(|| place.to_owned())?;
        desk.script("ls -A scratch")?.without_stdout()?;
    }
    desk.nodes_are_well()
}

fn what_does_not_go_together_is_said(desk: &Desk) -> Result<()> {
    two_layers(desk)?;
    for usage in ["exec -w --tmp -o env.img true", "run -w --tmp job.sh", "e -r --tmp -- true"] {
        desk.script(&format!("condatainer {usage}"))?.ends_with(2)?.complains("cannot be used with")?;
    }
    desk.script("condatainer e --tmp env.img:rw -- true")?.ends_with(2)?.complains("--tmp: ")?;
    let said = "env.img: it would be written to (-w, :rw), and --tmp (in Slurm: --condatainer-tmp) keeps all that is written elsewhere";
    desk.refused(desk.script("condatainer exec --tmp -o env.img:rw -- echo RAN")?, said)?;
    desk.write("script.sh", "#!/bin/sh\n#DEP: ./env.img\n#CNT --tmp\necho RAN\n")?;
    desk.refused(desk.script("condatainer run -w ./script.sh")?, said)?;
    let step = desk.srun(&["--condatainer-tmp", "--condatainer-overlay=env.img:rw", "echo", "RAN"])?;
    ensure!(step.code != 0 && !step.stdout.contains("RAN") && step.stderr.contains(said), "{step:?}");
    let cure = "mod.sqf: a squashfs layer is read-only and cannot be :tmp: use --tmp";
    desk.refused(desk.script("condatainer exec -o mod.sqf:tmp -- echo RAN")?, cure).map(drop)
}

fn memory_holds_what_it_was_given(desk: &Desk) -> Result<()> {
    let fill = "dd if=/dev/zero of=/big bs=1M count=4 2> /dev/null && echo fits; df -m --output=size / | tail -n1 | tr -d \" \"; \
        dd if=/dev/zero of=/more bs=1M count=16 2>&1 | grep -o \"No space left on device\"; \
        rm /big /more; dd if=/dev/zero of=/again bs=1M count=7 2> /dev/null && echo again";
    let text =
        format!("export CONDATAINER_TMPDIR=/no/such; condatainer exec --scratch=memory:8M --tmp -- sh -c '{fill}'");
    by(desk, "own", &text)?.says("fits\n8\nNo space left on device\nagain")?;
    let shown = by(desk, "own", "condatainer exec --tmp --scratch=memory:8M --dry-run true")?.success()?.stdout;
    ensure!(shown.trim_end().ends_with("written to memory, at most 8 MiB"), "{shown}");
    let json =
        by(desk, "own", "CONDATAINER_SCRATCH=memory:8M condatainer exec --tmp --dry-run=json true")?.success()?;
    let json: serde_json::Value = serde_json::from_str(&json.stdout)?;
    ensure!(json["mounts"]["own"]["scratch"]["memory"] == 8 << 20, "{json}");
    desk.script("condatainer exec --scratch=ram true")?.ends_with(2)?;
    desk.script("CONDATAINER_SCRATCH=ram condatainer exec true")?
        .complains("is not one of: disk, memory, memory:SIZE")?;
    nothing_is_left(desk)
}

fn only_our_mounts_keep_it_in_memory(desk: &Desk) -> Result<()> {
    let said =
        "scratch = memory: the engine mounts the layers, which does not keep there what is written: drop --scratch";
    desk.refused(by(desk, "engine", "condatainer exec --scratch=memory --tmp -- echo RAN")?, said)?;
    by(desk, "engine", "condatainer exec --scratch=memory -- echo RAN")?.says("RAN").map(drop)
}

/// Nothing else is lost, and who makes room goes on.
fn a_full_disk_is_the_commands_error(desk: &Desk) -> Result<()> {
    desk.as_root("mkdir -p /run/small; mount -t tmpfs -o size=8M,mode=1777 tmpfs /run/small")?.success()?;
    let fill = "echo kept > /kept; dd if=/dev/zero of=/big bs=1M count=20 2>&1 | grep -o \"No space left on device\"; cat /kept; \
        rm /big; dd if=/dev/zero of=/again bs=1M count=4 2> /dev/null && echo again";
    let wanted = "No space left on device\nkept\nagain";
    let of = |start: &str| {
        by(desk, "own", &format!("export CONDATAINER_TMPDIR=/run/small; {start} sh -c '{fill}'; ls -A /run/small"))
    };
    let (typed, step) = (of("condatainer exec --tmp --"), of("srun --condatainer-tmp"));
    let left = nothing_is_left(desk);
    desk.as_root("umount /run/small && rmdir /run/small")?.success()?;
    typed?.says(wanted)?;
    step?.says(wanted)?;
    left
}

/// What counts against the limit of a job's memory cannot take all of it: the step goes on.
fn half_of_a_jobs_memory(world: &World, release: Release) -> Result<()> {
    let slurm_conf = "TaskPlugin=task/cgroup\nSelectTypeParameters=CR_Core_Memory\n";
    let setup = Setup { proctrack: Proctrack::CgroupV1, slurm_conf, ..Setup::default() };
    world.with_cluster(release, &setup, |desk| {
        let fill = "dd if=/dev/zero of=/big bs=1M count=300 2>&1 | grep -o \"No space left on device\"; \
            [ $(stat -c %s /big) = $((128 << 20)) ] && echo half; rm /big; echo goes on";
        let text = format!("export CONDATAINER_SCRATCH=memory; srun --mem=256M --condatainer-tmp sh -c '{fill}'");
        by(desk, "own", &text)?.says("No space left on device\nhalf\ngoes on")?;
        nothing_is_left(desk)?;
        desk.nodes_are_well()
    })
}
