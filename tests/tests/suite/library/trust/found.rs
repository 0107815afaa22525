//! Layers and bases that are found by a name, or in the working directory: who decides what a name means.

use anyhow::{Result, ensure};

use super::place;
use crate::support::{Desk, Expect, tests};

tests! {
    Apptainer, Desk: [
        the_first_directory_wins_ranges_too, a_strangers_layer_is_not_found_by_its_name, a_layer_that_is_exchanged_after_the_submission,
    ];
    ApptainerOnce, Desk: [
        a_strangers_workspace_is_not_taken, a_users_directory_that_somebody_else_has_made, a_base_that_is_exchanged_during_the_start,
    ];
    Slurm, Desk: [the_doctor_warns_of_directories_for_all];
}

/// A layer that says whose it is.
fn layer(desk: &Desk, path: &str, owner: &str) -> Result<()> {
    desk.as_root(&format!(
        "set -e; t=$(mktemp -d); chmod 755 $t; mkdir -p $t/opt; echo of {owner} > $t/opt/whose; rm -f {path}
        mksquashfs $t {path} -noappend -quiet -no-progress; rm -r $t; chown {owner}: {path}; chmod 644 {path}"
    ))?
    .success()
    .map(drop)
}

/// `condatainer list` and the Tab key show what a name means, so they have the same order.
fn the_first_directory_wins_ranges_too(desk: &Desk) -> Result<()> {
    let dir = place(desk, "1777")?;
    desk.script("mkdir site")?.success()?;
    layer(desk, &desk.path("site/samtools--1.22.sqf"), "root")?;
    layer(desk, &format!("{dir}/samtools--99.sqf"), "bob")?;
    let dirs = format!("export CONDATAINER_IMAGE_DIRS=$PWD/site:{dir}; ");
    for name in ["'samtools>=1.0'", "'samtools/100>=1.22'", "samtools/1.22"] {
        desk.script(&format!("{dirs}condatainer exec -o {name} cat /opt/whose"))?.says("of root")?;
        desk.script(&format!("{dirs}srun --condatainer-overlay={name} cat /opt/whose"))?.says("of root")?;
        let info = desk.script(&format!("{dirs}condatainer info {name}"))?.success()?.stdout;
        ensure!(info.contains("site/samtools--1.22.sqf"), "{info}");
    }
    desk.write("job.sh", "#!/bin/bash\n#DEP: samtools>=1.0\ncat /opt/whose\n")?;
    desk.script(&format!("{dirs}condatainer run job.sh"))?.says("of root")?;
    Ok(())
}

/// A site names `/scratch/{user}/images`, and bob makes that of alice before she does. It is no directory that everybody can write to.
fn a_users_directory_that_somebody_else_has_made(desk: &Desk) -> Result<()> {
    let dir = place(desk, "1777")?;
    desk.of("bob")?.run(&["mkdir", &format!("{dir}/alice")])?.success()?;
    let path = format!("{dir}/alice/tool--1.sqf");
    layer(desk, &path, "bob")?;
    let dirs = format!("export CONDATAINER_IMAGE_DIRS={dir}/{{user}}; ");
    for name in ["tool/1", "'tool>=1'"] {
        desk.script(&format!("{dirs}condatainer exec -o {name} echo RAN"))?
            .ends_with(125)?
            .complains(&format!("{dir}/alice (it belongs to bob and not to you)"))?
            .without_stdout()?;
    }
    let listed = desk.script(&format!("{dirs}condatainer list tool"))?;
    ensure!(!listed.stdout.contains("tool"), "{listed:?}");
    desk.as_root(&format!("chown alice: {dir}/alice"))?.success()?;
    layer(desk, &path, "alice")?;
    desk.script(&format!("{dirs}condatainer exec -o tool/1 cat /opt/whose"))?.says("of alice").map(drop)
}

fn a_strangers_layer_is_not_found_by_its_name(desk: &Desk) -> Result<()> {
    let dir = place(desk, "1777")?;
    let path = format!("{dir}/tool--1.sqf");
    layer(desk, &path, "bob")?;
    let dirs = format!("export CONDATAINER_IMAGE_DIRS={dir}; ");
    let refused = format!("{path}: belongs to bob, and lies where everybody can put files");
    let attempts = [
        "condatainer exec -o tool/1 echo RAN",
        "condatainer exec -o 'tool>=1' echo RAN",
        "condatainer e -n tool/1 -- echo RAN",
        "condatainer exec -b tool/1 echo RAN",
    ];
    for attempt in attempts {
        let output = desk.script(&format!("{dirs}{attempt}"))?.ends_with(125)?.complains(&refused)?;
        output.complains(&format!("write {path} if you trust its owner"))?.without_stdout()?;
    }
    for option in ["--condatainer-overlay=tool/1", "--condatainer-base=tool/1"] {
        desk.refused(desk.script(&format!("{dirs}srun {option} echo RAN"))?, &refused)?.ends_with(1)?;
    }
    // Nor do the verbs that start nothing take what is below an image, or build on it.
    desk.image("env.img")?;
    for verb in [
        "condatainer overlay seal -b tool/1 env.img new.sqf",
        "condatainer overlay seal -o tool/1 env.img new.sqf",
        "condatainer overlay diff -b tool/1 env.img",
        "condatainer overlay diff -o tool/1 env.img",
        "condatainer create -b tool/1 -p new.sqf samtools=1.0",
    ] {
        desk.script(&format!("{dirs}{verb}"))?.ends_with(1)?.complains(&refused)?;
    }
    // A link to what others have made is not theirs.
    layer(desk, &desk.path("mine.sqf"), "alice")?;
    desk.of("bob")?.script(&format!("ln -s {} {dir}/linked--1.sqf", desk.path("mine.sqf")))?.success()?;
    desk.script(&format!("{dirs}condatainer exec -o linked/1 echo RAN"))?
        .ends_with(125)?
        .complains("belongs to bob")?;
    // Who writes the path has decided; and all is well with root's, one's own, and those of the directory's owner.
    desk.run(&["condatainer", "exec", "-o", &path, "cat", "/opt/whose"])?.says("of bob")?;
    for owner in ["root", "alice"] {
        layer(desk, &path, owner)?;
        desk.script(&format!("{dirs}condatainer exec -o tool/1 cat /opt/whose"))?.says(&format!("of {owner}"))?;
    }
    layer(desk, &path, "carol")?;
    desk.as_root(&format!("chown carol {dir}"))?.success()?;
    desk.script(&format!("{dirs}srun --condatainer-overlay=tool/1 cat /opt/whose"))?.says("of carol")?;
    // A directory of a group is shared on purpose.
    layer(desk, &path, "bob")?;
    desk.as_root(&format!("chown root:project {dir}; chmod 2775 {dir}"))?.success()?;
    desk.script(&format!("{dirs}condatainer exec -o tool/1 cat /opt/whose"))?.says("of bob")?;
    Ok(())
}

/// Nobody has named it: `e` takes what lies there.
fn a_strangers_workspace_is_not_taken(desk: &Desk) -> Result<()> {
    let dir = place(desk, "1777")?;
    desk.image("env.img")?;
    desk.as_root(&format!("cp env.img {dir}/env.img; chown bob {dir}/env.img; chmod 666 {dir}/env.img"))?.success()?;
    let refused = format!("{dir}/env.img: belongs to bob, and lies where everybody can put files");
    desk.script(&format!("cd {dir} && condatainer e -- echo RAN"))?.ends_with(125)?.complains(&refused)?;
    desk.script(&format!("cd {dir} && condatainer e ./env.img -- echo RAN"))?.says("RAN")?;
    // Nor one in a directory that bob has made there.
    for place in ["src/overlay", "overlay"] {
        let path = format!("{dir}/{place}/env.img");
        desk.as_root(&format!(
            "rm -f {dir}/env.img; mkdir -p {dir}/{place}; cp env.img {path}; chown -R bob {dir}/*; chmod 666 {path}"
        ))?
        .success()?;
        desk.script(&format!("cd {dir} && condatainer e -- echo RAN"))?
            .ends_with(125)?
            .complains(&format!(
                "{path}: lies in a directory that belongs to bob, and lies where everybody can put files"
            ))?
            .without_stdout()?;
    }
    desk.as_root(&format!("chown -R alice {dir}/overlay"))?.success()?;
    desk.script(&format!("cd {dir} && condatainer e -q -- echo RAN"))?.says("RAN")?;
    Ok(())
}

/// The name was root's layer when the job was submitted.
fn a_layer_that_is_exchanged_after_the_submission(desk: &Desk) -> Result<()> {
    let dir = place(desk, "777")?;
    let path = format!("{dir}/tool--1.sqf");
    layer(desk, &path, "root")?;
    desk.write("submit", &format!(
        "#!/bin/sh\nexport CONDATAINER_IMAGE_DIRS={dir}\nsbatch --parsable --hold -o %j.out --condatainer-overlay=tool/1 --wrap 'cat /opt/whose'\n"
    ))?;
    let job: u32 = desk.run(&["./submit"])?.success()?.stdout.trim().parse()?;
    layer(desk, &path, "bob")?;
    desk.script(&format!("scontrol release {job}"))?.success()?;
    let (ended, output) = (desk.job_ends(job)?, desk.output_of(job)?);
    let refused = output.contains("tool--1.sqf: belongs to bob, and lies where everybody can put files");
    ensure!(ended.state == "FAILED" && refused && !output.contains("of bob"), "{ended:?} {output}");
    Ok(())
}

fn the_doctor_warns_of_directories_for_all(desk: &Desk) -> Result<()> {
    let dir = place(desk, "1777")?;
    let doctor = |dirs: &str| {
        let output = desk.script(&format!("CONDATAINER_IMAGE_DIRS={dirs} condatainer doctor --json"))?;
        let told: serde_json::Value = serde_json::from_str(&output.stdout)?;
        let checks = told["checks"].as_array().cloned().unwrap_or_default();
        let found = checks.into_iter().find(|check| check["id"] == "image-dirs");
        Ok::<_, anyhow::Error>(found.unwrap_or_default())
    };
    let open = doctor(&dir)?;
    ensure!(open["status"] == "warning", "{open}");
    ensure!(
        open["found"].as_str().is_some_and(|found| found.contains(&format!("{dir}: everybody can put layers there"))),
        "{open}"
    );
    ensure!(open["cure"].as_str().is_some_and(|cure| cure.contains(&format!("chmod o-w {dir}"))), "{open}");
    desk.as_root(&format!("chmod 777 {dir}"))?.success()?;
    let open = doctor(&dir)?;
    ensure!(open["found"].as_str().is_some_and(|found| found.contains("and take others' away")), "{open}");
    desk.as_root(&format!("chmod 755 {dir}"))?.success()?;
    let closed = doctor(&dir)?;
    ensure!(closed["status"] == "ok", "{closed}");
    Ok(())
}

/// The engine opens the base by its path, after it was looked at.
fn a_base_that_is_exchanged_during_the_start(desk: &Desk) -> Result<()> {
    desk.script("mkdir bin shared; cp /srv/base/base.sqf shared/base.sqf; cp /srv/base/base.sqf other.sqf")?
        .success()?;
    let engine = format!(
        "#!/bin/bash\nif [[ \" $* \" == *' exec '* ]]; then mv {} {}; fi\nexec /usr/bin/apptainer \"$@\"\n",
        desk.path("other.sqf"),
        desk.path("shared/base.sqf")
    );
    desk.write("bin/apptainer", &engine)?;
    let path = format!("{}:/usr/local/bin:/usr/bin:/bin", desk.path("bin"));
    let start = |mounts: &'static str| {
        let command = desk.with_mounts(mounts).command().env("PATH", &path);
        command.run(&["condatainer", "exec", "-b", "shared/base.sqf", "echo", "RAN"])
    };
    let output = desk
        .refused(start("engine")?, "shared/base.sqf: was removed or replaced while the container was being started")?;
    output.ends_with(125)?;
    start("engine")?.says("RAN")?;
    // Ours has opened what it has looked at, and serves that.
    desk.script("cp /srv/base/base.sqf shared/base.sqf; mksquashfs bin other.sqf -quiet -no-progress")?.success()?;
    start("own")?.says("RAN").map(drop)
}
