//! `log` and `condatainer explain`: what a job ran in, on a cluster of its own.

use anyhow::{Result, ensure};
use cluster::Release;

use crate::support::setup::CONFIG;
use crate::support::{Desk, Expect, Setup, World, tests};

tests! {
    Apptainer, OwnCluster: [a_record_says_what_a_job_ran_in];
}

const RECORD: &str = "/home/record";

fn a_record_says_what_a_job_ran_in(world: &World, release: Release) -> Result<()> {
    world.with_cluster(release, &Setup::default(), |desk| {
        desk.squashfs("a.sqf", "")?;
        desk.run(&["condatainer", "-q", "o", "-s", "64M", "env.img"])?.success()?;
        let no_record = desk.run(&["condatainer", "explain", "1"])?.ends_with(1)?;
        no_record.complains("this site keeps no record of use: an administrator sets 'log'")?;
        let directory = format!("mkdir -m 1777 {RECORD}; chmod 1777 {RECORD}; echo 'log = \"{RECORD}\"' >> {CONFIG}");
        desk.as_root(&directory)?.success()?;
        desk.run(&["condatainer", "doctor"])?
            .stdout
            .contains("ok       log ")
            .then_some(())
            .ok_or_else(|| anyhow::anyhow!("doctor"))?;
        steps_and_batch_scripts(desk)?;
        commands(desk)?;
        others(desk)?;
        what_cannot_be_written_stops_nothing(desk)
    })
}

fn steps_and_batch_scripts(desk: &Desk) -> Result<()> {
    let script = "#!/bin/sh\n#SBATCH --condatainer-overlay=a.sqf\n#SBATCH --array=3\nsrun -O -n2 --condatainer-overlay=a.sqf,env.img:rw true\nexit 5\n";
    let job = desk.submit(&[], script)?;
    desk.job_ends(job)?;
    let explain = |what: &str| desk.run(&["condatainer", "explain", what]);
    let (of_script, of_step) = (explain(&format!("{job}_3"))?.success()?.stdout, explain(&format!("{job}.0"))?);
    let step = of_step.success()?.stdout;
    ensure!(of_script.matches("job ").count() == 2 && of_script.contains(", step batch"), "{of_script}");
    let (a, image) = (desk.path("a.sqf"), desk.path("env.img"));
    let mounts = if desk.we_mount() { "by condatainer" } else { "by Apptainer" };
    for part in [
        format!("job {job}, step 0 ({job}_3): alice on n1\n"),
        "  base    /srv/base/base.sqf  squashfs, ".into(),
        format!("  layer   {a}:ro  squashfs, "),
        format!("  layer   {image}:rw  ext3, 64.00 MiB, "),
        format!("  mounts  {mounts}"),
        ", uuid ".into(),
        "; still the same\n".into(),
    ] {
        ensure!(step.contains(&part), "{part}: {step}");
    }
    ensure!(!step.contains("no end was noted"), "{step}");
    desk.script("echo >> a.sqf")?.success()?;
    ensure!(explain(&format!("{job}.0"))?.stdout.contains("; has changed since\n"), "a.sqf has grown");
    desk.squashfs("a.sqf", "")
}

fn commands(desk: &Desk) -> Result<()> {
    desk.exec(&["-w", "-o", "env.img"], "exit 7")?.ends_with(7)?;
    desk.exec(&["--tmp", "-o", "env.img"], "kill -TERM $$")?.ends_with(143)?;
    // Nobody is left to note the end.
    let killed = format!(
        "lines=$(cat {RECORD}/1001.* | wc -l); condatainer exec -o env.img -- sleep 30 & exec=$!
        until [ $(cat {RECORD}/1001.* | wc -l) -gt $lines ]; do sleep 0.1; done; kill -KILL $exec; wait; pkill -u alice -x sleep; true"
    );
    desk.script(&killed)?.success()?;
    desk.run(&["mv", "env.img", "moved.img"])?.success()?;
    let said = desk.run(&["condatainer", "explain", "moved.img"])?.success()?.stdout;
    for part in [
        "outside of Slurm: alice on ",
        ", exit code 7\n",
        ", ended by signal 15\n",
        "  to      no end was noted\n",
        "; not there now\n",
        ", writes were kept for this run only",
    ] {
        ensure!(said.contains(part), "{part}: {said}");
    }
    let said = desk.run(&["condatainer", "explain", "--json", "moved.img"])?.success()?.stdout;
    // No command, no variable.
    ensure!(said.contains("\"uuid\"") && !said.contains("exit 7") && !said.contains("HOME"), "{said}");
    Ok(())
}

fn others(desk: &Desk) -> Result<()> {
    let bob = desk.of("bob")?;
    bob.run(&["condatainer", "explain", &desk.path("moved.img")])?
        .ends_with(1)?
        .complains("has no container of yours")?;
    let files = desk.as_root(&format!("stat -c '%U %a %n' {RECORD}/*"))?.success()?.stdout;
    ensure!(files.lines().all(|line| line.starts_with("alice 600 /home/record/1001.")), "{files}");
    desk.as_root(&format!("condatainer explain {}", desk.path("moved.img")))?.success()?;
    // What bob writes about alice is believed by nobody, and what he puts in her way is passed by.
    let lines = "sed 's/\"job\":\"[0-9]*\"/\"job\":\"4711\"/'";
    let lie = format!(
        "cat {RECORD}/1001.*.jsonl | {lines} > /tmp/lie; chown bob /tmp/lie; mv /tmp/lie {RECORD}/1001.bob.jsonl"
    );
    desk.as_root(&lie)?.success()?;
    desk.as_root(&format!("grep -c 4711 {RECORD}/1001.bob.jsonl"))?.success()?;
    desk.run(&["condatainer", "explain", "4711"])?.ends_with(1)?.complains("has no container of yours")?;
    desk.as_root("condatainer explain 4711")?.ends_with(1)?.complains("has no container").map(drop)
}

fn what_cannot_be_written_stops_nothing(desk: &Desk) -> Result<()> {
    for wrong in [format!("chmod 755 {RECORD}; rm {RECORD}/*"), format!("rm -r {RECORD}"), format!("mkfifo {RECORD}")] {
        desk.as_root(&wrong)?.success()?;
        desk.srun_in("a.sqf", "echo fine")?.without_a_word()?.says("fine")?;
        desk.exec(&[], "echo fine")?.without_a_word()?.says("fine")?;
    }
    desk.as_root(&format!("rm {RECORD}; sed -i 's/^log.*/log = \"syslog\"/' {CONFIG}"))?.success()?;
    desk.exec(&[], "echo fine")?.without_a_word()?.says("fine")?;
    desk.run(&["condatainer", "explain", "1"])?
        .ends_with(1)?
        .complains("anyone can write lines to the system's log")
        .map(drop)
}
