//! Who can read an image, and what a reader can do to its owner.

use anyhow::{Context, Result, ensure};

use crate::support::{Desk, Expect, tests};

tests! {
    ApptainerOnce, Desk: [images_are_their_owners_alone, a_layer_is_read_by_whom_its_image_is];
    Apptainer, Desk: [who_holds_a_read_lock_is_named];
}

fn mode(desk: &Desk, name: &str) -> Result<String> {
    Ok(desk.run(&["stat", "-c", "%a", name])?.success()?.stdout.trim().to_owned())
}

/// A desk that others can enter.
fn open(desk: &Desk) -> Result<()> {
    desk.as_root("chmod a+x /home/alice; chmod a+rx .")?.success().map(drop)
}

fn images_are_their_owners_alone(desk: &Desk) -> Result<()> {
    open(desk)?;
    let bob = desk.of("bob")?;
    desk.script("umask 022; condatainer o -s 64M")?.success()?;
    desk.exec(&["-w", "-o", "env.img"], "echo token > /secret; chmod 600 /secret")?.success()?;
    ensure!(mode(desk, "env.img")? == "600", "{}", mode(desk, "env.img")?);
    let image = desk.path("env.img");
    let steal = ["/sbin/debugfs", "-R", "cat /upper/secret", &image];
    ensure!(!bob.run(&steal)?.stdout.contains("token"), "bob reads a private file");
    bob.exec(&["-o", &image], "echo RAN")?.ends_with(125)?.complains("env.img: permission denied")?;
    // What is said to share it, does; and a copy of the image has no other readers meanwhile.
    desk.run(&["chmod", "a+r", "env.img"])?.success()?;
    bob.exec(&["-o", &image], "ls -d /secret")?.says("/secret")?;
    desk.script("umask 0; condatainer overlay resize -s 80M env.img; condatainer overlay check --fix env.img")?
        .success()?;
    ensure!(mode(desk, "env.img")? == "644", "{}", mode(desk, "env.img")?);
    desk.script("umask 0; condatainer o -s 64M --tmpdir /tmp b.img; umask 077; condatainer o -s 64M c.img")?
        .success()?;
    ensure!(mode(desk, "b.img")? == "600" && mode(desk, "c.img")? == "600");
    Ok(())
}

fn a_layer_is_read_by_whom_its_image_is(desk: &Desk) -> Result<()> {
    desk.script("umask 022; condatainer o -s 64M; echo TOKEN=1 > env.img.env; chmod 600 env.img.env")?.success()?;
    let seal = "umask 022; condatainer overlay seal";
    let said = desk.script(&format!("{seal} env.img"))?.success()?;
    said.complains("env.sqf: only you can read it, as the image: 'chmod a+r env.sqf' shares all that is in it")?;
    ensure!(mode(desk, "env.sqf")? == "600" && mode(desk, "env.sqf.env")? == "600");
    // What was shared stays so.
    desk.run(&["chmod", "640", "env.sqf"])?.success()?;
    desk.script(&format!("{seal} --force env.img"))?.success()?;
    ensure!(mode(desk, "env.sqf")? == "640" && mode(desk, "env.sqf.env")? == "600");
    desk.script(&format!("chmod a+r env.img; {seal} env.img open.sqf"))?.success()?;
    ensure!(mode(desk, "open.sqf")? == "644" && mode(desk, "open.sqf.env")? == "600");
    // A built layer is made for others.
    desk.script("mkdir rootfs; umask 022; condatainer create -s rootfs -p a.sqf; umask 027; condatainer create -s rootfs -p b.sqf")?
        .success()?;
    ensure!(mode(desk, "a.sqf")? == "644" && mode(desk, "b.sqf")? == "640");
    Ok(())
}

/// Takes a lock of the kind that Apptainer takes, or of a process, and keeps it as long as its standard input is open. The image is
/// the working directory's, so that no command line names it.
const HOLD: &str = "import fcntl, os, struct, sys
f = open(os.readlink('image'), 'rb')
lock = struct.pack('hhqqi4x', fcntl.F_RDLCK, 0, 0, 0, 0)
fcntl.fcntl(f, 37, lock) if sys.argv[1] == 'ofd' else fcntl.lockf(f, fcntl.LOCK_SH)
open('held', 'w').write(str(os.getpid()))
import time
while os.path.exists('held'): time.sleep(0.05)
";

fn who_holds_a_read_lock_is_named(desk: &Desk) -> Result<()> {
    open(desk)?;
    desk.image("env.img")?;
    desk.run(&["chmod", "a+r", "env.img"])?.success()?;
    let bob = desk.of("bob")?;
    bob.write("hold.py", HOLD)?;
    bob.script(&format!("ln -s {} image", desk.path("env.img")))?.success()?;
    for kind in ["ofd", "posix"] {
        bob.script(&format!("python3 hold.py {kind} > /dev/null 2>&1 &"))?.success()?;
        bob.wait_until("[ -s held ]")?;
        let pid = bob.run(&["cat", "held"])?.success()?.stdout;
        let start = desk.exec(&["-w", "-o", "env.img"], "echo RAN")?;
        let verb = desk.run(&["condatainer", "overlay", "chown", "env.img"])?;
        let root = desk.as_root("condatainer overlay info env.img")?;
        bob.run(&["rm", "held"])?.success()?;
        let (named, unknown) = (
            format!("user bob, process {pid} (python3)"),
            "an unknown process, perhaps on another node ('condatainer overlay info",
        );
        let (told, of_root) = if kind == "ofd" { (unknown, named.as_str()) } else { (named.as_str(), named.as_str()) };
        let start = desk.refused(start, "in use by readers, so it cannot be :rw now: ")?.ends_with(125)?;
        start.complains(told).context(kind)?;
        verb.ends_with(1)?.complains(&format!("locked for reading by {told}")).context(kind)?;
        ensure!(root.stdout.contains(&format!("locked by   readers: {of_root}")), "{kind}: {root:?}");
        desk.wait_until("condatainer exec -w -o env.img true")?;
    }
    // One of ours names the image on its command line.
    let image = desk.path("env.img");
    bob.script(&format!(
        "condatainer exec -o {image} sh -c 'touch held; while [ -e held ]; do sleep 0.1; done' > /dev/null 2>&1 &"
    ))?
    .success()?;
    bob.wait_until("[ -e held ]")?;
    let start = desk.exec(&["-w", "-o", "env.img"], "echo RAN")?;
    bob.run(&["rm", "held"])?.success()?;
    desk.refused(start, "held by perhaps user bob, process ")?.complains("whose command line names it")?;
    desk.wait_until("condatainer exec -w -o env.img true")
}
