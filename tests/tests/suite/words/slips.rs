//! Slips at a prompt, and words of other tools: the answer is the line that was probably meant, and is true.

use anyhow::{Result, ensure};

use crate::support::{Desk, Expect, tests};

tests! {
    Slurm, Desk: [they_get_the_hint_that_helps];
    Apptainer, Desk: [what_is_answered_is_so];
}

fn they_get_the_hint_that_helps(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    desk.script("head -c 1000000 /dev/urandom > broken.img")?.success()?;
    for (line, hint) in [
        ("exec env.img tool --help", "env.img: is an image, not a command: 'condatainer exec -o env.img tool --help'"),
        ("e env.img tool", "tool: no such layer"),
        ("e env.img tool", "; a command comes after '--': 'condatainer e env.img -- tool'"),
        ("e -o env.img", "unexpected argument '-o'"),
        ("e env.img --version", "to pass '--version' as a value, use '-- --version'"),
        ("e env.img R --version", "a command comes after '--': 'condatainer e env.img -- R --version'"),
        ("shell env.img", "shell: no such verb: 'condatainer e' opens a shell in an image"),
        (
            "exec --writable-tmpfs -o env.img true",
            "--writable-tmpfs: no such option: --tmp makes everything writable for one run",
        ),
        ("exec -o envv.img true", "envv.img: no such file or directory: did you mean env.img?"),
        ("overlay check Env.img", "Env.img: no such file or directory: did you mean env.img?"),
        ("overlay chown -u no-such-user env.img", "no such user on this machine; write a name, or a number"),
        ("overlay chown -u 4242 env.img", "-u 4242: this machine knows no such user, so name the group too (-g)"),
        ("overlay resize -s 1x env.img", "'1x' is no size: write a number with K, M, G or T, such as 20G"),
        ("overlay seal --level much env.img", "write a number from 1 on"),
        ("exec -o broken.img true", "if it was an image, its beginning is damaged"),
        ("overlay resize -s 1M env.img", "env.img: 1.00 MiB is too small for an image; the least is 64 MiB (-s 64M)"),
    ] {
        let output = desk.script(&format!("condatainer {line}"))?;
        ensure!(output.code != 0 && output.stderr.contains(hint), "{line}: {output:?}");
    }
    desk.script("condatainer overlay chown -u alice env.img && condatainer overlay chown -u alice -g alice --from root:root env.img")?.success()?;
    Ok(())
}

/// Variables in the place of Apptainer's options, and options that are understood.
fn what_is_answered_is_so(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    desk.script("mkdir other; touch other/there")?.success()?;
    let (image, other) = (desk.path("env.img"), desk.path("other"));
    let start = format!("condatainer exec -o {image}");
    for (line, said) in [
        (format!("WORD=plain {start} printenv WORD"), "plain"),
        (format!("WORD=plain APPTAINER_CLEANENV=1 {start} sh -c 'echo \"[$WORD]\"'"), "[]"),
        (format!("APPTAINER_NO_HOME=1 {start} sh -c '[ ! -e {other} ] && echo gone'"), "gone"),
        (format!("APPTAINER_CONTAIN=1 {start} --pwd / sh -c '[ ! -e {other} ] && echo gone'"), "gone"),
        (format!("APPTAINER_CONTAINALL=1 {start} --pwd / sh -c '[ ! -e {other} ] && echo gone'"), "gone"),
        (format!("APPTAINER_HOME={other}:$HOME {start} --pwd / ls $HOME"), "there"),
        // The working directory is shown whatever it is, so it is not /tmp here.
        (format!("touch slip; cd /; APPTAINER_NO_MOUNT=tmp {start} sh -c 'ls -A /tmp | wc -l'"), "0"),
        (format!("{start} --nv -B {other}:/mnt ls /mnt"), "there"),
    ] {
        desk.script(&format!("cd /tmp; {line}"))?.says(said)?;
    }
    Ok(())
}
