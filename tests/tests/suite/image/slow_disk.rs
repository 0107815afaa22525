//! Images on a disk that is slow: whoever comes after a writer finds all that was written, however long the disk takes.
//!
//! The disk is this machine's, behind a library that makes fuse2fs wait in every fsync(2) once a command has asked for it. Apptainer
//! gives its FUSE programs two seconds.

use anyhow::{Result, ensure};
use cluster::Release;

use crate::slurm::admin::compile;
use crate::support::{Desk, Expect, Setup, World, tests};

tests! {
    Apptainer, OwnCluster: [a_writer_waits_for_it, a_step_waits_for_it];
}

const LIBRARY: &str = "/usr/local/lib/slow.so";
/// Before the real one in the interposer's list.
const IN_FRONT: &str = "/usr/local/sbin/fuse2fs";
const SLOW: &str = "
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <unistd.h>
int fsync(int file) {
    int (*real)(int) = dlsym(RTLD_NEXT, \"fsync\");
    if (access(\"/tmp/slow\", F_OK) == 0) {
        close(open(\"/tmp/slept\", O_CREAT, 0644));
        sleep(3);
    }
    return real(file);
}
";
const WRITE: &str = "seq 200000 > /file; mkdir /d; touch /d/$(seq -s ' /d/' 500); touch /tmp/slow";

fn on_slow_disk(world: &World, release: Release, run: impl FnOnce(&Desk) -> Result<()>) -> Result<()> {
    world.with_cluster(release, &Setup::default(), |desk| {
        let desk = &desk.with_mounts("engine");
        let scratch = tempfile::tempdir()?;
        let (source, object) = (scratch.path().join("slow.c"), scratch.path().join("slow.so"));
        std::fs::write(&source, SLOW)?;
        compile(&source, &object)?;
        desk.cluster.copy_in(&object, "root", LIBRARY, 0o644)?;
        let script = format!(
            "#!/bin/sh\nexport LD_PRELOAD=\"${{LD_PRELOAD:+$LD_PRELOAD:}}{LIBRARY}\"\nexec /usr/bin/fuse2fs \"$@\"\n"
        );
        desk.cluster.write_file("root", IN_FRONT, &script, 0o755)?;
        desk.image("env.img")?;
        run(desk)?;
        desk.is_clean("env.img")?;
        desk.script("rm /tmp/slow /tmp/slept")?.success()?;
        desk.exec(&["-o", "env.img"], "tail -n1 /file; ls /d | wc -l")?.says("200000\n500")?.without_a_word()?;
        desk.nodes_are_well()
    })
}

fn a_writer_waits_for_it(world: &World, release: Release) -> Result<()> {
    on_slow_disk(world, release, |desk| {
        let output = desk.exec(&["-w", "-o", "env.img"], WRITE)?.ends_with(0)?;
        output.complains("env.img: waiting until what was written is on the disk").map(drop)
    })
}

/// Also where a task has left a process behind that keeps the image busy.
fn a_step_waits_for_it(world: &World, release: Release) -> Result<()> {
    on_slow_disk(world, release, |desk| {
        let script = "#!/bin/sh\nsrun --condatainer-overlay=env.img:rw sh -c \"$WRITE; setsid sleep 1000 &\" && condatainer overlay info env.img\n";
        desk.write("job.sh", &script.replace("$WRITE", &WRITE.replace('$', "\\$")))?;
        let said = desk.script("sh job.sh")?.success()?.stdout;
        ensure!(said.contains("locked by   nobody") && !said.contains("dirty"), "{said}");
        Ok(())
    })
}
