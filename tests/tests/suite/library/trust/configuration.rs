//! The site's configuration decides what runs as every user: who could put another one in its place.

use anyhow::Result;
use cluster::Release;

use super::place;
use crate::support::{Desk, Expect, Setup, World, tests};

tests! {
    Slurm, OwnCluster: [every_directory_of_the_configuration_is_roots];
    Apptainer, Desk: [inside_a_container_root_is_nobody];
}

const REFUSED: &str = "must belong to root and be writable by nobody else: chown -h root";

fn every_directory_of_the_configuration_is_roots(world: &World, release: Release) -> Result<()> {
    world.with_cluster(release, &Setup::default(), |desk| {
        desk.squashfs("a.sqf", "")?;
        let started = |desk: &Desk| desk.srun(&["--condatainer-overlay=a.sqf", "echo", "RAN"]);
        let whole = [
            "mkdir -p /away && mv /etc/condatainer/config.toml /away/ && ln -s /away/config.toml /etc/condatainer/",
            // What others can write to, but not exchange.
            "chmod 1777 /away",
        ];
        for change in ["true", whole[0], whole[1]] {
            desk.as_root(change)?.success()?;
            started(desk)?.says("RAN")?;
        }
        let faults = [
            ("chmod 777 /away", "/away, which leads to it,"),
            ("chmod 755 /away; chown bob /away", "/away, which leads to it,"),
            ("chown root /away; chgrp project /etc/condatainer; chmod 775 /etc/condatainer", "/etc/condatainer, which"),
            ("chmod 755 /etc/condatainer; chown -h bob /etc/condatainer/config.toml", "config.toml:"),
        ];
        for (fault, which) in faults {
            desk.as_root(fault)?.success()?;
            desk.refused(started(desk)?, REFUSED)?.ends_with(1)?.complains(which)?;
            desk.run(&["condatainer", "exec", "-o", "a.sqf", "echo", "RAN"])?.ends_with(125)?.complains(which)?;
            desk.srun(&["echo", "RAN"])?.says("RAN")?;
        }
        desk.as_root("chown -h root /etc/condatainer/config.toml")?.success()?;
        started(desk)?.says("RAN")?;
        desk.nodes_are_well()
    })
}

/// There the files of root and of strangers look alike, and `/` is the caller's own: the configuration is read, and a file of
/// variables is believed where nobody but its directory's owner could have put it.
fn inside_a_container_root_is_nobody(desk: &Desk) -> Result<()> {
    let dir = place(desk, "755")?;
    desk.image("env.img")?;
    desk.as_root(&format!(
        "mkdir {dir}/t {dir}/open; touch {dir}/t/file; chmod 1777 {dir}/open; cd {dir}
        mksquashfs t tool.sqf -noappend -quiet -no-progress && echo WHOSE=roots > tool.sqf.env && cp tool.sqf* open"
    ))?
    .success()?;
    let inside = format!("condatainer config; condatainer info {dir}/tool.sqf; condatainer info {dir}/open/tool.sqf");
    let shown = format!("/usr/local,/etc/condatainer,{dir}");
    let outputs = [
        desk.exec(&["--bind", &shown, "-o", "env.img"], &inside)?,
        desk.exec(&["--bind", &shown, "-f", "-o", "env.img"], &inside)?,
        desk.srun(&[&format!("--condatainer-bind={shown}"), "--condatainer-overlay=env.img", "sh", "-c", &inside])?,
    ];
    for output in outputs {
        let text = output.success()?.stdout;
        let refused = format!("{dir}/open/tool.sqf.env: belongs to nobody, and must belong to");
        let is_right = text.contains("(/etc/condatainer/config.toml)") && text.contains(&refused);
        anyhow::ensure!(is_right && text.matches("WHOSE=roots").count() == 1, "{text}");
    }
    Ok(())
}
