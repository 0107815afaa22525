//! The command line outside of Slurm, as a user of the node types it.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::image::whiteouts::by_hand;
use crate::support::{Desk, Expect, WHERE, tests};

tests! {
    Apptainer, Desk: [
        exec_is_read_only_unless_asked, exec_codes, a_failed_start_is_blamed_on_nobody_else, exec_is_killed_by_a_signal, exec_passes_signals_on, exec_ignores_what_the_caller_ignores, o_makes_an_image_that_works, o_fakeroot, o_elsewhere_and_in_json,
        e_takes_the_workspace_image, e_opens_a_shell, overlay_info_in_json, overlay_info_of_an_image_in_use, overlay_info_of_every_kind, overlay_chown_and_back,
        a_dry_run_starts_nothing, user_namespaces_switched_off_is_said, the_user_configures_a_base, version_says_commit_and_engine,
    ];
    Slurm, Desk: [usage_errors_are_2, o_never_overwrites, completions_are_printed, any_name_can_be_told, json_has_nothing_that_a_terminal_obeys, who_has_seen_enough_may_go];
}

/// Runs the program with these arguments.
fn condatainer(desk: &Desk, arguments: &[&str]) -> Result<cluster::Output> {
    desk.run(&[&["condatainer"], arguments].concat())
}

fn exec_is_read_only_unless_asked(desk: &Desk) -> Result<()> {
    desk.squashfs("a.sqf", "")?;
    desk.image("env.img")?;
    condatainer(desk, &["exec", "-o", "a.sqf", "-o", "env.img", "sh", "-c", WHERE])?.says("inside a env")?;
    condatainer(desk, &["exec", "-o", "env.img", "touch", "/x"])?.ends_with(1)?.complains("Read-only file system")?;
    condatainer(desk, &["exec", "-w", "-o", "a.sqf,env.img", "touch", "/x"])?.says("")?;
    condatainer(desk, &["exec", "-o", "env.img", "ls", "/x"])?.says("/x")?.without_a_word()?;
    condatainer(desk, &["exec", "-w", "-o", "a.sqf", "echo", "RAN"])?
        .ends_with(125)?
        .complains("-w: no layer is an image that can be written to")?;
    desk.is_clean("env.img")
}

fn exec_codes(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    desk.script("echo text > plain")?.success()?;
    for (command, code) in [("exit 0", 0), ("exit 7", 7), ("exit 255", 255), ("exit 127", 127)] {
        condatainer(desk, &["exec", "-o", "env.img", "sh", "-c", command])?.ends_with(code)?.without_a_word()?;
    }
    condatainer(desk, &["exec", "-o", "nope.img", "true"])?
        .ends_with(125)?
        .complains("nope.img: no such file or directory")?;
    condatainer(desk, &["exec", "-o", "env.img", "./plain"])?
        .ends_with(126)?
        .complains("cannot be executed in the container")?;
    condatainer(desk, &["exec", "-o", "env.img", "no-such"])?
        .ends_with(127)?
        .complains("no-such: no such command in the container")?;
    Ok(())
}

/// Apptainer gives up after it has mounted the image; its own daemons may hold the lock a moment longer.
fn a_failed_start_is_blamed_on_nobody_else(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    for mode in ["rw", "ro"] {
        let output = condatainer(desk, &["exec", "-o", &format!("env.img:{mode}"), "--pwd", "/no/such", "true"])?;
        output.ends_with(125)?.complains("Apptainer could not start the container")?;
    }
    let output = condatainer(desk, &["exec", "-o", "env.img", "--bind", "/no/such:/x", "true"])?.ends_with(125)?;
    ensure!(output.stderr == "condatainer: bind /no/such: No such file or directory\n", "{}", output.stderr);
    // Apptainer may have killed the daemon of the start that failed, which leaves something to repair.
    let output = condatainer(desk, &["exec", "-o", "env.img:rw", "true"])?.ends_with(0)?;
    ensure!(!output.stderr.contains("in use") && !output.stderr.contains("is writing"), "{}", output.stderr);
    desk.is_clean("env.img")
}

fn exec_is_killed_by_a_signal(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    condatainer(desk, &["exec", "-o", "env.img", "sh", "-c", "kill -TERM $$"])?.ends_with(143)?;
    Ok(())
}

fn exec_passes_signals_on(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    let inner = "trap \"echo trapped; exit 9\" TERM; touch started; while :; do sleep 0.1; done";
    let text = format!(
        "condatainer exec -w -o env.img sh -c '{inner}' & until [ -e started ]; do sleep 0.1; done; kill -TERM $!; wait $!"
    );
    let output = desk.script(&text)?.ends_with(9)?;
    ensure!(output.stdout == "trapped\n", "{output:?}");
    desk.is_clean("env.img")
}

/// As `nohup` and a script's background jobs have it. Apptainer gives the command its own defaults.
fn exec_ignores_what_the_caller_ignores(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    let signalled = |trap: &str, signal: &str, then: &str| {
        let inner = "touch started; until [ -e go ]; do sleep 0.1; done; echo survived";
        desk.script(&format!(
            "rm -f started go; {trap} env --default-signal=INT condatainer exec -o env.img sh -c '{inner}' & p=$!
            until [ -e started ]; do sleep 0.1; done; grep SigIgn /proc/$p/status
            kill -{signal} $p; {then} wait $p"
        ))
    };
    let ignored = |line: &str| u64::from_str_radix(line.strip_prefix("SigIgn:")?.trim(), 16).ok();
    for (signal, bit) in [("HUP", 1), ("USR1", 1 << 9)] {
        let output = signalled(&format!("trap '' {signal};"), signal, "sleep 0.3; touch go;")?.success()?;
        let (mask, said) = output.stdout.split_once('\n').context("no mask")?;
        let asked = ignored(mask).with_context(|| format!("{output:?}"))? & (1 | 1 << 1 | 1 << 9);
        ensure!(asked == bit && said == "survived\n", "{signal}: {output:?}");
    }
    let output = signalled("", "HUP", "")?.ends_with(129)?;
    ensure!(!output.stdout.contains("survived"), "{output:?}");
    // But a command that writes to nobody ends, whatever the programs above it do about that.
    let output = desk.script("trap '' PIPE; condatainer exec -o env.img grep SigIgn /proc/self/status")?.success()?;
    ensure!(ignored(&output.stdout).with_context(|| format!("{output:?}"))? & 1 << 12 == 0, "{output:?}");
    Ok(())
}

fn o_makes_an_image_that_works(desk: &Desk) -> Result<()> {
    condatainer(desk, &["o", "-s", "100M"])?.success()?;
    condatainer(desk, &["exec", "-w", "-o", "env.img", "sh", "-c", "echo kept > /file"])?.says("")?;
    desk.srun_in("env.img", "cat /file; id -u")?.says("kept\n1001")?;
    let size = desk.run(&["stat", "-c", "%s", "env.img"])?.success()?.stdout;
    ensure!(size.trim() == "104857600", "{size}");
    condatainer(desk, &["overlay", "create", "-s", "64M", "-p", "small", "more.img"])?.success()?;
    ensure!(desk.files()? == ["env.img", "more.img"], "{:?}", desk.files()?);
    desk.is_clean("more.img")
}

fn o_fakeroot(desk: &Desk) -> Result<()> {
    condatainer(desk, &["o", "-s", "64M", "--fakeroot"])?.success()?;
    desk.srun_in("env.img:rw", "id -u; touch /x")?.says("0")?.complains("fakeroot turned on: ")?;
    let words = "belongs to root: starts use fakeroot (on this machine with your subuid range)";
    condatainer(desk, &["o", "-s", "64M", "--fakeroot", "more.img"])?.success()?.complains(words)?;
    let bob = desk.of("bob")?;
    let words = "starts use fakeroot (on this machine root-mapped, because you have no subuid range";
    condatainer(&bob, &["o", "-s", "64M", "--fakeroot"])?.success()?.complains(words)?;
    bob.srun_in("env.img:rw", "id -u; touch /x")?.says("0")?.complains("fakeroot turned on: ")?;
    Ok(())
}

/// Made on another file system, it is what Apptainer takes here.
fn o_elsewhere_and_in_json(desk: &Desk) -> Result<()> {
    let arguments = ["o", "-s", "1G", "--json", "--label", "mine", "--tmpdir", "/run/user-free"];
    desk.as_root("mkdir -p /run/user-free; chmod 1777 /run/user-free")?.success()?;
    let output = condatainer(desk, &arguments)?.success()?;
    let value: Value = serde_json::from_str(&output.stdout).with_context(|| output.stdout.clone())?;
    ensure!(value["label"] == "mine" && value["upper"]["uid"] == 1001 && value["fakeroot"] == Value::Null, "{value}");
    let free = value["allocated_bytes"].as_u64().is_some_and(|bytes| bytes < 64 << 20);
    ensure!(free && output.stderr.is_empty(), "{output:?}");
    desk.srun_in("env.img:rw", "echo kept > /file; cat /file")?.says("kept")?.without_a_word()?;
    ensure!(desk.files()? == ["env.img"] && desk.run(&["ls", "-A", "/run/user-free"])?.stdout.is_empty(), "leftovers");
    condatainer(desk, &["o", "-s", "64M", "--tmpdir", "/no/such", "x.img"])?
        .ends_with(1)?
        .complains("the directory /no/such does not exist")?;
    desk.is_clean("env.img")
}

fn o_never_overwrites(desk: &Desk) -> Result<()> {
    desk.script("echo precious > env.img")?.success()?;
    condatainer(desk, &["o", "-s", "64M"])?.ends_with(1)?.complains("env.img: exists already")?;
    desk.run(&["cat", "env.img"])?.says("precious")?;
    condatainer(desk, &["o", "-s", "64M", "no/dir.img"])?.ends_with(1)?.complains("does not exist; make it first")?;
    Ok(())
}

fn e_takes_the_workspace_image(desk: &Desk) -> Result<()> {
    desk.squashfs("a.sqf", "")?;
    condatainer(desk, &["e", "--", "true"])?
        .ends_with(125)?
        .complains("env.img: no such image: 'condatainer o' makes it")?;
    desk.image("env.img")?;
    condatainer(desk, &["e", "a.sqf", "--", "sh", "-c", &format!("echo kept > /file; {WHERE}")])?
        .says("inside a env")?;
    condatainer(desk, &["e", "-r", "--", "sh", "-c", "cat /file; touch /x"])?
        .ends_with(1)?
        .complains("Read-only file system")?;
    condatainer(desk, &["e", "-n", "a.sqf", "--", "sh", "-c", WHERE])?.says("inside a")?;
    Ok(())
}

fn e_opens_a_shell(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    let typed = desk.command().terminal().stdin("echo in $0 $((6*7)); touch /made\nexit 6\n");
    let output = typed.run(&["condatainer", "e"])?.ends_with(6)?;
    ensure!(output.stdout.contains("bash 42"), "{output:?}");
    desk.srun_in("env.img", "ls /made")?.says("/made")?;
    Ok(())
}

/// `overlay info --json`.
fn info(desk: &Desk, name: &str) -> Result<Value> {
    let output = condatainer(desk, &["overlay", "info", "--json", name])?.success()?;
    serde_json::from_str(&output.stdout).with_context(|| output.stdout.clone())
}

fn overlay_info_in_json(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    let value = info(desk, "env.img")?;
    for (key, expected) in [
        ("kind", Value::from("ext3")),
        ("size_bytes", (64 << 20).into()),
        ("block_size", 4096.into()),
        ("state", "clean".into()),
        ("apptainer_accepts", true.into()),
        ("locked_by", Value::Null),
    ] {
        ensure!(value[key] == expected, "{key} is {} in {value}", value[key]);
    }
    ensure!(value["upper"]["uid"] == 1001 && value["work"]["gid"] == 1001, "{value}");
    desk.squashfs("a.sqf", "")?;
    ensure!(info(desk, "a.sqf")?["kind"] == "squashfs", "{}", info(desk, "a.sqf")?);
    condatainer(desk, &["overlay", "info", "nope.img"])?
        .ends_with(1)?
        .complains("nope.img: no such file or directory")?;
    Ok(())
}

fn overlay_info_of_an_image_in_use(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    let hold = "condatainer exec -w -o env.img sh -c 'touch held; while [ -e held ]; do sleep 0.1; done' &";
    desk.script(hold)?.success()?;
    desk.wait_until("[ -e held ] && [ -e .env.img.holder ]")?;
    let value = info(desk, "env.img")?;
    desk.run(&["rm", "held"])?.success()?;
    ensure!(value["state"] == "in-use", "{value}");
    ensure!(
        value["locked_by"].as_str().is_some_and(|who| who.contains("user alice, process ") && who.ends_with(" on n1")),
        "{value}"
    );
    desk.wait_until("[ \"$(condatainer overlay info --json env.img | grep -c in-use)\" = 0 ]")?;
    Ok(())
}

/// C1 characters and DEL are valid in JSON as they are, and some terminals obey them.
fn json_has_nothing_that_a_terminal_obeys(desk: &Desk) -> Result<()> {
    let odd = "odd\u{9b}31m\u{7f}.img";
    desk.image("env.img")?;
    desk.run(&["mv", "env.img", odd])?.success()?;
    for verb in [&["info"][..], &["check"], &["chown", "--dry-run"], &["resize", "--dry-run", "-s", "80M"], &["diff"]] {
        let output = condatainer(desk, &[&["overlay"], verb, &["--json", odd]].concat())?.success()?;
        let obeyed = |c: char| c.is_control() && c != '\n';
        ensure!(!output.stdout.contains(obeyed) && !output.stderr.contains(obeyed), "{verb:?}: {output:?}");
        let value: Value = serde_json::from_str(&output.stdout)?;
        let path = ["path", "image"].iter().find_map(|key| value[key].as_str());
        ensure!(path.is_none_or(|path| path == odd), "{verb:?}: {value}");
    }
    ensure!(info(desk, odd)?["path"] == odd, "{}", info(desk, odd)?);
    let text = condatainer(desk, &["overlay", "info", odd])?.success()?.stdout;
    ensure!(text.contains(r"odd\u{9b}31m\u{7f}.img"), "{text:?}");
    Ok(())
}

fn overlay_info_of_every_kind(desk: &Desk) -> Result<()> {
    desk.squashfs("a.sqf", "")?;
    let value = info(desk, "a.sqf")?;
    ensure!(value["compression"].is_string() && value["inodes_total"].as_u64() > Some(2), "{value}");
    let value = info(desk, "/srv/base/base.sif")?;
    ensure!(value["partitions"][0]["role"] == "primary" && value["partitions"][0]["kind"] == "squashfs", "{value}");
    let value = info(desk, "/srv/base/base")?;
    ensure!(value["kind"] == "directory" && value["entries"].as_u64() > Some(5), "{value}");
    desk.script("cp /srv/base/base.sif own.sif; apptainer overlay create --size 64 own.sif")?.success()?;
    let value = info(desk, "own.sif")?;
    ensure!(value["partitions"].as_array().is_some_and(|all| all.len() == 2), "{value}");
    ensure!(value["partitions"][1]["role"] == "overlay" && value["upper"]["uid"] == 1001, "{value}");
    desk.image("env.img")?;
    by_hand(desk, "env.img", "rm /etc/condatainer-base")?.success()?;
    let output = condatainer(desk, &["overlay", "info", "--scan", "--json", "env.img"])?.success()?;
    let value: Value = serde_json::from_str(&output.stdout)?;
    ensure!(value["whiteouts"] == "fuse" && value["whiteout_counts"]["fuse"] == 1, "{value}");
    let output = condatainer(desk, &["overlay", "info", "--scan", "env.img"])?.success()?;
    ensure!(
        output.stdout.contains("whiteouts   fuse (1 files .wh.*") && !output.stdout.contains('\u{1b}'),
        "{output:?}"
    );
    let seen = |variable: &str| {
        desk.command().terminal().env("TERM", "xterm").env(variable, "1").run(&[
            "condatainer",
            "overlay",
            "info",
            "env.img",
        ])
    };
    ensure!(seen("X")?.success()?.stdout.contains('\u{1b}'), "no colours on a terminal");
    ensure!(!seen("NO_COLOR")?.success()?.stdout.contains('\u{1b}'), "NO_COLOR is not honoured");
    desk.script("echo text > text")?.success()?;
    condatainer(desk, &["overlay", "info", "text"])?.ends_with(1)?.complains("text: is a text file; a layer is a ")?;
    Ok(())
}

fn overlay_chown_and_back(desk: &Desk) -> Result<()> {
    desk.image_with("env.img", "1001:1001", "mkdir d; echo 1 > d/f")?;
    condatainer(desk, &["overlay", "chown", "--root", "env.img"])?.success()?;
    desk.srun_in("env.img:rw", "id -u; stat -c %u:%g /d/f; echo 2 >> /d/f")?
        .says("0\n0:0")?
        .complains("fakeroot turned on: ")?;
    condatainer(desk, &["overlay", "chown", "env.img"])?.success()?;
    desk.srun_in("env.img:rw", "id -u; stat -c %u:%g /d/f; xargs < /d/f")?
        .says("1001\n1001:1001\n1 2")?
        .without_a_word()?;
    desk.is_clean("env.img")
}

fn a_dry_run_starts_nothing(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    let before = desk.bytes("env.img")?;
    let output = condatainer(desk, &["exec", "--dry-run", "-w", "-o", "env.img", "echo", "RAN"])?.success()?;
    ensure!(output.stdout.contains("apptainer") && output.stdout.contains(&desk.path("env.img")), "{output:?}");
    let output = condatainer(desk, &["exec", "--dry-run=json", "-o", "env.img", "sh", "-c", "touch ran"])?.success()?;
    let plan: Value = serde_json::from_str(&output.stdout)?;
    ensure!(plan["base"] == "/srv/base/base.sqf" && plan["stack"][0]["ro"] == desk.path("env.img"), "{plan}");
    ensure!(desk.files()? == ["env.img"] && desk.changed_blocks(&before, "env.img")?.is_empty(), "something happened");
    Ok(())
}

fn user_namespaces_switched_off_is_said(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    // The switch belongs to a user namespace: in one of its own it can be turned without touching the machine.
    let text = "unshare --user --map-users=all --map-groups=all sh -c 'echo 0 > /proc/sys/user/max_user_namespaces &&
        exec setpriv --reuid alice --regid alice --clear-groups env HOME=/home/alice condatainer exec -o env.img echo RAN'";
    let output = desk.as_root(text)?.ends_with(125)?;
    output.complains("user namespaces are switched off on this machine, and Apptainer needs them").map(drop)
}

fn the_user_configures_a_base(desk: &Desk) -> Result<()> {
    let show = ["exec", "--dry-run=json", "-b", "/srv/base/base", "true"];
    let base = |output: cluster::Output| {
        let plan: Value = serde_json::from_str(&output.success()?.stdout)?;
        Ok::<_, anyhow::Error>(plan["base"].as_str().unwrap_or_default().to_owned())
    };
    ensure!(base(condatainer(desk, &show)?)? == "/srv/base/base", "-b");
    let environment = desk.command().env("CONDATAINER_BASE", "/srv/base/base.sif");
    ensure!(
        base(environment.run(&["condatainer", "exec", "--dry-run=json", "true"])?)? == "/srv/base/base.sif",
        "CONDATAINER_BASE"
    );
    desk.script("mkdir -p xdg/condatainer; echo 'base = \"/srv/base/base\"' > xdg/condatainer/config.toml")?
        .success()?;
    let file = desk.command().env("XDG_CONFIG_HOME", &desk.path("xdg"));
    ensure!(
        base(file.run(&["condatainer", "exec", "--dry-run=json", "true"])?)? == "/srv/base/base",
        "the user's file"
    );
    Ok(())
}

fn usage_errors_are_2(desk: &Desk) -> Result<()> {
    for arguments in [
        &["exec", "-o"][..],
        &["no-such-verb"],
        &["exec", "--no-such-option", "true"],
        &["overlay", "chown", "--root", "-u", "1", "-g", "1", "x"],
        &["o", "-s", "much"],
    ] {
        condatainer(desk, arguments)?.ends_with(2)?;
    }
    condatainer(desk, &["--help"])?.success()?;
    Ok(())
}

fn version_says_commit_and_engine(desk: &Desk) -> Result<()> {
    let said = condatainer(desk, &["--version"])?.success()?.stdout;
    let commit = said.split_once("(commit ").and_then(|(_, rest)| rest.split_once(')')).context("no commit")?.0;
    ensure!(commit.len() >= 12 && commit.bytes().all(|byte| byte.is_ascii_hexdigit()), "{said}");
    ensure!(said.contains("configuration: /etc/condatainer/config.toml\nengine: Apptainer 1."), "{said}");
    ensure!(condatainer(desk, &["-V"])?.success()?.stdout == said, "-V says something else");
    Ok(())
}

fn completions_are_printed(desk: &Desk) -> Result<()> {
    for shell in ["bash", "zsh", "fish"] {
        let output = condatainer(desk, &["completions", shell])?.success()?;
        ensure!(output.stdout.contains("condatainer"), "{shell}: {output:?}");
    }
    Ok(())
}

/// A name that is no text, with a line's end in it. The JSON is text all the same, and a message is one line.
fn any_name_can_be_told(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    let verbs = "name=$(printf 'b\\377d\\nx.img'); mv env.img \"$name\"
        condatainer overlay chown --json \"$name\" | head -c 1 | grep -q {
        for verb in info check diff 'resize -s 80M' seal; do
            condatainer overlay $verb --json \"$name\" > said 2> err || { echo $verb; cat err; continue; }
            grep -q $'b\\uFFFDd' said || { echo $verb; cat said; }
        done
        condatainer -q overlay info $'no\nsuch.img' 2>&1 | wc -l";
    desk.script(&format!("export LC_ALL=C.UTF-8\n{verbs}"))?.says("1")?;
    Ok(())
}

/// The reader of a pipe that is closed is no failure, and a panic even less.
fn who_has_seen_enough_may_go(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    let verbs = "for verb in 'overlay info' 'overlay info --json' 'overlay check --json' 'overlay chown --json' 'completions bash'; do
            image=env.img; [ \"$verb\" = 'completions bash' ] && image=
            { sleep 0.1; condatainer $verb $image; echo $? >> codes; } 2>> err | :
            condatainer $verb $image > /dev/full 2>> full; echo $? >> codes
        done; cat err; xargs < codes; sort -u full";
    let full = "condatainer: cannot write the result: No space left on device";
    desk.script(verbs)?.says(&format!("0 1 0 1 0 1 0 1 0 1\n{full}"))?;
    Ok(())
}
