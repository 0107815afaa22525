//! The file of variables beside a layer can make any program run anything: it is believed only if it is the work of somebody who
//! is believed anyway.

use anyhow::Result;

use super::place;
use crate::support::{Desk, Expect, tests};

tests! {
    Apptainer, Desk: [a_strangers_variables_are_refused, variables_that_come_after_the_submission_are_refused];
    ApptainerOnce, Desk: [a_copy_is_not_made_of_them, those_who_are_believed, what_seal_writes_is_believed];
}

/// A function that bash takes for `echo`.
const ATTACK: &str = "BASH_FUNC_echo%%=() { builtin echo IT IS BOB; }\nLD_PRELOAD=/home/bob/evil.so\n";
const REFUSED: &str = ".env: belongs to bob, and must belong to root";
const CURE: &str = "have it removed, or copy the layer to a directory of yours";

fn attack(desk: &Desk, beside: &str) -> Result<()> {
    desk.of("bob")?.write("attack", ATTACK)?;
    let text = format!("cp attack {beside}.env && chmod 644 {beside}.env");
    desk.of("bob")?.script(&text)?.success().map(drop)
}

fn a_strangers_variables_are_refused(desk: &Desk) -> Result<()> {
    let dir = place(desk, "1777")?;
    let layer = format!("{dir}/tool--1.0.sqf");
    desk.squashfs(&layer, "")?;
    desk.as_root(&format!("chown root {layer}"))?.success()?;
    desk.image(&format!("{dir}/env.img"))?;
    attack(desk, &layer)?;
    attack(desk, &format!("{dir}/env.img"))?;
    let named = format!("export CONDATAINER_IMAGE_DIRS={dir}; ");
    for (layer, file) in [("tool/1.0", "tool--1.0.sqf"), (&format!("{dir}/env.img"), "env.img")] {
        let refused = format!("{dir}/{file}{REFUSED}");
        desk.script(&format!("{named}condatainer exec -o {layer} bash -c 'echo RAN'"))?
            .ends_with(125)?
            .complains(&refused)?
            .complains(CURE)?
            .without_stdout()?;
        desk.script(&format!("{named}condatainer e -n {layer} -- bash -c 'echo RAN'"))?
            .ends_with(125)?
            .complains(&refused)?;
        let step = desk.script(&format!("{named}srun --condatainer-overlay={layer} bash -c 'echo RAN'"))?;
        desk.refused(step, &refused)?.ends_with(1)?.complains(CURE)?;
    }
    let info = desk.run(&["condatainer", "info", &layer])?.success()?.stdout;
    anyhow::ensure!(info.contains(REFUSED) && !info.contains("LD_PRELOAD"), "{info}");
    // Nothing that hangs or has no end can be put there either.
    for put in ["mkfifo", "ln -s /dev/zero"] {
        let image = format!("{dir}/env.img");
        desk.of("bob")?.script(&format!("rm -f {image}.env; {put} {image}.env"))?.success()?;
        let ran = desk.exec(&["-o", &image], "echo RAN")?;
        let expected = if put == "mkfifo" { 0 } else { 125 };
        ran.ends_with(expected)?.complains(if put == "mkfifo" { ".env: is a fifo" } else { "symbolic link of bob" })?;
    }
    Ok(())
}

/// Whoever waits until the job is in the queue gets no further.
fn variables_that_come_after_the_submission_are_refused(desk: &Desk) -> Result<()> {
    let dir = place(desk, "1777")?;
    desk.squashfs(&format!("{dir}/tool.sqf"), "")?;
    let overlay = format!("--condatainer-overlay={dir}/tool.sqf");
    let job = desk.submit(&["--hold", &overlay], "#!/bin/bash\necho RAN\n")?;
    attack(desk, &format!("{dir}/tool.sqf"))?;
    desk.script(&format!("scontrol release {job}"))?.success()?;
    let ended = desk.job_ends(job)?;
    let output = desk.output_of(job)?;
    let refused = output.contains(REFUSED) && !output.contains("RAN") && !output.contains("IT IS BOB");
    anyhow::ensure!(ended.state == "FAILED" && refused, "{ended:?} {output}");
    desk.nodes_are_well()
}

/// The layer that `seal` makes is the caller's, and so would be the copy beside it.
fn a_copy_is_not_made_of_them(desk: &Desk) -> Result<()> {
    let dir = place(desk, "1777")?;
    desk.image(&format!("{dir}/env.img"))?;
    attack(desk, &format!("{dir}/env.img"))?;
    desk.script(&format!("condatainer overlay seal {dir}/env.img sealed.sqf"))?.ends_with(1)?.complains(REFUSED)?;
    anyhow::ensure!(desk.files()?.iter().all(|file| !file.starts_with("sealed")), "{:?}", desk.files()?);
    Ok(())
}

fn those_who_are_believed(desk: &Desk) -> Result<()> {
    let dir = place(desk, "1777")?;
    let layer = format!("{dir}/tool.sqf");
    let beside = format!("{layer}.env");
    let shows = |expected: &str| desk.exec(&["-o", &layer], "echo $WHOSE")?.says(expected).map(drop);
    let refuses = |text: &str| desk.exec(&["-o", &layer], "echo RAN")?.ends_with(125)?.complains(text).map(drop);
    let as_root = |text: &str| desk.as_root(text)?.success().map(drop);
    desk.squashfs(&layer, "")?;
    as_root(&format!("chown carol {layer}; echo WHOSE=root > {beside}; chmod 644 {beside}"))?;
    shows("root")?;
    as_root(&format!("echo WHOSE=me > {beside}; chown alice:alice {beside}"))?;
    shows("me")?;
    as_root(&format!("echo WHOSE=the-owners > {beside}; chown carol {beside}"))?;
    shows("the-owners")?;
    // Others who can write it; alice and carol share the group project.
    as_root(&format!("chown alice:project {beside}; chmod 664 {beside}"))?;
    refuses(&format!(
        "but group project can write it too: its variables could run anything as you: chmod go-w {beside}"
    ))?;
    as_root(&format!("chmod 646 {beside}"))?;
    refuses("but everybody can write it too")?;
    // With a umask of 002 and a group of one's own, nobody else can.
    as_root(&format!("echo WHOSE=mine > {beside}; chown alice:alice {beside}; chmod 664 {beside}"))?;
    shows("mine")?;
    // A link of alice's says where the file is; one of bob's does not.
    desk.script(&format!("mv {beside} elsewhere.env && ln -s $PWD/elsewhere.env {beside}"))?.success()?;
    shows("mine")?;
    as_root(&format!("chown -h bob {beside}"))?;
    refuses(&format!("{beside}: is a symbolic link of bob, and not followed"))
}

/// In a directory of a group, by somebody who lets the group write.
fn what_seal_writes_is_believed(desk: &Desk) -> Result<()> {
    desk.as_root("mkdir group; chgrp project group; chown alice group; chmod 2775 group")?.success()?;
    desk.image("group/env.img")?;
    desk.exec(&["-w", "-o", "group/env.img"], "mkdir -p /ext3/env/conda-meta /ext3/env/bin")?.success()?;
    for again in ["", "--force"] {
        desk.script(&format!("umask 002; chmod 664 group/env.img; condatainer overlay seal {again} group/env.img"))?
            .success()?;
        desk.exec(&["-o", "group/env.sqf"], "echo $CONDA_PREFIX")?.says("/ext3/env")?;
        desk.script("chmod 664 group/env.sqf.env")?.success()?;
    }
    Ok(())
}
