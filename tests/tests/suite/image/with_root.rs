//! `overlay with-root`: the image is root's while the command runs, and its owner's before and after, whatever happens in between.

use anyhow::{Context, Result, ensure};
use cluster::Output;

use crate::image::writers::alone;
use crate::support::{Desk, Expect, tests, times};

tests! {
    Apptainer, Desk: [
        root_for_one_command, the_commands_own_code, a_shell_of_roots, an_image_of_roots_stays_roots, what_is_refused_changes_nothing, it_lies_on_other_layers,
        a_signal_reaches_the_command_first, ctrl_c_reaches_the_command_first, killed_at_any_instant, a_dry_run_changes_nothing,
        without_a_subuid_range_too,
    ];
}

fn with_root(desk: &Desk, options: &[&str], command: &[&str]) -> Result<Output> {
    desk.run(&[&["condatainer", "overlay", "with-root", "env.img"], options, &["--"], command].concat())
}

/// Owner and group of `upper`, as `overlay info` prints them.
fn owner(desk: &Desk) -> Result<String> {
    let output = desk.script("condatainer overlay info env.img | awk '$1 == \"upper\" { print $2 }'")?.success()?;
    Ok(output.stdout.trim().into())
}

fn is_alices_again(desk: &Desk) -> Result<()> {
    is_again(desk, "1001:1001")
}

/// The image is its owner's again, sound, without a note.
fn is_again(desk: &Desk, whose: &str) -> Result<()> {
    ensure!(owner(desk)? == whose, "it belongs to {}", owner(desk)?);
    desk.is_clean("env.img")?;
    let note = desk.run(&["getfattr", "-n", "user.condatainer.with-root", "env.img"])?;
    ensure!(note.code != 0, "{}", note.stdout);
    Ok(())
}

fn root_for_one_command(desk: &Desk) -> Result<()> {
    desk.image_with("env.img", "1001:1001", "mkdir ext3; echo mine > ext3/mine")?;
    let shell = "id -u; stat -c %u:%g /ext3/mine; echo new > /ext3/new; touch /ext3/others; chown 42:42 /ext3/others";
    with_root(desk, &[], &["sh", "-c", shell])?.says("0\n0:0")?.without_a_word()?;
    is_alices_again(desk)?;
    let shell = "stat -c %u:%g /ext3/mine /ext3/new; echo more >> /ext3/new; cat /ext3/new";
    desk.srun_in("env.img:rw", shell)?.says("1001:1001\n1001:1001\nnew\nmore")?;
    is_of_others(desk)
}

fn the_commands_own_code(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    desk.write("plain", "no program")?;
    desk.run(&["chmod", "-x", "plain"])?.success()?;
    for (command, code, text) in [
        (&["sh", "-c", "exit 7"][..], 7, ""),
        (&["sh", "-c", "kill -TERM $$"], 143, ""),
        (&["no-such"], 127, "no-such: no such command in the container"),
        (&["./plain"], 126, "cannot be executed in the container"),
    ] {
        with_root(desk, &[], command)?.ends_with(code)?.complains(text)?;
        is_alices_again(desk)?;
    }
    Ok(())
}

fn a_shell_of_roots(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    let typed =
        desk.command().stdin("id -u; touch /x\nexit 6\n").run(&["condatainer", "overlay", "with-root", "env.img"])?;
    ensure!((typed.code, typed.stdout.as_str()) == (6, "0\n"), "{typed:?}");
    is_alices_again(desk)
}

fn an_image_of_roots_stays_roots(desk: &Desk) -> Result<()> {
    desk.root_image("env.img")?;
    with_root(desk, &[], &["sh", "-c", "id -u; touch /x"])?.says("0")?.without_a_word()?;
    ensure!(owner(desk)? == "0:0", "it belongs to {}", owner(desk)?);
    desk.is_clean("env.img")
}

fn what_is_refused_changes_nothing(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    let before = desk.bytes("env.img")?;
    with_root(desk, &["-b", "/no/base.sqf"], &["echo", "RAN"])?.ends_with(125)?.complains("/no/base.sqf: no such")?;
    with_root(desk, &["-o", "no.sqf"], &["echo", "RAN"])?.ends_with(125)?.complains("no.sqf: no such")?;
    with_root(desk, &["--no-fakeroot"], &["echo", "RAN"])?.ends_with(125)?.complains("--no-fakeroot: ")?;
    desk.run(&["condatainer", "overlay", "with-root"])?.ends_with(2)?;
    desk.run(&["condatainer", "overlay", "with-root", "no.img", "--", "true"])?
        .ends_with(125)?
        .complains("no.img: no")?;
    ensure!(before == desk.bytes("env.img")?, "the image was changed");
    let hold = |mode: &str| {
        format!("condatainer exec -o env.img:{mode} sh -c 'touch held; until [ -e go ]; do sleep 0.1; done'")
    };
    for (mode, text) in [("rw", "in use for writing by user alice"), ("ro", "in use by readers")] {
        desk.script(&format!("rm -f held go; {} &", hold(mode)))?.success()?;
        desk.wait_until("[ -e held ]")?;
        let refused = with_root(desk, &[], &["echo", "RAN"])?;
        desk.run(&["touch", "go"])?.success()?;
        ensure!(!refused.stdout.contains("RAN"), "{refused:?}");
        refused.ends_with(125)?.complains(text)?;
        desk.wait_until("condatainer overlay info env.img | grep -q '^state *clean'")?;
    }
    is_alices_again(desk)
}

fn it_lies_on_other_layers(desk: &Desk) -> Result<()> {
    desk.squashfs("a.sqf", "")?;
    desk.image("env.img")?;
    with_root(desk, &["-o", "a.sqf", "--env", "A=$b", "--pwd", "/opt"], &["sh", "-c", "ls /opt/layers; echo $A; pwd"])?
        .says("a\nenv\n$b\n/opt")?;
    is_alices_again(desk)
}

/// Runs it on the way to a command that has started, and then does something to it. Bash would have it ignore SIGINT.
fn disturbed(desk: &Desk, inner: &str, then: &str) -> Result<Output> {
    desk.script(&format!(
        "rm -f started; env --default-signal=INT condatainer overlay with-root env.img -- sh -c '{inner}' & p=$!
        until [ -e started ]; do sleep 0.1; done; {then}; wait $p"
    ))
}

fn a_signal_reaches_the_command_first(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    for (signal, code) in [("TERM", 143), ("INT", 130), ("HUP", 129)] {
        let inner =
            format!("trap \"echo trapped > /{signal}; exit 9\" {signal}; touch started; while :; do sleep 0.1; done");
        disturbed(desk, &inner, &format!("kill -{signal} $p"))?.ends_with(9)?;
        is_alices_again(desk)?;
        disturbed(desk, "touch started; exec sleep 60", &format!("kill -{signal} $p"))?.ends_with(code)?;
        is_alices_again(desk)?;
    }
    desk.srun_in("env.img", "cat /TERM /INT /HUP")?.says("trapped\ntrapped\ntrapped")?;
    Ok(())
}

fn ctrl_c_reaches_the_command_first(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    let inner = "trap \"echo trapped; exit 9\" INT; touch started; while :; do sleep 0.1; done";
    let typed = "until [ -e started ]; do sleep 0.1; done; printf '\\003'; until [ -e over ]; do sleep 0.1; done";
    desk.write(
        "run",
        &format!("condatainer overlay with-root env.img -- sh -c '{inner}'\necho code $?\ntouch over\n"),
    )?;
    let output = desk.script(&format!("({typed}) | script -qec 'bash run' /dev/null"))?;
    ensure!(output.stdout.contains("trapped\r\ncode 9"), "{output:?}");
    is_alices_again(desk)
}

/// The process alone, or every process of the user: the next start finishes the way back. As carol, whom it may kill.
fn killed_at_any_instant(desk: &Desk) -> Result<()> {
    let _alone = alone();
    let carol = &desk.of("carol")?;
    let trials = times(6, 200);
    carol.image_with("env.img", "1003:1003", "mkdir ext3; echo mine > ext3/mine; touch ext3/others")?;
    for id in ["uid", "gid"] {
        let request = format!("sif /upper/ext3/others {id} 42");
        carol.run(&["/sbin/debugfs", "-w", "-R", &request, "env.img"])?.success()?;
    }
    carol.run(&["cp", "env.img", "original"])?.success()?;
    let whole_run = with_root(carol, &[], &["sh", "-c", WORK])?.ends_with(0)?.elapsed;
    let mut finished = 0;
    // The first time all of it while the command surely runs, and then by the clock, which may be late or early.
    for trial in 0..=trials {
        carol.run(&["cp", "original", "env.img"])?.success()?;
        let delay = whole_run.mul_f64(f64::from(trial.max(1) - 1) / f64::from(trials)).as_secs_f64();
        let (work, until) = match trial {
            0 => (
                format!("touch {}/runs; {WORK}; sleep 5", carol.dir),
                "until [ -e runs ]; do sleep 0.05; done; rm runs".into(),
            ),
            _ => (WORK.into(), format!("sleep {delay}")),
        };
        let start = format!("echo $BASHPID > pid; exec condatainer overlay with-root env.img -- sh -c '{work}'");
        carol.script(&format!("({start}) > /dev/null 2>&1 & {until}"))?;
        // One that was just being made escapes a single pkill.
        let all = "while pkill -KILL -U carol; do sleep 0.02; done";
        let one = "kill -KILL $(cat pid); while pgrep -U carol; do sleep 0.02; done";
        desk.as_root(&format!("cd {}; {}", carol.dir, if trial % 2 == 1 { one } else { all }))?;
        let lent = carol.run(&["condatainer", "overlay", "info", "env.img"])?.stdout.contains("goes back to 1003:1003");
        let healed = is_finished(carol).with_context(|| format!("killed after {delay} s"))?;
        ensure!(healed == lent, "killed after {delay} s: healed {healed}, but lent {lent}");
        finished += u32::from(healed);
    }
    ensure!(finished > 0, "none was cut off while the image was root's");
    Ok(())
}

const WORK: &str = "echo new > /ext3/new; sleep 0.2";

/// Whether the next start had to finish the way back. Afterwards all is as it should be.
fn is_finished(desk: &Desk) -> Result<bool> {
    let shell = "cat /ext3/mine; stat -c %u /ext3/mine; echo more > /ext3/mine; id -u";
    let output = desk.run(&["condatainer", "exec", "-w", "-o", "env.img", "sh", "-c", shell])?;
    ensure!(output.stdout == "mine\n1003\n1003\n" && output.code == 0, "{output:?}");
    is_again(desk, "1003:1003")?;
    is_of_others(desk)?;
    Ok(output.stderr.contains("env.img: an 'overlay with-root' was killed here: given back to you first"))
}

/// A file of somebody else's has stayed his.
fn is_of_others(desk: &Desk) -> Result<()> {
    let stat = desk.run(&["/sbin/debugfs", "-R", "stat /upper/ext3/others", "env.img"])?.stdout;
    ensure!(stat.contains("User:    42   Group:    42"), "{stat}");
    Ok(())
}

fn a_dry_run_changes_nothing(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    let before = desk.bytes("env.img")?;
    let shown = with_root(desk, &["--dry-run"], &["apt", "update"])?.success()?.stdout;
    let (first, last) = if desk.we_mount() {
        ("exec --writable ", "env.img\n")
    } else {
        ("exec --fakeroot --overlay ", "env.img /srv/base/base.sqf apt update\n")
    };
    ensure!(shown.contains(first) && shown.ends_with(last), "{shown}");
    ensure!(before == desk.bytes("env.img")?, "the image was changed");
    Ok(())
}

fn without_a_subuid_range_too(desk: &Desk) -> Result<()> {
    let bob = desk.of("bob")?;
    bob.image("env.img")?;
    with_root(&bob, &[], &["sh", "-c", "id -u; echo new > /new; exit 3"])?.ends_with(3)?.without_a_word()?;
    ensure!(owner(&bob)? == "1002:1002", "it belongs to {}", owner(&bob)?);
    bob.srun_in("env.img:rw", "cat /new; echo more >> /new")?.says("new")?;
    bob.is_clean("env.img")
}
