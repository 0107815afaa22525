//! Names with control characters in messages.

use anyhow::{Result, ensure};

use crate::support::{Desk, Expect, tests};

tests! {
    Slurm, Desk: [names_of_files_reach_no_terminal];
}

/// A name that clears the screen, goes back to the line's beginning, and reads backwards.
const HOSTILE: &str = "x\u{1b}[2J\n\u{202e}y.img";
const ESCAPED: &str = r"x\u{1b}[2J\n\u{202e}y.img";

fn is_plain(text: &str) -> bool {
    !text.contains(|c: char| (c.is_control() && c != '\n') || c == '\u{202e}')
}

fn names_of_files_reach_no_terminal(desk: &Desk) -> Result<()> {
    let overlay = format!("--condatainer-overlay={HOSTILE}");
    // Where it is submitted, on the node, and from the command.
    let missing = desk.refused(desk.srun(&[&overlay, "echo", "RAN"])?, ESCAPED)?;
    let line = format!("srun: error: condatainer: {}/{ESCAPED}: no such file or directory", desk.dir);
    ensure!(is_plain(&missing.stderr) && missing.stderr.lines().any(|said| said == line), "{missing:?}");
    desk.squashfs("a.sqf", "")?;
    desk.run(&["mv", "a.sqf", HOSTILE])?.success()?;
    let node = desk.refused(desk.srun(&["-N1", &format!("{overlay}:rw"), "echo", "RAN"])?, ESCAPED)?;
    ensure!(is_plain(&node.stderr), "{node:?}");
    let exec = desk.run(&["condatainer", "exec", "-o", &format!("{HOSTILE}:rw"), "true"])?.ends_with(125)?;
    ensure!(is_plain(&exec.complains(ESCAPED)?.stderr));
    // The line that can be pasted into a shell means the same, and the one of -v.
    let engines = desk.with_mounts("engine");
    let shown = engines.run(&["condatainer", "exec", "--dry-run", "-o", &format!("./{HOSTILE}"), "true"])?.success()?;
    ensure!(is_plain(&shown.stdout) && shown.stdout.lines().count() == 1, "{shown:?}");
    desk.write("show.sh", &format!("printf '<%s>\\n' {}", shown.stdout))?;
    desk.run(&["bash", "show.sh"])?.holds(&format!("{}/{HOSTILE}", desk.dir))?;
    for desk in [&engines, &desk.with_mounts("own")] {
        let verbose = desk.run(&["condatainer", "-v", "exec", "-o", &format!("./{HOSTILE}"), "true"])?.success()?;
        ensure!(is_plain(&verbose.stderr) && verbose.stderr.contains("y.img"), "{verbose:?}");
    }
    Ok(())
}
