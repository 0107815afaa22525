//! An Apptainer that brings its own FUSE programs, as the packages for Enterprise Linux do, and looks at them before PATH: our links
//! stand in front of them all the same. Where they cannot, a start that writes says what can happen.

use anyhow::{Result, ensure};
use cluster::Release;
use serde_json::Value;

use crate::image::copy_up;
use crate::support::{Desk, Expect, Setup, World, tests};

tests! {
    Apptainer, OwnCluster: [
        what_is_kept_apart_elsewhere_is_kept_apart_here, signals_to_a_step_spare_its_files, sites_may_leave_path_out,
        what_nothing_prevents_is_said,
    ];
}

/// Takes them out of PATH.
const BRING: &str = "set -e; own=$(apptainer buildcfg | sed -n s/^LIBEXECDIR=//p)/apptainer/bin; [ -e $own/starter ]
    for name in fuse-overlayfs fuse2fs squashfuse squashfuse_ll; do mv $(command -v $name) $own/; done
    ! command -v fuse2fs";
const STARTER: &str = "$(apptainer buildcfg | sed -n s/^LIBEXECDIR=//p)/apptainer/bin/starter-suid";
const CONF: &str = "/etc/apptainer/apptainer.conf";
const LINKS: &str = "mkdir d; echo one > d/a; ln d/a d/b";
const WRITE: &str = "ls -l /d > /dev/null; echo two >> /d/a; cat /d/b";
const CONFUSED: &str = "has files with several hard links, and what is written to one of several hard links in a layer below can land \
    in another with /";

fn on_a_cluster(world: &World, release: Release, run: impl FnOnce(&Desk) -> Result<()>) -> Result<()> {
    world.with_cluster(release, &Setup::default(), |desk| {
        desk.as_root(BRING)?.success()?;
        run(&desk.with_mounts("engine"))
    })
}

/// A check of doctor's: its verdict and what was found.
fn check(desk: &Desk, id: &str) -> Result<(String, String)> {
    let report: Value = serde_json::from_str(&desk.run(&["condatainer", "doctor", "--json"])?.stdout)?;
    let found = report["checks"].as_array().into_iter().flatten().find(|check| check["id"] == id).cloned();
    let text = |key: &str| found.as_ref().and_then(|check| check[key].as_str()).unwrap_or_default().to_owned();
    Ok((text("status"), text("found")))
}

fn what_is_kept_apart_elsewhere_is_kept_apart_here(world: &World, release: Release) -> Result<()> {
    on_a_cluster(world, release, |desk| {
        copy_up::hard_links_of_a_squashfs(desk)?;
        copy_up::set_group_id_stays(desk)?;
        desk.squashfs("low.sqf", LINKS)?;
        for mode in ["rw", "tmp"] {
            desk.image("env.img")?;
            desk.srun_in(&format!("low.sqf,env.img:{mode}"), WRITE)?.without_a_word()?.says("one")?;
            let layers = ["-o", "low.sqf", "-o", &format!("env.img:{mode}")];
            desk.exec(&layers, WRITE)?.without_a_word()?.says("one")?;
            let plan = desk.run(&[&["condatainer", "exec", "--dry-run"], &layers[..], &["true"]].concat())?;
            plan.holds("-with-our-links-in-binary-path")?;
        }
        for id in ["fuse-overlayfs", "interposers", "fuse2fs"] {
            let (status, found) = check(desk, id)?;
            ensure!(status == "ok" || (id == "fuse2fs" && !found.is_empty()), "{id}: {status}: {found}");
        }
        ensure!(check(desk, "fuse-overlayfs")?.1.contains("/apptainer/bin/"), "{:?}", check(desk, "fuse-overlayfs")?);
        desk.is_clean("env.img")
    })
}

/// Its container belongs to the step: these clusters track steps by parenthood, and Slurm signals every process, FUSE programs too.
const SAVE: &str = "#!/bin/sh
trap 'sleep 0.5; echo work > /saved; cat /saved; exit' USR1
touch started
while :; do sleep 0.1; done
";

fn signals_to_a_step_spare_its_files(world: &World, release: Release) -> Result<()> {
    on_a_cluster(world, release, |desk| {
        desk.image("env.img")?;
        desk.write("save.sh", SAVE)?;
        let id = desk.submit(&[], "#!/bin/sh\nsrun condatainer exec -w -o env.img ./save.sh\n")?;
        desk.wait_until("[ -e started ]")?;
        desk.run(&["scancel", "--signal=USR1", &format!("{id}.0")])?.success()?;
        desk.job_ends(id)?;
        let text = desk.output_of(id)?;
        ensure!(text.lines().any(|line| line == "work"), "{text}");
        desk.exec(&["-o", "env.img"], "cat /saved")?.says("work")?;
        desk.is_clean("env.img")
    })
}

fn sites_may_leave_path_out(world: &World, release: Release) -> Result<()> {
    on_a_cluster(world, release, |desk| {
        desk.squashfs("low.sqf", LINKS)?;
        for value in ["/usr/bin:/bin", "/opt/none:$PATH:/bin"] {
            desk.as_root(&format!("sed -i '/^binary path/d' {CONF}; echo 'binary path = {value}' >> {CONF}"))?
                .success()?;
            desk.image("env.img")?;
            desk.exec(&["-o", "low.sqf", "-o", "env.img:rw"], WRITE)?.without_a_word()?.says("one")?;
            desk.exec(&["-o", "low.sqf", "-o", "env.img"], "cat /d/a; rm /d/a")?.ends_with(1)?;
        }
        Ok(())
    })
}

/// With a setuid starter, by whose file alone Apptainer goes, users may choose no configuration.
fn what_nothing_prevents_is_said(world: &World, release: Release) -> Result<()> {
    on_a_cluster(world, release, |desk| {
        desk.squashfs("low.sqf", LINKS)?;
        desk.image("env.img")?;
        let line = format!("{}: {CONFUSED}", desk.path("low.sqf"));
        let told = |why: &str| -> Result<()> {
            for mode in ["rw", "tmp"] {
                let layers = format!("low.sqf,env.img:{mode}");
                desk.srun_in(&layers, "true")?.success()?.complains(&line)?.complains(why)?;
                let output = desk.exec(&["-o", "low.sqf", "-o", &format!("env.img:{mode}")], "true")?.success()?;
                ensure!(output.complains(&line)?.complains(why)?.stderr.matches(CONFUSED).count() == 1, "said twice");
            }
            let (status, found) = check(desk, "fuse-overlayfs")?;
            ensure!(status == "warning" && found.contains(why), "{status}: {found}");
            Ok(())
        };
        desk.as_root(&format!("touch {STARTER}"))?.success()?;
        told("it comes with the engine, which loads nothing of ours into it")?;
        desk.exec(&["-o", "low.sqf", "-o", "env.img:rw"], WRITE)?.says("one\ntwo")?;
        desk.exec(&["-o", "low.sqf"], "true")?.without_a_word()?;
        // The base has some, too.
        desk.exec(&["-o", "env.img:rw"], "true")?.complains(&format!("/srv/base/base.sqf: {CONFUSED}"))?;
        desk.as_root(&format!("rm {STARTER} /usr/local/libexec/condatainer/fuse-overlayfs.so"))?.success()?;
        told("there is no library libexec/condatainer/fuse-overlayfs.so for it")
    })
}
