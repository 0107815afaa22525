//! Three nodes and one image, on a cluster of their own: who may read it and who may write it, arrays, and a node that is lost.

use anyhow::{Result, ensure};
use cluster::Release;

use crate::slurm::ends::is_gone;
use crate::support::{Desk, Expect, Setup, World, tests};

tests! {
    Apptainer, OwnCluster: [three_nodes_share_an_image];
}

fn three_nodes_share_an_image(world: &World, release: Release) -> Result<()> {
    world.with_cluster(release, &Setup { nodes: 3, ..Setup::default() }, |desk| {
        desk.image_with("env.img", "alice:alice", "mkdir ext3; echo read > ext3/file")?;
        readers_and_writers(desk)?;
        an_array_on_one_image(desk)?;
        a_node_is_lost(desk)
    })
}

fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines
}

fn readers_and_writers(desk: &Desk) -> Result<()> {
    let all = |layers: &str, shell: &str| {
        let option = format!("--condatainer-overlay={layers}");
        desk.srun(&["-N3", "--ntasks-per-node=2", &option, "sh", "-c", shell])
    };
    let read = all("env.img", "cat /ext3/file; cat /proc/sys/kernel/hostname")?.success()?.stdout;
    ensure!(
        sorted(&read) == ["n1", "n1", "n2", "n2", "n3", "n3", "read", "read", "read", "read", "read", "read"],
        "{read}"
    );
    // Each node's tasks share what they write, and see nothing of the others'.
    let write = "[ $SLURM_LOCALID = 0 ] && hostname > /mark; while ! [ -s /mark ]; do sleep 0.05; done; cat /mark";
    let written = all("env.img:tmp", write)?.success()?.stdout;
    ensure!(sorted(&written) == ["n1", "n1", "n2", "n2", "n3", "n3"], "{written}");
    let refused = desk.srun(&["-N2", "--condatainer-overlay=env.img:rw", "echo", "RAN"])?;
    desk.refused(refused, "env.img: 2 nodes cannot write to one image: run the step on a single one (-N1)")?;
    // A writer on one of them keeps the others away, readers too, and is named.
    let job = desk.submit(
        &["-w", "n2", "--condatainer-overlay=env.img:rw"],
        "#!/bin/sh\ntouch WRITES; while [ -e WRITES ]; do sleep 0.1; done; echo there > /ext3/there\n",
    )?;
    desk.wait_until(&format!("[ -e WRITES ] || [ -s {job}.out ]"))?;
    ensure!(desk.files()?.contains(&"WRITES".into()), "{}", desk.output_of(job)?);
    for layer in ["env.img:rw", "env.img"] {
        let busy = desk.srun(&["-w", "n3", &format!("--condatainer-overlay={layer}"), "echo", "RAN"])?;
        desk.refused(busy, &format!("env.img: in use for writing by user alice, job {job}.batch, process "))?;
    }
    desk.run(&["rm", "WRITES"])?.success()?;
    desk.job_ends(job)?;
    desk.srun(&["-w", "n3", "--condatainer-overlay=env.img", "cat", "/ext3/there"])?.says("there").map(drop)
}

/// Many jobs that start when they can, on all nodes: a hundred where we mount, and as many as show it where the engine does.
fn an_array_on_one_image(desk: &Desk) -> Result<()> {
    let (before, parts) = (desk.bytes("env.img")?, if desk.we_mount() { 100 } else { 9 });
    desk.write(
        "part.sh",
        "#!/bin/sh\n#SBATCH --condatainer-overlay=env.img\necho $(cat /ext3/file) $SLURM_ARRAY_TASK_ID\n",
    )?;
    desk.run(&["mkdir", "parts"])?.success()?;
    desk.run(&["sbatch", "-Q", &format!("--array=1-{parts}"), "-o", "parts/%a", "part.sh"])?.success()?;
    desk.wait_until("[ -z \"$(squeue -h)\" ]")?;
    let read = desk.script("cat parts/* | sort | uniq | grep -c '^read [0-9]*$'; cat parts/* | wc -l")?;
    read.says(&format!("{parts}\n{parts}"))?;
    let changed = desk.changed_blocks(&before, "env.img")?;
    // fuse2fs marks what it mounts.
    ensure!(changed.iter().all(|block| !desk.we_mount() && *block == 0), "{changed:?}");
    is_gone(desk)
}

/// Everything on the node ends at once, as far as its programs can tell. What it had synced is in the image, and the next use replays the
/// journal; the other nodes go on. A lock of a real node's goes when its file server says so.
fn a_node_is_lost(desk: &Desk) -> Result<()> {
    let script = "#!/bin/sh\necho synced > /ext3/synced; sync /ext3/synced; touch READY; sleep 1000\n";
    let job = desk.submit(&["-w", "n3", "--no-requeue", "--condatainer-overlay=env.img:rw"], script)?;
    desk.wait_until("[ -e READY ]")?;
    desk.cluster.node_exec(3, &["sh", "-c", "kill -KILL -1"])?;
    let next = "for i in $(seq 50); do condatainer exec -w -o env.img -- cat /ext3/synced 2> why && exit; sleep 0.1; done; cat why; exit 1";
    desk.script(next)?.says("synced")?;
    desk.as_root("scontrol update nodename=n3 state=down reason=lost")?.success()?;
    let state = desk.job_ends(job)?.state;
    ensure!(state == "NODE_FAIL", "{state}");
    let others = desk.srun(&["-N2", "-w", "n1,n2", "--condatainer-overlay=env.img", "cat", "/ext3/synced"])?;
    others.says("synced\nsynced")?;
    is_gone(desk)?;
    desk.cluster.start_slurmd(3)?;
    // It may be back by itself.
    desk.as_root("scontrol update nodename=n3 state=resume || true")?;
    desk.cluster.wait_until_idle()?;
    desk.srun(&["-w", "n3", "--condatainer-overlay=env.img", "cat", "/ext3/synced"])?.says("synced").map(drop)
}
