//! A making that is ended half-way: by a signal it takes everything away itself, after a SIGKILL the next one does.

use anyhow::{Result, ensure};

use super::{LIMIT, create, exec, nothing_is_left};
use crate::support::{Desk, Expect};

/// The moments: the tool is at work in the container, the module is being packed.
const MOMENTS: [&str; 2] = ["compgen -G '/tmp/.build.condatainer-*/root/cnt/x'", "pgrep -u alice -x mksquashfs"];

pub(super) fn all(desk: &Desk) -> Result<()> {
    let before = [desk.files()?, vec!["said".into()]].concat();
    for moment in MOMENTS {
        for signal in ["INT", "TERM"] {
            interrupted(desk, moment, signal)?.says("1")?;
            desk.script("tail -n1 said")?.holds("x.sqf: interrupted; nothing is left of it")?;
            nothing_is_left(desk, &sorted(&before), &[])?;
        }
    }
    for moment in MOMENTS {
        interrupted(desk, moment, "KILL")?.says("137")?;
        // The guard ends what was started; the files are the next one's business.
        desk.wait_until("! pgrep -u alice -x 'mksquashfs|apptainer|starter|micromamba'")?;
        create(desk, &["-u", "-n", "y", "-c", "./channel", "hello"])?.success()?;
        exec(desk, "y", &["hello"])?.says("hello from /cnt/y, 1.2")?;
        nothing_is_left(desk, &sorted(&before), &["y.sqf"])?;
    }
    Ok(())
}

fn sorted(files: &[String]) -> Vec<String> {
    let mut files = files.to_vec();
    files.sort();
    files.dedup();
    files
}

/// Makes `x`, sends a signal at that moment, and prints how it ended.
fn interrupted(desk: &Desk, moment: &str, signal: &str) -> Result<cluster::Output> {
    let text = format!(
        "exec 9<> <(:); env --default-signal condatainer create -n x -c ./channel noise hello 2> said 9>&- &
        for _ in $(seq 2000); do {{ {moment}; }} > /dev/null 2>&1 && break; kill -0 $! || break; read -rt 0.01 -u 9; done
        kill -{signal} $!; wait $!; echo $?"
    );
    let output = desk.command().timeout(LIMIT).script(&text)?;
    ensure!(!output.stderr.contains("No such process"), "it was over before: {}", desk.script("cat said")?.stdout);
    Ok(output)
}
