//! `[policy]`: what a site lets its users start, however they name it; on a cluster of its own.

use anyhow::{Result, ensure};
use cluster::Release;

use crate::support::setup::CONFIG;
use crate::support::{Desk, Expect, Setup, WHERE, World, tests};

tests! {
    Apptainer, OwnCluster: [a_site_says_what_is_started];
}

/// Bases of root's, layers of root's and alice's, and a layer for everybody.
const POLICY: &str = r#"
base = "/srv/base/base.sqf"
[policy]
bases = ["/srv/bases"]
layers = ["/srv/site", "/home/alice"]
always = ["/srv/all/all.sqf"]
[policy.owners]
"/srv/site" = ["root"]
"#;

fn a_site_says_what_is_started(world: &World, release: Release) -> Result<()> {
    world.with_cluster(release, &Setup::default(), |desk| {
        for layer in ["a.sqf", "all.sqf", "site.sqf", "hers.sqf"] {
            desk.squashfs(layer, "")?;
        }
        let install = format!(
            "mkdir -p /srv/site /srv/all /srv/bases; mv all.sqf /srv/all; mv site.sqf hers.sqf /srv/site; chown root /srv/site/site.sqf
            cp a.sqf /tmp/out.sqf; chmod 644 /tmp/out.sqf; cp {CONFIG} /srv/config; cp /srv/base/base.sqf /srv/bases"
        );
        desk.as_root(&install)?.success()?;
        let queued = desk.submit(&["-H", "--condatainer-overlay=/tmp/out.sqf"], "#!/bin/sh\necho RAN\n")?;
        desk.as_root(&format!("cat > {CONFIG} <<'END'{POLICY}END"))?.success()?;
        what_is_allowed(desk)?;
        bases_are_refused(desk)?;
        layers_are_refused(desk)?;
        // The policy came after the job was submitted.
        desk.as_root(&format!("scontrol release {queued}"))?.success()?;
        let job = desk.job_ends(queued)?;
        let said = desk.output_of(queued)?;
        ensure!(job.state == "FAILED" && said.contains("takes layers from") && !said.contains("RAN"), "{job:?} {said}");
        doctor_looks_at_it(desk)
    })
}

fn what_is_allowed(desk: &Desk) -> Result<()> {
    desk.srun_in("a.sqf,/srv/site/site.sqf", WHERE)?.says("inside a all site")?;
    desk.exec(&[], WHERE)?.says("inside all")?;
    desk.exec(&["-b", "/srv/bases/base.sqf", "-o", "/srv/all/all.sqf"], WHERE)?.says("inside all")?;
    // What a user says of it counts nothing.
    desk.script("mkdir -p ~/.config/condatainer; echo '[policy]' > ~/.config/condatainer/config.toml")?.success()?;
    let refused = desk.exec(&[], "echo RAN")?.ends_with(125)?;
    desk.refused(refused, "config.toml: [policy] is for the site's file only: take it out")?;
    desk.script("rm ~/.config/condatainer/config.toml").map(drop)
}

fn bases_are_refused(desk: &Desk) -> Result<()> {
    let why = "this site's bases are /srv/bases: [policy] in /etc/condatainer/config.toml says so";
    desk.script("cp /srv/base/base.sqf mine.sqf; ln -s mine.sqf link.sqf; ln -s $PWD/mine.sqf /tmp/base.sqf")?
        .success()?;
    for (before, option) in [
        ("", "-b ./mine.sqf"),
        ("", "-b link.sqf"),
        ("", "-b /srv/bases/../../tmp/base.sqf"),
        ("exec 9< mine.sqf;", "-b /proc/self/fd/9"),
        ("export CONDATAINER_BASE=$PWD/mine.sqf;", ""),
        ("mkdir -p ~/.config/condatainer; echo \"base = '$PWD/mine.sqf'\" > ~/.config/condatainer/config.toml;", ""),
    ] {
        let text = format!("{before} condatainer exec {option} -- echo RAN");
        desk.refused(desk.script(&text)?.ends_with(125)?, why)?;
    }
    desk.script("rm ~/.config/condatainer/config.toml")?.success()?;
    desk.refused(desk.srun(&["--condatainer-base=mine.sqf", "echo", "RAN"])?, why)?;
    let by_hand = format!(r#"{{"v":1,"request":{{"base":"{}"}}}}"#, desk.path("mine.sqf"));
    desk.write("by-hand", &format!("#!/bin/sh\nexport SLURM_CONDATAINER='{by_hand}'\nsrun echo RAN\n"))?;
    let said = desk.run(&["salloc", "-Q", "./by-hand"])?;
    desk.refused(said, why).map(drop)
}

fn layers_are_refused(desk: &Desk) -> Result<()> {
    let why = "/tmp/out.sqf: this site takes layers from /srv/site, /home/alice only";
    desk.refused(desk.srun_in("/tmp/out.sqf", "echo RAN")?, why)?;
    desk.refused(desk.exec(&["-o", "/tmp/out.sqf"], "echo RAN")?, why)?;
    desk.script("ln -s /tmp/out.sqf out.sqf")?.success()?;
    let linked = desk.exec(&["-o", "out.sqf"], "echo RAN")?;
    desk.refused(linked, "out.sqf (it is /tmp/out.sqf): this site takes layers from")?;
    let hers = desk.exec(&["-o", "/srv/site/hers.sqf"], "echo RAN")?;
    desk.refused(hers, "/srv/site/hers.sqf: belongs to alice, and /srv/site has those of root only")?;
    desk.run(&["condatainer", "exec", "--dry-run=json", "-o", "/tmp/out.sqf", "true"])?
        .ends_with(125)?
        .complains(why)?;
    Ok(())
}

fn doctor_looks_at_it(desk: &Desk) -> Result<()> {
    let doctor = || Ok::<_, anyhow::Error>(desk.run(&["condatainer", "doctor"])?.stdout);
    let said = doctor()?;
    ensure!(said.contains("ok       policy           bases (1), layers (2), owners (1), always (1)"), "{said}");
    desk.as_root("chmod 1777 /srv/bases; mv /srv/all/all.sqf /srv/all/gone.sqf")?.success()?;
    let said = doctor()?;
    ensure!(said.contains("not ok   policy           /srv/all/all.sqf: no such file or directory"), "{said}");
    let started = desk.srun(&["--condatainer-overlay=a.sqf", "echo", "RAN"])?;
    desk.refused(started, "gives it to everybody (policy.always): tell your administrator")?;
    desk.as_root("mv /srv/all/gone.sqf /srv/all/all.sqf")?.success()?;
    let said = doctor()?;
    ensure!(said.contains("warning  policy           /srv/bases: everybody can write there"), "{said}");
    Ok(())
}
