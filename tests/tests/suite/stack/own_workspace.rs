//! A `:rw` image that our server writes: by every verb and in steps, as the user and as root, beside the engine's way, full, and killed.

use anyhow::{Context, Result, ensure};

use super::servers::{BY, MARK, OURS, nothing_is_left, ours, two_layers};
use crate::image::whiteouts::by_hand;
use crate::support::{Desk, Expect, tests, times};

tests! {
    ApptainerOnce, Desk: [
        every_verb_writes_by_our_server, steps_and_jobs_write_by_our_server, root_and_the_user_write_one_image, names_of_one_file_come_and_go,
        what_is_deleted_is_deleted_on_both_ways, a_sif_is_written_in_place, what_a_command_leaves_behind_holds_nobody,
        who_waits_for_the_disk_can_be_ended, a_full_image_is_the_commands_error, a_full_disk_is_the_commands_error, an_image_that_we_do_not_write_is_the_engines,
        whoever_is_killed_the_image_is_whole, a_killed_step_leaves_a_whole_image, a_killed_server_is_no_success_of_a_step, killed_at_any_moment, one_of_many_writes_at_a_time,
        what_lies_beside_the_home_directory_is_shown,
    ];
}

fn every_verb_writes_by_our_server(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    desk.write("script.sh", &format!("#!/bin/sh\n#DEP: {}:rw\n{BY}; echo run >> /verbs\n", desk.path("env.img")))?;
    for verb in [
        &format!("condatainer exec -w -o env.img -- sh -c '{BY}; echo exec >> /verbs'"),
        &format!("condatainer e -q env.img -- sh -c '{BY}; echo e >> /verbs'"),
        "condatainer run --no-submit script.sh",
        &format!("condatainer overlay with-root env.img -- sh -c '{BY}; echo root >> /verbs'"),
    ] {
        desk.script(verb)?.says(OURS).with_context(|| verb.to_owned())?;
        desk.is_clean("env.img")?;
    }
    desk.with_mounts("engine")
        .exec(&["-o", "env.img"], "cat /verbs; stat -c %u /verbs")?
        .says("exec\ne\nrun\nroot\n1001")?;
    nothing_is_left(desk)
}

fn steps_and_jobs_write_by_our_server(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    let task = format!("{BY}; mkdir -p /tasks; echo $SLURM_PROCID > /tasks/$SLURM_PROCID; sync /tasks/$SLURM_PROCID");
    let step = format!(
        "srun -n4 -O --condatainer-overlay=env.img:rw sh -c '{task}' | sort | uniq -c | awk '{{ print $1, $2 }}'"
    );
    desk.script(&step)?.says(&format!("4 {OURS}"))?.without_a_word()?;
    desk.is_clean("env.img")?;
    let (job, said) =
        desk.batch(&["--condatainer-overlay=env.img:rw"], &format!("#!/bin/sh\n{BY}; echo batch > /batch\n"))?;
    ensure!(job.code == 0 && said == format!("{OURS}\n"), "{job:?} {said}");
    let steps = "#!/bin/sh\n#SBATCH --condatainer-overlay=env.img:rw --condatainer-scope=steps\nsrun sh -c 'cat /batch > /copy'\nsrun cat /copy\n";
    let (job, said) = desk.batch(&[], steps)?;
    ensure!(job.code == 0 && said == "batch\n", "{job:?} {said}");
    desk.with_mounts("engine").exec(&["-o", "env.img"], "cat /tasks/*")?.says("0\n1\n2\n3")?;
    desk.is_clean("env.img")?;
    nothing_is_left(desk)
}

/// A file's user and group, as they are on disk.
fn on_disk(desk: &Desk, path: &str) -> Result<String> {
    let stat = format!("/sbin/debugfs -R 'stat /upper{path}' env.img 2> /dev/null | awk '/^User:/ {{ print $2, $4 }}'");
    Ok(desk.script(&stat)?.success()?.stdout.trim_end().into())
}

fn root_and_the_user_write_one_image(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    let exec =
        |options: &str, text: &str| ours(desk, &format!("condatainer exec {options} -w -o env.img -- sh -c '{text}'"));
    exec("", "mkdir /d; echo plain > /d/plain")?.success()?;
    let as_root = "cd /d; echo root > root; chmod 600 root; : > theirs; chown 42:43 theirs; echo more >> plain; mkdir -m 700 dir; stat -c %u plain root dir";
    exec("-f", as_root)?.says("0\n0\n0")?.without_a_word()?;
    // What root has made is the user's.
    exec(
        "",
        "cd /d; stat -c %u plain root dir theirs; echo more >> root; cat root; rm plain; : > dir/new; mv dir theirs /",
    )?
    .says("1001\n1001\n1001\n1001\nroot\nmore")?
    .without_a_word()?;
    ensure!(
        [on_disk(desk, "/d/root")?, on_disk(desk, "/theirs")?, on_disk(desk, "/dir/new")?]
            == ["0 0", "42 43", "1001 1001"]
    );
    exec("-f", "stat -c \"%u %g\" /theirs /dir/new")?.says("42 43\n0 0")?;
    // With a chown it works too, both ways.
    desk.run(&["condatainer", "overlay", "chown", "--root", "env.img"])?.success()?;
    exec("", "id -u; echo by root >> /d/root")?.says("0")?.complains("fakeroot turned on: ")?;
    exec("--no-fakeroot", "id -u; echo by me >> /d/root; tail -n2 /d/root")?.says("1001\nby root\nby me")?;
    desk.run(&["condatainer", "overlay", "chown", "env.img"])?.success()?;
    exec("", "id -u; rm -r /d /dir; stat -c %u /")?.says("1001\n1001")?.without_a_word()?;
    ensure!(on_disk(desk, "/theirs")? == "42 43", "{}", on_disk(desk, "/theirs")?);
    desk.is_clean("env.img")?;
    nothing_is_left(desk)
}

/// dpkg links `status` to `status-old`, and renames `status-new` over it; whoever lists both meanwhile must not be in its way.
fn names_of_one_file_come_and_go(desk: &Desk) -> Result<()> {
    desk.image_with("env.img", "1001:1001", "mkdir old; echo old > old/a; ln old/a old/b; ln old/a old/c")?;
    desk.write(
        "names.sh",
        "#!/bin/bash\nset -e; mkdir /t; cd /t; l() { ls -l > /dev/null; }
        for i in 1 2 3; do rm -f st-old; l; [ $i = 1 ] || ln st st-old; l; echo $i > st-new; l; mv st-new st; l; cat st; done; cat st-old
        echo x > x; ln x y; l; rm x; l; ln y x; l; echo z > z; mv z y; l; mv x w; l; rm w y
        cd /old; l; rm a; l; echo n > n; mv n b; l; ln c a; l; mv a c2; l; rm c; cat c2 b; exec 3>> c2; ln c2 d; l; rm c2; echo more >&3; cat d\n",
    )?;
    for layer in ["env.img:rw", "env.img:tmp"] {
        ours(desk, &format!("condatainer exec -o {layer} -- ./names.sh"))?
            .says("1\n2\n3\n2\nold\nn\nold\nmore")
            .context(layer)?;
        desk.image_with("env.img", "1001:1001", "mkdir old; echo old > old/a; ln old/a old/b; ln old/a old/c")?;
    }
    nothing_is_left(desk)
}

fn what_is_deleted_is_deleted_on_both_ways(desk: &Desk) -> Result<()> {
    two_layers(desk)?;
    let layers = |mode: &'static str| ["-o", "mod.sqf", "-o", mode];
    let (own, engines) = (desk.with_mounts("own"), desk.with_mounts("engine"));
    let delete = "rm /opt/mod/file /own/file; rm -r /usr/share/base-files; mkdir /usr/share/base-files; : > /usr/share/base-files/new";
    own.exec(&layers("env.img:rw"), delete)?.success()?.without_a_word()?;
    desk.is_clean("env.img")?;
    let look = "ls -A /usr/share/base-files; ls -A /opt/mod /own | xargs";
    let seen = "new\n/opt/mod: link /own: link";
    engines.exec(&layers("env.img:ro"), look)?.says(seen)?;
    by_hand(desk, "env.img", "ls -A /usr/share/base-files; ls -A /own")?.says("new\nlink")?;
    // The other way round, of which the first look must tell.
    let delete = "rm /opt/mod/link; rm -r /usr/share/doc; mkdir /usr/share/doc; : > /usr/share/doc/new; echo again > /opt/mod/file";
    engines.exec(&layers("env.img:rw"), delete)?.success()?;
    for mode in ["env.img:ro", "env.img:tmp", "env.img:rw"] {
        own.exec(&layers(mode), "ls -A /usr/share/doc; ls -A /opt/mod; cat /opt/mod/file")?
            .says("new\nfile\nagain")
            .context(mode)?;
    }
    own.exec(&layers("env.img:rw"), "rm /opt/mod/file /usr/share/doc/new; ls -A /opt/mod /usr/share/doc | wc -w")?
        .says("2")?;
    engines.exec(&layers("env.img:rw"), "ls -A /opt/mod /usr/share/doc | wc -w")?.says("2")?;
    desk.is_clean("env.img")?;
    nothing_is_left(desk)
}

fn a_sif_is_written_in_place(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    let add = "cp /srv/base/base.sif own.sif; chmod u+w own.sif
        apptainer sif add --datatype 4 --partfs 2 --parttype 4 --partarch 2 --groupid 1 own.sif env.img; stat -c '%i %s' own.sif > before";
    desk.script(add)?.success()?;
    let own = desk.with_mounts("own");
    own.exec(&["-w", "-o", "own.sif"], &format!("{BY}; echo written > /written; rm /etc/condatainer-base"))?
        .says(OURS)?;
    let look =
        "cat /written; ls /etc/condatainer-base 2>&1 | wc -l; ls /etc/condatainer-base > /dev/null 2>&1 || echo gone";
    for who in ["own", "engine"] {
        desk.with_mounts(who).exec(&["-o", "own.sif"], look)?.says("written\n1\ngone").context(who)?;
    }
    desk.script("stat -c '%i %s' own.sif | cmp - before && apptainer exec own.sif cat /written")?.says("written")?;
    nothing_is_left(desk)
}

/// Neither the verb nor the image waits for a daemon, and what it has written is there.
fn what_a_command_leaves_behind_holds_nobody(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    let daemon = "exec 3> /log; while :; do echo beat >&3; sleep 0.01; done";
    let text = format!(
        "condatainer exec -w -o env.img -- sh -c 'setsid sh -c \"{daemon}\" > /dev/null 2>&1 & until [ -s /log ]; do :; done'"
    );
    let output = ours(desk, &text)?.ends_with(0)?;
    ensure!(output.elapsed.as_secs() < 100, "{output:?}");
    desk.is_clean("env.img")?;
    ours(desk, "condatainer exec -w -o env.img -- head -n1 /log")?.says("beat")?.without_a_word()?;
    nothing_is_left(desk)
}

/// A server that somebody has stopped as well is made to go on; after the third signal it is left alone. The process itself may wait on when
/// it closes the image, until its file server is back.
fn who_waits_for_the_disk_can_be_ended(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    let disk = "condatainer o -s 100M disk.img > /dev/null; mkdir net; fuse2fs -o fakeroot,rw disk.img net > /dev/null 2>&1; disk=$(pgrep -u alice -f '^fuse2fs -o fakeroot,rw disk.img' -n); cp env.img net; mkfifo go";
    let waits = |word: &str| {
        format!(
            "condatainer exec -w -o net/env.img -- sh -c 'echo {word} > /{word}; : > there; read word < go' 2> said & start=$!; until [ -e there ] && [ -e net/.env.img.holder ]; do sleep 0.05; done
            rm there; kill -STOP $disk; echo on > go; until grep -q 'waiting until what was written' said; do sleep 0.1; done"
        )
    };
    let text = format!(
        "{disk}; {}; kill -STOP $(servers); kill -CONT $disk; wait $start || exit 77; cat said
        {}; timeout -s KILL 60 condatainer e env.img -- true || exit 78; for n in 1 2; do kill -TERM $start; sleep 0.3; done; ! grep replays said; kill -TERM $start; until grep replays said; do sleep 0.1; done; kill -CONT $disk; wait $start; code=$?
        until [ -z \"$(servers)\" ]; do sleep 0.1; done; condatainer exec -w -o net/env.img -- cat /first; condatainer overlay check net/env.img > /dev/null || echo bad; fusermount3 -u net; exit $code",
        waits("first"),
        waits("second")
    );
    let output = ours(desk, &text)?.ends_with(1)?;
    ensure!(output.stdout.matches("its next use replays its journal\n").count() == 1, "{output:?}");
    ensure!(output.stdout.ends_with("\nfirst\n") && output.elapsed.as_secs() < 120, "{output:?}");
    nothing_is_left(desk)
}

fn a_full_image_is_the_commands_error(desk: &Desk) -> Result<()> {
    desk.small_image("env.img")?;
    let fill = "head -c 30M /dev/zero > /big && echo RAN; stat -c %s /big | wc -c; perl -e \"open(F, q(>), q(/b)) or die; print F q(x) x 9000; close(F) or exit 3\"; echo $?; \
        rm /big; head -c 4M /dev/zero > /small && sync /small && echo fits; head -c 30M /dev/zero > /big || exit 5";
    let output = ours(desk, &format!("condatainer exec -w -o env.img -- sh -c '{fill}'"))?.ends_with(5)?;
    let output = output.complains("No space left on device")?;
    ensure!(output.stdout.ends_with("\n3\nfits\n") && !output.stdout.contains("RAN"), "{output:?}");
    desk.is_clean("env.img")?;
    let told = format!("{0}: is full: run 'condatainer overlay resize --free 1G {0}' first", desk.path("env.img"));
    ours(desk, "condatainer exec -w -o env.img -- rm /big")?.success()?.complains(&told)?;
    ours(desk, "srun --condatainer-overlay=env.img:rw sh -c 'head -c 30M /dev/zero > /big; exit 0'")?
        .ends_with(0)?
        .complains("No space left")?;
    ours(desk, "condatainer exec -w -o env.img -- rm /big")?.success()?;
    ours(desk, "condatainer exec -w -o env.img -- stat -c %s /small")?.says("4194304")?.without_a_word()?;
    nothing_is_left(desk)
}

/// What was accepted has its room in the image file, so it is there afterwards.
fn a_full_disk_is_the_commands_error(desk: &Desk) -> Result<()> {
    desk.as_root("mkdir small; mount -t tmpfs -o size=12m,mode=1777 small small; chown alice small")?.success()?;
    desk.script("head -c 2M /dev/zero > small/ballast")?.success()?;
    desk.image("small/env.img")?;
    let many = "echo few > /few; mkdir /d; for i in $(seq 20); do head -c 1000000 /dev/urandom > /d/$i && sum=$(cksum < /d/$i) && echo $i $sum >> /sums; done; wc -l < /sums";
    let output = ours(desk, &format!("condatainer exec -w -o small/env.img -- sh -c '{many}'"))?.ends_with(0)?;
    let whole: u32 = output.stdout.trim_end().parse()?;
    ensure!((1..12).contains(&whole), "{output:?}");
    output.complains("No space left on device")?.complains("MiB are free on its disk\n")?;
    desk.is_clean("small/env.img")?;
    desk.script("rm small/ballast")?.success()?;
    let check = "cat /few; while read i sum; do [ \"$(cksum < /d/$i)\" = \"$sum\" ] || echo $i; done < /sums; rm -r /d; echo gone";
    ours(desk, &format!("condatainer exec -w -o small/env.img -- sh -c '{check}'"))?.says("few\ngone")?;
    desk.is_clean("small/env.img")?;
    desk.image("small/new.img")?;
    desk.script("! cat /dev/zero > small/ballast 2> /dev/null; df --output=avail small | tail -n1 | tr -d ' '")?
        .says("0")?;
    let output = desk.refused(ours(desk, "condatainer exec -w -o small/new.img -- echo RAN")?, "full")?;
    ensure!(!output.stderr.contains("5.11"), "{output:?}");
    nothing_is_left(desk)?;
    desk.as_root("umount -l small").map(drop)
}

fn an_image_that_we_do_not_write_is_the_engines(desk: &Desk) -> Result<()> {
    let make = "mkdir -p tree/upper tree/work; PATH=$PATH:/usr/sbin
        mke2fs -q -F -t ext3 -I 512 -O none,has_journal,ext_attr,resize_inode,dir_index,filetype,sparse_super,large_file -d tree env.img 32M";
    desk.script(make)?.success()?;
    let line = format!("the engine mounts the layers of this start: {} has inodes of 512 bytes", desk.path("env.img"));
    let output =
        desk.exec(&["-w", "-o", "env.img"], &format!("{BY}; echo written > /file"))?.success()?.complains(&line)?;
    ensure!(output.stdout == "engine\n", "{output:?}");
    desk.refused(ours(desk, "condatainer exec -w -o env.img -- echo RAN")?, "has inodes of 512 bytes")?;
    ours(desk, "condatainer exec -o env.img -- cat /file")?.says("written").map(drop)
}

/// What was synced is there, and the image is whole at once, or when it is used next.
fn whoever_is_killed_the_image_is_whole(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    let kills = [
        ("kill -KILL $server; kill -TERM $start", true),
        ("kill -KILL $start; pkill -KILL -u alice -f '^sleep 7541'", true),
        ("kill -KILL $engine", true),
        ("kill -TERM $start", true),
        ("kill -KILL $server $start; pkill -KILL -u alice -f '^sleep 7541'", false),
    ];
    for (round, (kill, is_whole)) in kills.iter().enumerate() {
        let write = format!(
            "echo {round} > /synced; seq 2000 > /seq; sync /synced /seq; mkdir -p /d/{round}; seq 9 > /d/{round}/more; touch there; exec sleep 7541"
        );
        let text = format!(
            "rm -f there; condatainer exec -w -o env.img -- sh -c '{write}' & start=$!
            until [ -e there ] && pgrep -u alice -f '^sleep 7541' > /dev/null; do sleep 0.1; done
            server=$(servers); engine=$(pgrep -P $start | grep -vxF \"$server\" | head -n1); {kill}; wait $start; echo $?"
        );
        let output = ours(desk, &text)?;
        let context = || format!("{kill}: {output:?}");
        desk.wait_until("! pgrep -u alice -f '^sleep 7541'").with_context(context)?;
        nothing_is_left(desk).with_context(context)?;
        if *is_whole {
            desk.is_clean("env.img").with_context(context)?;
        }
        let look = "condatainer exec -w -o env.img -- sh -c 'cat /synced; tail -n1 /seq; echo on >> /on'";
        ours(desk, look)?.says(&format!("{round}\n2000")).with_context(context)?;
        desk.is_clean("env.img").with_context(context)?;
    }
    Ok(())
}

fn a_killed_step_leaves_a_whole_image(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    let write = "echo $SLURM_JOB_ID > /synced; sync /synced; seq 100 > /more; touch there; exec sleep 7542";
    for end in [
        "kill -KILL $(servers); scancel $JOB",
        "kill -KILL $(pgrep -u alice -f 'condatainer [k]eep' | head -n1)",
        "scancel --full --signal=KILL $JOB",
    ] {
        let job = format!(
            "#!/bin/sh\nexport CONDATAINER_MOUNTS=own\n{MARK}\nsrun --condatainer-overlay=env.img:rw sh -c '{write}'\n"
        );
        desk.script("rm -f there")?.success()?;
        let id = desk.submit(&[], &job)?;
        desk.wait_until("[ -e there ]")?;
        ours(desk, &format!("JOB={id}; {end}"))?;
        ours(desk, &format!("scancel {id}"))?;
        desk.job_ends(id)?;
        nothing_is_left(desk).with_context(|| end.to_owned())?;
        ours(desk, "condatainer exec -w -o env.img -- cat /synced")?
            .says(&id.to_string())
            .with_context(|| end.to_owned())?;
        desk.is_clean("env.img").with_context(|| end.to_owned())?;
    }
    desk.nodes_are_well()
}

/// The tasks have ended well by then, and the image is whole: only what nobody had synced is missing.
fn a_killed_server_is_no_success_of_a_step(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    desk.script("mkfifo go")?.success()?;
    let line = format!("{}: what wrote it was killed: what was written last may be lost", desk.path("env.img"));
    // All of the shell is in memory, so nothing is missing for its own end.
    let warm = "cat /bin/sh /lib/x86_64-linux-gnu/libc.so.6 /lib64/ld-linux-x86-64.so.2 > /dev/null";
    for (code, expected) in [(0, 1), (7, 7)] {
        let text = format!(
            "srun --condatainer-overlay=env.img:rw sh -c '{warm}; echo written > /written; : > there; read word < go; exit {code}' & start=$!
            until [ -e there ]; do sleep 0.1; done; kill -KILL $(servers); echo on > go; rm there; wait $start"
        );
        let output = ours(desk, &text)?.ends_with(expected)?;
        ensure!(output.stderr.matches(&line).count() == usize::from(code == 0), "{output:?}");
        output.complains("condatainer: what was written last in the step's container may be lost: ")?;
        desk.is_clean("env.img")?;
    }
    ours(desk, "srun --condatainer-overlay=env.img:rw touch /new")?.success()?.without_a_word()?;
    nothing_is_left(desk)?;
    desk.nodes_are_well()
}

/// The server dies in the middle of work; what was synced before has its number outside.
fn killed_at_any_moment(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    desk.write(
        "work.sh",
        "#!/bin/bash\nfor ((n = 0; ; n++)); do mkdir -p /w/$((n % 7)) || exit; f=/w/$((n % 7))/$n; echo $n > $f || exit; ln $f $f.l; mv $f.l $f.m
        if ((n % 4 == 0)); then sync $f || exit; echo $n > synced; else rm -f /w/*/$((n - 5)).m; fi; done\n",
    )?;
    for round in 0..times(6, 1000) {
        let text = format!(
            "rm -f synced; condatainer exec -w -o env.img -- ./work.sh > /dev/null 2>&1 & start=$!; until [ -s synced ]; do sleep 0.02; done
            sleep 0.{:02}; kill -KILL $(servers); wait $start; condatainer exec -w -o env.img -- sh -c 'n=$(cat synced); cat /w/$((n % 7))/$n; echo $n; rm -r /w'",
            round * 37 % 100
        );
        let output = ours(desk, &text)?.success()?;
        let [read, synced] = output.stdout.lines().collect::<Vec<_>>()[..] else { anyhow::bail!("{output:?}") };
        ensure!(read == synced, "round {round}: {output:?}");
        desk.is_clean("env.img").with_context(|| format!("round {round}"))?;
    }
    nothing_is_left(desk)
}

/// Whoever does not get the image is told who has it, and has done nothing.
fn one_of_many_writes_at_a_time(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    let text = "for n in $(seq 20); do condatainer exec -w -o env.img -- sh -c \"echo $n >> /lines; sync /lines\" 2> err.$n && echo $n >> done & done; wait
        sort done > ran; condatainer exec -o env.img -- sort /lines | cmp - ran && cat err.* | grep -v 'env.img: in use for writing by '; wc -l < ran";
    let output = ours(desk, text)?.success()?;
    let ran: u32 = output.stdout.trim_end().parse().with_context(|| format!("{output:?}"))?;
    ensure!((1..=20).contains(&ran), "{output:?}");
    desk.is_clean("env.img")?;
    nothing_is_left(desk)
}

/// The engine's own `/home` has one directory, where something is written.
fn what_lies_beside_the_home_directory_is_shown(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    desk.as_root("mkdir -p /home/lab/here && chown -R alice /home/lab && echo shared > /home/lab/here/file")?
        .success()?;
    let image = desk.path("env.img");
    for mode in ["rw", "tmp", "ro"] {
        let exec = format!("condatainer exec -o {image}:{mode}");
        let look = "cat file; pwd; cd; pwd; ls -d env.img";
        ours(desk, &format!("cp env.img ~/env.img; cd /home/lab/here; {exec} -- sh -c '{look}'"))?
            .says("shared\n/home/lab/here\n/home/alice\nenv.img")
            .context(mode)?;
        ours(desk, &format!("{exec} --bind /home/lab/here:/home/else/where -- cat /home/else/where/file"))?
            .says("shared")
            .context(mode)?;
    }
    desk.as_root("rm -r /home/lab")?;
    nothing_is_left(desk)
}
