//! An image whose directories its reader may not enter: one line that says which one, whose it is, and what to do.

use anyhow::{Result, ensure};
use cluster::Output;

use crate::support::{Desk, Expect, tests};

tests! {
    Apptainer, Desk: [
        a_closed_root_directory, a_closed_directory_of_programs, a_group_may_enter, root_inside_enters, a_colleagues_image,
    ];
}

/// A program that only the image has.
const TOOL: &str =
    "mkdir -p ext3/env/bin; printf '#!/bin/sh\\necho tool\\n' > ext3/env/bin/tool; chmod 755 ext3/env/bin/tool";

fn image(desk: &Desk, owner: &str, closed: &str) -> Result<()> {
    desk.run(&["rm", "-f", "env.img"])?;
    desk.image_with("env.img", owner, &format!("{TOOL}; {closed}"))
}

/// Refused where the engine mounts, in the same words: here, at the prompt of srun, and by sbatch.
fn is_refused(desk: &Desk, mode: &str, options: &[&str], why: &str) -> Result<()> {
    is_refused_at(&desk.with_mounts("engine"), mode, options, why)
}

/// Where we mount, what its owner could read is read.
fn is_read_by_us(desk: &Desk, mode: &str, options: &[&str]) -> Result<()> {
    let layer = format!("env.img{mode}");
    let desk = desk.with_mounts("own");
    desk.run(&[&["condatainer", "exec"], options, &["-o", &layer, "tool"]].concat())?.says("tool")?;
    let options: Vec<_> = options.iter().map(|option| option.replace("--", "--condatainer-")).collect();
    let overlay = format!("--condatainer-overlay={layer}");
    let step: Vec<_> = options.iter().map(String::as_str).chain([overlay.as_str(), "tool"]).collect();
    desk.srun(&step)?.says("tool").map(drop)
}

fn is_refused_at(desk: &Desk, mode: &str, options: &[&str], why: &str) -> Result<()> {
    let layer = format!("env.img{mode}");
    let said = |output: Output, who: &str| -> Result<()> {
        let line = output.stderr.lines().find(|line| line.contains(why)).map(String::from);
        ensure!(output.code != 0 && output.stdout.is_empty() && line.is_some(), "{who}: {output:?}");
        Ok(())
    };
    let exec = desk.run(&[&["condatainer", "exec"], options, &["-o", &layer, "tool"]].concat())?;
    ensure!(exec.code == 125 && exec.stderr.lines().count() == 1, "{exec:?}");
    said(exec, "exec")?;
    let options: Vec<_> = options.iter().map(|option| option.replace("--", "--condatainer-")).collect();
    let overlay = format!("--condatainer-overlay={layer}");
    let submit: Vec<_> = options.iter().map(String::as_str).chain([overlay.as_str()]).collect();
    said(desk.srun(&[&submit[..], &["tool"]].concat())?, "srun")?;
    desk.write("job.sh", "#!/bin/sh\ntool\n")?;
    said(desk.run(&[&["sbatch"], &submit[..], &["job.sh"]].concat())?, "sbatch")
}

fn a_closed_root_directory(desk: &Desk) -> Result<()> {
    let why = "its upper, which becomes the container's root directory, cannot be entered by you: it belongs to ";
    image(desk, "1002:1002", "chmod 700 .")?;
    is_refused(
        desk,
        "",
        &[],
        &format!("{why}1002:1002 and has mode 0700: run `condatainer overlay chown {}`", desk.path("env.img")),
    )?;
    is_refused(desk, "", &["--fakeroot"], why)?;
    is_read_by_us(desk, "", &[])?;
    is_read_by_us(desk, "", &["--fakeroot"])?;
    desk.exec(&["-o", "env.img:tmp"], "tool")?.says("tool")?;
    image(desk, "0:0", "chmod 700 .")?;
    is_refused(desk, "", &["--no-fakeroot"], &format!("{why}0:0 and has mode 0700"))?;
    is_read_by_us(desk, "", &["--no-fakeroot"])?;
    image(desk, "1001:1001", "chmod 600 .")?;
    is_refused(desk, "", &[], "sif upper mode 040700")?;
    is_refused_at(&desk.with_mounts("own"), "", &[], "sif upper mode 040700")?;
    is_refused(desk, ":rw", &[], "sif upper mode 040700")?;
    let image = desk.path("env.img");
    desk.script(&format!("/sbin/debugfs -w -R 'sif upper mode 040700' {image}"))?.success()?;
    desk.exec(&["-o", "env.img"], "tool")?.says("tool").map(drop)
}

fn a_closed_directory_of_programs(desk: &Desk) -> Result<()> {
    for (closed, name) in [("ext3", "/ext3"), ("ext3/env/bin", "/ext3/env/bin")] {
        image(desk, "1001:1001", &format!("chmod 700 {closed}"))?;
        let chown = format!(
            "printf 'sif upper/{closed} uid 1002\\nsif upper/{closed} gid 1002\\n' | /sbin/debugfs -w -f - env.img"
        );
        desk.script(&chown)?.success()?;
        let why = format!(
            "the directory {name} in it, and so its programs, cannot be entered by you: it belongs to 1002:1002 and has mode 0700"
        );
        for mode in ["", ":rw", ":tmp"] {
            is_refused(desk, mode, &[], &why)?;
        }
        is_read_by_us(desk, "", &[])?;
        is_read_by_us(desk, ":tmp", &[])?;
        is_read_by_us(desk, ":rw", &[])?;
        desk.run(&["condatainer", "overlay", "chown", "--all", "-p", name, "env.img"])?.success()?;
        desk.exec(&["-o", "env.img"], "tool")?.says("tool")?;
    }
    image(desk, "1001:1001", "chmod 600 ext3")?;
    let image = desk.path("env.img");
    is_refused(desk, "", &[], &format!("run `condatainer exec -w -o {image} -- chmod u+x /ext3`"))?;
    desk.run(&["condatainer", "exec", "-w", "-o", "env.img", "--", "chmod", "u+x", "/ext3"])?.success()?;
    desk.exec(&["-o", "env.img"], "tool")?.says("tool").map(drop)
}

fn a_group_may_enter(desk: &Desk) -> Result<()> {
    image(desk, "1002:1001", "chmod 710 . ext3")?;
    desk.srun_in("env.img", "tool")?.says("tool")?;
    image(desk, "1002:1001", "chmod 701 .")?;
    is_refused(desk, "", &[], "it belongs to 1002:1001 and has mode 0701")?;
    is_read_by_us(desk, "", &[])
}

fn root_inside_enters(desk: &Desk) -> Result<()> {
    image(desk, "0:0", "chmod 700 . ext3")?;
    desk.srun_in("env.img", "tool")?.says("tool")?;
    image(desk, "1002:1002", "chmod 700 ext3")?;
    desk.exec(&["--fakeroot", "-o", "env.img"], "tool")?.says("tool").map(drop)
}

/// What bob made under a umask that is usual in a shared home.
fn a_colleagues_image(desk: &Desk) -> Result<()> {
    let bob = desk.of("bob")?;
    bob.image("env.img")?;
    let make = format!("umask 077; cd /; {TOOL}");
    bob.exec(&["-w", "-o", "env.img"], &make)?.success()?;
    bob.script("chmod 644 env.img; chmod 755 . ..")?.success()?;
    let image = bob.path("env.img");
    let output = desk.with_mounts("engine").run(&["condatainer", "exec", "-o", &image, "tool"])?.ends_with(125)?;
    output.complains(" in it, and so its programs, cannot be entered by you: it belongs to 1002:1002")?;
    desk.with_mounts("own").run(&["condatainer", "exec", "-o", &image, "tool"])?.says("tool")?;
    bob.exec(&["-o", "env.img"], "tool")?.says("tool")?;
    desk.script(&format!("cp {image} mine.img && condatainer overlay chown mine.img"))?.success()?;
    desk.exec(&["-o", "mine.img"], "tool")?.says("tool").map(drop)
}
