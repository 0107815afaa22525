//! What other users of a machine see of a start: command lines (`ps -ww`) have nothing in them that is only for the user.

use anyhow::{Result, ensure};

use crate::support::{Desk, tests};

tests! {
    Apptainer, Desk: [nobody_else_reads_the_variables_of_a_step, nobody_else_reads_the_variables_of_a_command];
}

/// Writes every command line of the machine that holds a secret to `found`, until there is a `stop`. What srun was given was typed
/// there by the user. `[-]` keeps the search itself from being found.
const WATCH: &str = r#"
while [ ! -e stop ]; do
    grep -hsaE 'secret[-]of|/proc/self/fd/[0-9]' /proc/[0-9]*/cmdline | tr '\0' ' ' | grep -v '^[^ ]*srun ' >> found
    echo >> found; touch watching
done"#;

/// What alice is told by what she does, while bob watches.
fn watched(desk: &Desk, act: impl FnOnce() -> Result<String>) -> Result<String> {
    let bob = desk.of("bob")?;
    std::thread::scope(|scope| {
        let watch = scope.spawn(|| bob.script(WATCH));
        let said = bob.wait_until("[ -e watching ]").and_then(|()| act());
        bob.run(&["touch", "stop"])?.success()?;
        watch.join().map_err(|_| anyhow::anyhow!("the watch panicked"))??.success()?;
        let found = bob.run(&["cat", "found"])?.success()?.stdout;
        ensure!(found.contains("/proc/self/fd/"), "bob has not seen the container's first process");
        let secrets: Vec<&str> = found.lines().filter(|line| line.contains("secret-of")).collect();
        ensure!(secrets.is_empty(), "{}", secrets.join("\n"));
        said
    })
}

/// An image with a variable beside it that only its user may read.
fn with_a_token(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    // Not by a command line: the other test may be watching.
    desk.write("env.img.env", "TOKEN=secret-of-the-file\n")?;
    desk.run(&["chmod", "600", "env.img.env"])?.success().map(drop)
}

fn nobody_else_reads_the_variables_of_a_step(desk: &Desk) -> Result<()> {
    with_a_token(desk)?;
    // sbatch(1) asks for the end every two seconds, then every four, and so on, and the watch takes a processor meanwhile.
    let script = "#!/bin/bash\n#SBATCH --condatainer-overlay=env.img --condatainer-env=BATCH=secret-of-the-batch\n\
        echo $TOKEN $BATCH\n\
        srun --condatainer-env=STEP=secret-of-the-step bash -c 'echo $TOKEN $STEP; sleep 1'\n";
    let said = watched(desk, || Ok(desk.batch(&[], script)?.1))?;
    let expected = "secret-of-the-file secret-of-the-batch\nsecret-of-the-file secret-of-the-step\n";
    ensure!(said == expected, "{said}");
    Ok(())
}

/// The command's own arguments are shown by the command, and by nothing that is started for it.
fn nobody_else_reads_the_variables_of_a_command(desk: &Desk) -> Result<()> {
    with_a_token(desk)?;
    let text = "condatainer exec -o env.img bash -c 'echo $TOKEN; sleep 1'; \
        condatainer exec -o env.img sh -c 'for file in /proc/[0-9]*/cmdline; do tr \"\\0\" \" \" < $file; echo; done' of-the-user \
        | grep -c '^[^ ]*apptainer .*of-the-user'";
    let said = watched(desk, || Ok(desk.script(&format!("{text}; true"))?.success()?.stdout))?;
    ensure!(said == "secret-of-the-file\n0\n", "{said}");
    Ok(())
}
