//! A second terminal in a session: `join` enters what `e`, `exec` and `run` have started, as it enters a step, and ends with it.

use anyhow::{Context, Result, ensure};

use crate::image::writers::while_held;
use crate::slurm::ends::is_gone;
use crate::support::{Desk, Expect, tests};

tests! {
    Apptainer, Desk: [
        a_second_terminal_works_in_the_same_image, a_refused_writer_is_told_the_way_in, a_step_is_joined_by_its_image, a_session_of_roots_is_joined, without_subordinate_ids_too,
        sessions_that_read_are_told_apart, a_joined_shell_is_a_shell_at_its_terminal, the_end_of_a_session_ends_what_has_joined,
        a_command_that_confines_itself_is_joined, a_command_that_has_gone_elsewhere_is_said, a_session_in_a_job_is_joined_on_its_node, other_users_stay_outside, root_joins_nobody_elses_session, what_cannot_be_joined_is_said,
    ];
}

/// Starts `condatainer` with these words and a command that lasts until the file `NAME` is removed; its words go to `NAME.said`, its
/// exit code to `NAME.code`.
fn begin(desk: &Desk, name: &str, words: &str) -> Result<()> {
    let last = format!("touch {name}; while [ -e {name} ]; do sleep 0.1; done; cat /joined 2> /dev/null; exit 3");
    desk.script(&format!("(condatainer {words} -- sh -c '{last}' > {name}.said 2>&1; echo $? > {name}.code) &"))?
        .success()?;
    desk.wait_until(&format!("[ -e {name} ]"))
}

/// Lets it end by itself; what it has said.
fn end(desk: &Desk, name: &str) -> Result<String> {
    desk.script(&format!("rm -f {name}"))?.success()?;
    desk.wait_until(&format!("[ -s {name}.code ]"))?;
    desk.run(&["cat", &format!("{name}.code")])?.says("3")?;
    desk.written(&format!("{name}.said"))
}

/// The sessions that `ps` shows of this desk's files.
fn shown(desk: &Desk) -> Result<Vec<serde_json::Value>> {
    let all: serde_json::Value = serde_json::from_str(&desk.run(&["condatainer", "ps", "--json"])?.success()?.stdout)?;
    let is_ours = |kept: &&serde_json::Value| kept["session"] == true && kept["layers"].to_string().contains(&desk.dir);
    Ok(all.as_array().into_iter().flatten().filter(is_ours).cloned().collect())
}

fn number(kept: &serde_json::Value, what: &str) -> Result<String> {
    Ok(kept[what].as_i64().with_context(|| kept.to_string())?.to_string())
}

fn join(desk: &Desk, container: &str, shell: &str) -> Result<cluster::Output> {
    desk.run(&["condatainer", "join", container, "sh", "-c", shell])
}

/// Privileges, groups and namespaces.
const STANDING: &str = "grep -E '^(Uid|Gid|Groups|Cap|NoNewPrivs|Seccomp)' /proc/PID/status; for n in user mnt pid net ipc uts; do readlink /proc/PID/ns/$n; done";

fn a_second_terminal_works_in_the_same_image(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    desk.squashfs(
        "low.sqf",
        "mkdir -p cnt/tool/1/bin; echo 'echo tool' > cnt/tool/1/bin/tool; chmod +x cnt/tool/1/bin/tool",
    )?;
    begin(desk, "held", "e --env GIVEN='a  b' low.sqf env.img")?;
    let [session] = &shown(desk)?[..] else { anyhow::bail!("{:?}", shown(desk)?) };
    let (keeper, first) = (number(session, "keeper")?, number(session, "first")?);
    ensure!(session["user"] == "alice" && session["layers"].to_string().contains("env.img:rw"), "{session}");
    let table = desk.run(&["condatainer", "ps"])?.success()?.stdout;
    ensure!(table.lines().any(|line| line.starts_with(&keeper) && line.contains("alice")), "{table}");

    let image = desk.path("env.img");
    desk.script("condatainer join env.img sh -c 'echo $$ > inside.new; mv inside.new inside; exec sleep 1000' > /dev/null 2>&1 &")?;
    desk.wait_until("[ -e inside ]")?;
    let inside = desk.written("inside")?;
    for name in ["env.img", &image, "./env.img", "low.sqf", &keeper, &first, inside.trim()] {
        join(desk, name, "tool; echo $GIVEN; echo $IN_CONDATAINER; pwd; echo kept > /joined")?
            .says(&format!("tool\na b\n1\n{}", desk.dir))
            .with_context(|| name.to_owned())?;
    }
    // Nothing is granted that the session's own command does not have.
    let own = join(desk, "env.img", &STANDING.replace("PID", "self"))?.success()?.stdout;
    let theirs = join(desk, "env.img", &STANDING.replace("PID", &first))?.success()?.stdout;
    ensure!(own == theirs && own.contains("NoNewPrivs:\t1"), "{own}\n{theirs}");
    let tab = "_CLAP_IFS=, _CLAP_COMPLETE_INDEX=2 CONDATAINER_COMPLETE=bash condatainer -- condatainer join ''";
    let offered = desk.script(tab)?.success()?.stdout;
    ensure!(offered.split(',').any(|one| one.trim() == keeper), "the Tab key offers {offered}, without {keeper}");
    join(desk, &keeper, "exit 7")?.ends_with(7)?;
    join(desk, &keeper, "kill -KILL $$")?.ends_with(137)?;
    desk.run(&["condatainer", "join", &keeper, "no-such"])?
        .ends_with(127)?
        .complains("no such command in the container")?;
    desk.script("mkdir -p elsewhere; cd elsewhere; condatainer join ../env.img pwd")?.says(&desk.path("elsewhere"))?;
    desk.script("cd /; condatainer join ~1/env.img pwd".replace("~1", &desk.dir).as_str())?.says("/")?;
    let said = end(desk, "held")?;
    let expected = "condatainer: ended 1 process that had joined this container\n";
    // What is written there is seen at once on both sides.
    let said = said.strip_prefix("condatainer: writing to ./env.img\nkept\n").with_context(|| said.clone())?;
    ensure!(said == expected, "{said}");
    ensure!(shown(desk)?.is_empty(), "{:?}", shown(desk)?);
    is_gone(desk)?;
    desk.exec(&["-o", "env.img"], "cat /joined")?.says("kept").map(drop)
}

fn a_refused_writer_is_told_the_way_in(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    begin(desk, "held", "exec -w -o env.img")?;
    let way_in = format!(", or enter it: condatainer join {}\n", desk.path("env.img"));
    for typed in [
        &["e", "env.img", "--", "true"][..],
        &["exec", "-o", "env.img", "true"],
        &["exec", "-w", "-o", "env.img", "true"],
    ] {
        let refused = desk.run(&[&["condatainer"], typed].concat())?.ends_with(125)?;
        ensure!(refused.stderr.contains("in use for writing by user alice, process "), "{}", refused.stderr);
        let (_, line) = refused.stderr.split_once(", or enter it: ").with_context(|| refused.stderr.clone())?;
        ensure!(refused.stderr.ends_with(&way_in), "{}", refused.stderr);
        // As it is typed.
        desk.script(&format!("{} echo inside", line.trim()))?.says("inside")?;
    }
    let refused = desk.srun_in("env.img", "echo RAN")?.ends_with(125)?;
    ensure!(refused.stderr.ends_with(&way_in) || refused.stderr.contains(&way_in), "{}", refused.stderr);
    // Work that nobody can join, and another user's, are waited for.
    end(desk, "held")?;
    is_gone(desk)
}

/// The way in is the same where a step writes.
fn a_step_is_joined_by_its_image(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    while_held(desk, "rw", |_| {
        let refused = desk.run(&["condatainer", "e", "env.img", "--", "true"])?.ends_with(125)?;
        refused.complains(&format!(", or enter it: condatainer join {}\n", desk.path("env.img")))?;
        join(desk, "env.img", "echo $SLURM_JOB_NAME > /joined; cat /joined; [ -e /opt/layers/env ] && echo inside")?
            .holds("inside")
    })?;
    is_gone(desk)
}

fn a_session_of_roots_is_joined(desk: &Desk) -> Result<()> {
    desk.root_image("env.img")?;
    begin(desk, "held", "-q e env.img")?;
    let first = number(&shown(desk)?[0], "first")?;
    join(desk, "env.img", "id -u; touch /by-root && chown 42:42 /by-root && stat -c %u:%g /by-root")?
        .says("0\n42:42")?;
    let own = join(desk, "env.img", &STANDING.replace("PID", "self"))?.success()?.stdout;
    let theirs = join(desk, "env.img", &STANDING.replace("PID", &first))?.success()?.stdout;
    ensure!(own == theirs, "{own}\n{theirs}");
    end(desk, "held")?;
    is_gone(desk)
}

/// bob has no subuid range: Apptainer maps root alone, and puts its `fakeroot` in front.
fn without_subordinate_ids_too(desk: &Desk) -> Result<()> {
    let bob = desk.of("bob")?;
    bob.root_image("env.img")?;
    begin(&bob, "held", "-q e env.img")?;
    join(&bob, "env.img", "id -u; touch /by-root; stat -c %u /by-root")?.says("0\n0")?;
    end(&bob, "held")?;
    is_gone(&bob)?;
    begin(&bob, "held", "-q exec -o env.img")?;
    join(&bob, "env.img", "id -u; ls /by-root; touch /x")?.ends_with(1)?.complains("Read-only file system")?;
    end(&bob, "held")?;
    is_gone(&bob)
}

fn sessions_that_read_are_told_apart(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    begin(desk, "one", "exec -o env.img --env WHICH=one")?;
    begin(desk, "two", "exec -o env.img --env WHICH=two")?;
    let sessions = shown(desk)?;
    let keepers = sessions.iter().map(|kept| number(kept, "keeper")).collect::<Result<Vec<_>>>()?;
    let refused = join(desk, "env.img", "echo RAN")?.ends_with(125)?.without_stdout()?;
    refused.complains(&format!("env.img: several containers on this node: name one of {}", keepers.join(", ")))?;
    let said: Vec<String> =
        keepers.iter().map(|keeper| Ok(join(desk, keeper, "echo $WHICH")?.success()?.stdout)).collect::<Result<_>>()?;
    ensure!(said.contains(&"one\n".into()) && said.contains(&"two\n".into()), "{said:?}");
    join(desk, &keepers[0], "touch /x")?.ends_with(1)?.complains("Read-only file system")?;
    end(desk, "one")?;
    join(desk, "env.img", "echo $WHICH")?.says("two")?;
    end(desk, "two")?;
    // A reader's lock is let go of a moment after its end.
    is_gone(desk)
}

fn a_joined_shell_is_a_shell_at_its_terminal(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    begin(desk, "held", "e env.img")?;
    let foreground = "sh -c 'read pid name state parent group session tty front rest < /proc/self/stat; [ $group = $front ] && echo foreground $((6*7))'";
    let lines = format!(
        "tty > /dev/null && echo terminal $((6*7))\n{foreground}\nsleep 1000 &\njobs\nkill %1; wait %1; echo ended $?\nexit 6\n"
    );
    let shell = ["condatainer", "join", "env.img", "bash", "--norc", "-i"];
    let typed = desk.command().terminal().stdin(lines).run(&shell)?.ends_with(6)?;
    ensure!(!typed.stdout.contains("no job control"), "{}", typed.stdout);
    for text in ["terminal 42", "foreground 42", "Running", "ended 143"] {
        ensure!(typed.stdout.contains(text), "{text}: {}", typed.stdout);
    }
    // Without a command it is the user's shell.
    let shell = desk.command().terminal().stdin("echo shell $0 $IN_CONDATAINER\nexit 5\n").run(&[
        "condatainer",
        "join",
        "env.img",
    ])?;
    ensure!(shell.code == 5 && shell.stdout.contains("shell /bin/bash 1"), "{shell:?}");
    // Its prompt says where it is.
    ensure!(shell.stdout.contains("(env.img rw)"), "{shell:?}");
    end(desk, "held")?;
    is_gone(desk)
}

fn the_end_of_a_session_ends_what_has_joined(desk: &Desk) -> Result<()> {
    for round in 0..2 {
        desk.image("env.img")?;
        begin(desk, "held", "e env.img")?;
        // An interactive shell, which ignores SIGTERM, works at a terminal; another command ignores all that it can.
        let lines = "touch typed\nwhile [ -e held ]; do sleep 0.1; done; sleep 100\n";
        let at_terminal = desk.command().terminal().stdin(lines);
        let deaf = "trap '' TERM HUP INT; touch deaf; while :; do sleep 0.1; done";
        let (typed, said) = std::thread::scope(|scope| {
            let typed = scope.spawn(|| at_terminal.run(&["condatainer", "join", "env.img", "bash", "--norc", "-i"]));
            let deaf = scope.spawn(|| join(desk, "env.img", deaf));
            let said = desk.wait_until("[ -e typed ] && [ -e deaf ]").and_then(|()| end(desk, "held"));
            (typed.join().unwrap().and_then(|typed| Ok((typed, deaf.join().unwrap()?))), said)
        });
        let ((typed, deaf), said) = (typed?, said?);
        ensure!(said.contains("condatainer: ended ") && said.contains("that had joined this container"), "{said}");
        ensure!(typed.stdout.contains("the session that was joined here has ended"), "round {round}: {}", typed.stdout);
        ensure!((typed.code, deaf.code) == (129, 137), "round {round}: {} {}", typed.code, deaf.code);
        ensure!(deaf.stderr.contains("the session that was joined here has ended"), "{}", deaf.stderr);
        is_gone(desk)?;
        desk.script("rm -f typed deaf *.code")?.success()?;
    }
    // What nobody has joined says nothing.
    begin(desk, "held", "e env.img")?;
    let said = end(desk, "held")?;
    ensure!(!said.contains("ended"), "{said}");
    is_gone(desk)
}

/// As a browser does. The container has no such filter, so whoever joins needs none. 157 is prctl(2); the filter has one instruction,
/// which allows all.
const FILTERED: &str = r#"my $code = pack 'SCCL', 6, 0, 0, 0x7fff0000; my $filter = pack 'Sx6P', 1, $code;
    syscall(157, 38, 1, 0, 0, 0) == 0 && syscall(157, 22, 2, $filter) == 0 or die $!; shift; exec @ARGV"#;

/// As ssh-agent does: in /proc the process is root's from now on.
const HIDDEN: &str = r#"syscall(157, 4, 0, 0, 0, 0) == 0 or die $!; open my $held, '>', 'held';
    select undef, undef, undef, 0.05 while -e 'held'; exit 3"#;

fn a_command_that_confines_itself_is_joined(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    desk.write("filtered", FILTERED)?;
    begin(desk, "held", "e env.img -- perl filtered")?;
    let first = number(&shown(desk)?[0], "first")?;
    desk.script(&format!("grep Seccomp: /proc/{first}/status"))?.says("Seccomp:\t2")?;
    join(desk, "env.img", "echo kept > /joined; grep Seccomp: /proc/self/status")?.says("Seccomp:\t0")?;
    let refused = desk.run(&["condatainer", "e", "env.img", "--", "true"])?.ends_with(125)?;
    refused.complains(&format!(", or enter it: condatainer join {}\n", desk.path("env.img")))?;
    ensure!(end(desk, "held")?.contains("kept\n"), "it was another file system");
    desk.write("hidden", HIDDEN)?;
    desk.script("rm *.code")?.success()?;
    begin(desk, "held", "e env.img -- perl hidden")?;
    join(desk, "env.img", "cat /joined")?.says("kept")?;
    end(desk, "held")?;
    is_gone(desk)
}

fn a_command_that_has_gone_elsewhere_is_said(desk: &Desk) -> Result<()> {
    for command in ["unshare --user --map-root-user --mount", "unshare --user --map-root-user"] {
        desk.image("env.img")?;
        begin(desk, "held", &format!("e env.img -- {command}"))?;
        join(desk, "env.img", "echo RAN")?
            .ends_with(125)?
            .without_stdout()?
            .complains("its command has gone into namespaces of its own")?;
        // Nobody is sent there.
        let refused = desk.run(&["condatainer", "e", "env.img", "--", "true"])?.ends_with(125)?;
        ensure!(refused.stderr.contains("in use") && !refused.stderr.contains("join"), "{command}: {}", refused.stderr);
        end(desk, "held")?;
        is_gone(desk)?;
        desk.script("rm env.img *.code")?.success()?;
    }
    Ok(())
}

fn a_session_in_a_job_is_joined_on_its_node(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    let work = "touch held; while [ -e held ]; do sleep 0.1; done; cat /from-outside";
    let id = desk.submit(&[], &format!("#!/bin/sh\ncondatainer exec -w -o env.img sh -c '{work}'\n"))?.to_string();
    desk.wait_until("[ -e held ]")?;
    let in_job = ["--overlap", &format!("--jobid={id}"), "--condatainer-off", "condatainer", "join"];
    let joined =
        desk.srun(&[&in_job[..], &[&id, "sh", "-c", "echo $SLURM_JOB_ID > /from-outside; echo inside"]].concat())?;
    joined.says("inside")?;
    // From the command line of the same node too.
    join(desk, "env.img", "cat /from-outside")?.says(&id)?;
    desk.script("rm held")?.success()?;
    desk.job_ends(id.parse()?)?;
    ensure!(desk.output_of(id.parse()?)? == format!("{id}\n"), "{}", desk.output_of(id.parse()?)?);
    is_gone(desk)
}

fn other_users_stay_outside(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    begin(desk, "held", "exec -w -o env.img")?;
    let session = shown(desk)?.remove(0);
    let (keeper, first) = (number(&session, "keeper")?, number(&session, "first")?);
    desk.script("chmod 755 ~ . ; chmod 644 env.img")?.success()?;
    let bob = desk.of("bob")?;
    for pid in [&keeper, &first] {
        let refused = join(&bob, pid, "echo RAN")?.ends_with(125)?.without_stdout()?;
        refused.complains(&format!("process {pid} belongs to alice, and only its owner can join it"))?;
        let entered = bob.run(&["nsenter", &format!("--target={pid}"), "--user", "--mount", "id"])?;
        ensure!(entered.code != 0 && entered.stdout.is_empty(), "{entered:?}");
        let fds = bob.script(&format!("ls /proc/{pid}/fd"))?;
        ensure!(fds.code != 0 && fds.stdout.is_empty(), "{fds:?}");
    }
    let refused = join(&bob, &desk.path("env.img"), "echo RAN")?.ends_with(125)?.without_stdout()?;
    refused.complains("no container of yours on this machine has it (user alice, process ")?;
    let table = bob.run(&["condatainer", "ps", "--json"])?.success()?.stdout;
    ensure!(!table.contains(&desk.dir), "{table}");
    // And his refusal does not send him there.
    let refused = bob.exec(&["-o", &desk.path("env.img")], "echo RAN")?.ends_with(125)?.without_stdout()?;
    ensure!(
        refused.stderr.contains("in use for writing by ") && !refused.stderr.contains("join"),
        "{}",
        refused.stderr
    );
    end(desk, "held")?;
    is_gone(desk)
}

/// A setuid program that another user has started looks like one of root's own, and has the descriptors that he has given it. Who
/// took its word for a session would run his programs, as root.
fn root_joins_nobody_elses_session(desk: &Desk) -> Result<()> {
    // 319 is memfd_create(2), 272 is unshare(2), here with CLONE_NEWUSER and CLONE_NEWNS. The program waits until somebody reads
    // what it complains of.
    let keep = r#"use Fcntl; use IO::Handle; $^F = 99; my $name = "condatainer-session";
        open(my $file, '+>&=', syscall(319, $name, 0)) or die $!;
        my $first = fork; if (!$first) { syscall(272, 0x10020000) == 0 or die $!; exec '/bin/sleep', 600 }
        my $own = readlink '/proc/self/ns/mnt'; my $space = $own;
        while ($space eq $own) { $space = readlink "/proc/$first/ns/mnt" }
        my $user = readlink "/proc/$first/ns/user";
        my $lines = join ',', map '["' . $_ . '","1"]', qw(CapInh CapPrm CapEff CapBnd CapAmb NoNewPrivs);
        $lines .= ',["Seccomp","0"]';
        print $file qq({"keeper":$$,"first":$first,"namespace":"$space","user_namespace":"$user","layers":[],"identities":[],"directory":[47],);
        print $file qq("status":[$lines],"words":3,"variables":0}\n--\0);
        $file->flush;
        pipe(my $r, my $w); fcntl($w, F_SETFL, O_WRONLY | O_NONBLOCK); 1 while syswrite($w, 'x' x 4096); 1 while syswrite($w, 'x');
        fcntl($w, F_SETFL, O_WRONLY); open STDERR, '>&', $w; exec {'./condatainer'} @ARGV"#;
    let bob = desk.of("bob")?;
    bob.write("keep", keep)?;
    bob.script("ln -s /usr/bin/su condatainer")?.success()?;
    let start = "setsid perl keep condatainer --no-such < /dev/null > said 2>&1 & echo $!";
    let keeper = bob.script(start)?.success()?.stdout.trim().to_owned();
    bob.wait_until(&format!("pgrep -P {keeper} sleep && grep -qx condatainer /proc/{keeper}/comm"))?;
    let joined =
        desk.as_root(&format!("ls -l /proc/{keeper}/fd; condatainer join {keeper} id; echo code $?; condatainer ps"));
    desk.as_root(&format!("pkill -P {keeper} sleep; kill -9 {keeper}"))?;
    let joined = joined?;
    ensure!(joined.stdout.contains("/memfd:condatainer-session"), "this shows nothing: {joined:?}");
    ensure!(joined.stderr.contains("no such job or step has a container of yours"), "{joined:?}");
    ensure!(joined.stdout.contains("code 125") && !joined.stdout.contains("uid="), "{joined:?}");
    Ok(())
}

fn what_cannot_be_joined_is_said(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    let missing = |what: &str, text: &str| -> Result<()> {
        desk.run(&["condatainer", "join", what, "echo", "RAN"])?
            .ends_with(125)?
            .without_stdout()?
            .complains(text)
            .map(drop)
    };
    missing("env.img", "env.img: no container of yours on this machine has it: 'condatainer ps' shows them")?;
    missing("none.img", "none.img: no such file or directory")?;
    missing("4194304", "4194304: no such job or step has a container of yours on this node: ")?;
    missing("7.0", "7.0: no such job or step has a container of yours on this node: ")?;
    missing("no-such-layer", "no-such-layer")?;
    let own = "condatainer join $$ true; echo $?; echo $$ >&2";
    let said = desk.script(own)?.says("125")?.stderr;
    ensure!(said.contains(" is in none: "), "{said}");
    // From inside, what is outside is out of sight.
    begin(desk, "held", "exec -w -o env.img")?;
    desk.script("cp /usr/local/bin/condatainer .")?.success()?;
    let inside = format!("{}/condatainer join env.img echo RAN", desk.dir);
    join(desk, "env.img", &inside)?.ends_with(125)?.without_stdout()?.complains("join it from a terminal outside")?;
    end(desk, "held")?;
    is_gone(desk)
}
