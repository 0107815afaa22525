//! Starts whose layers we mount ourselves: what is seen, whose it is, that nothing of the images changes, and that nothing is left
//! whatever ends.

use anyhow::{Context, Result, ensure};
use cluster::{Output, Release};
use serde_json::Value;

use super::servers::{MARK, nothing_is_left, ours, two_layers};
use crate::support::{Desk, Expect, Setup, World, tests};

tests! {
    Apptainer, Desk: [
        tasks_of_a_step_share_one_server, steps_beside_each_other_have_a_server_each, a_terminal_is_the_steps,
        no_byte_of_an_image_changes, nobody_changes_what_is_only_read, nothing_is_left_of_a_step,
        a_stopped_server_keeps_no_step_and_no_node, what_is_not_ours_is_refused_or_said, auto_leaves_a_start_to_the_engine_late,
    ];
    ApptainerOnce, Desk: [
        exec_e_and_run_show_what_the_engine_shows, everybody_has_the_ids_that_the_engine_gives, the_container_is_named_as_by_hand,
        others_join, a_dirty_image_is_read_as_it_is, a_reader_by_hand_is_in_nobodys_way, what_was_deleted_stays_deleted,
        what_tmp_writes_is_seen_and_gone, tmp_works_as_the_namespaces_root, there_is_every_mount_point, nothing_is_left_whoever_is_killed,
        a_killed_server_is_an_error, what_the_engine_cannot_mount_is_read,
    ];
    Apptainer, OwnCluster: [a_site_that_forbids_directories];
}

/// A module, an image with an own file, and what a listing of both says.
const LISTING: &str = "cat /opt/mod/file /own/file; find /opt /own /usr/bin /etc -ls 2> /dev/null | awk '{ print $3, $5, $6, $11, $13 }' | sort | md5sum; pwd; id -u; umask";
/// What Slurm says at the end of a step whose server was killed: nobody else can tell its tasks.
const UNSERVED: &str = "condatainer: the layers of the step's container could not be served to the end: ";

fn exec_e_and_run_show_what_the_engine_shows(desk: &Desk) -> Result<()> {
    two_layers(desk)?;
    desk.write("script.sh", &format!("#!/bin/sh\n#DEP: {0}/mod.sqf\n#DEP: {0}/env.img\n{LISTING}\n", desk.dir))?;
    desk.write("list.sh", &format!("#!/bin/sh\n{LISTING}\n"))?;
    let verbs = [
        "condatainer exec -o mod.sqf -o env.img -- ./list.sh",
        "condatainer e -r mod.sqf env.img -- ./list.sh",
        "condatainer run --no-submit script.sh",
    ];
    for verb in verbs {
        let engines = desk.with_mounts("engine").script(verb)?.success()?.stdout;
        ensure!(engines.starts_with("module\nimage\n"), "{engines}");
        ours(desk, verb)?.says(engines.trim_end())?;
    }
    nothing_is_left(desk)
}

fn everybody_has_the_ids_that_the_engine_gives(desk: &Desk) -> Result<()> {
    let make = "mkdir -p tree/opt/mod; echo module > tree/opt/mod/file; chown -R 0:0 tree; chown 42:43 tree/opt/mod/file; \
        mksquashfs tree mod.sqf -quiet -no-progress; chmod 644 mod.sqf; rm -r tree";
    desk.as_root(make)?.success()?;
    let look = "id; cat /proc/self/uid_map; stat -c '%u %g' /opt/mod/file /etc; grep -E 'Cap|NoNew' /proc/self/status";
    for options in ["", "-f"] {
        let typed = format!("condatainer exec {options} -o mod.sqf -- sh -c \"{look}\"");
        let engines = desk.with_mounts("engine").script(&typed)?.success()?.stdout;
        let own = ours(desk, &typed)?.success()?.stdout;
        // A user's own files are shown as the user's, whoever they were.
        let plain = |text: &str| text.replace("\n42 43\n", "\n1001 1001\n").replace("\n0 0\n", "\n1001 1001\n");
        if options.is_empty() {
            ensure!(own == plain(&engines), "{own} {engines}");
        } else {
            ensure!(own == engines && own.contains("\n42 43\n"), "{own} {engines}");
        }
    }
    nothing_is_left(desk)
}

fn the_container_is_named_as_by_hand(desk: &Desk) -> Result<()> {
    let names = "sh -c 'env | grep -E \"^(APPTAINER|SINGULARITY)_(CONTAINER|NAME)=\" | sort'";
    let by_hand = desk.script(&format!("apptainer -q exec /srv/base/base.sqf {names}"))?.success()?.stdout;
    ensure!(by_hand.contains("APPTAINER_CONTAINER=/srv/base/base.sqf"), "{by_hand}");
    ours(desk, &format!("condatainer exec {names}"))?.says(by_hand.trim_end()).map(drop)
}

fn tasks_of_a_step_share_one_server(desk: &Desk) -> Result<()> {
    two_layers(desk)?;
    let task = "cat /own/file; until [ -e go ]; do sleep 0.1; done";
    let step =
        format!("srun -n4 --condatainer-overlay=mod.sqf,env.img sh -c 'touch at.$SLURM_PROCID; {task}' > out & ");
    let wait = "until [ $(ls at.? 2> /dev/null | wc -l) = 4 ]; do sleep 0.1; done; servers | wc -l; touch go; wait $!; cat out";
    ours(desk, &format!("{step} {wait}"))?.says("1\nimage\nimage\nimage\nimage")?;
    nothing_is_left(desk)
}

/// What one writes, and that one's server dies, is nothing to the others.
fn steps_beside_each_other_have_a_server_each(desk: &Desk) -> Result<()> {
    two_layers(desk)?;
    let task = "echo $n > /own/file; touch at.$n; until [ -e go ]; do sleep 0.1; done; cat /own/file";
    let steps = format!(
        "for n in 1 2 3 4; do srun -n1 --condatainer-overlay=mod.sqf,env.img:tmp sh -c \"{task}\" > out.$n 2> err.$n & done; "
    );
    let look = "until [ $(ls at.? 2> /dev/null | wc -l) = 4 ]; do sleep 0.1; done; servers | wc -l; kill -KILL $(servers | head -n1); \
        touch go; wait; cat out.? | sort -u | wc -l; condatainer exec -o env.img -- cat /own/file; grep -l \"{UNSERVED}\" err.? | wc -l";
    ours(desk, &format!("{steps}{look}").replace("{UNSERVED}", UNSERVED))?.says("4\n3\nimage\n1")?;
    nothing_is_left(desk)?;
    desk.nodes_are_well()
}

fn a_terminal_is_the_steps(desk: &Desk) -> Result<()> {
    two_layers(desk)?;
    let typed = desk.command().env("CONDATAINER_MOUNTS", "own").terminal();
    let step = "srun --pty --condatainer-overlay=env.img sh -c 'tty; cat /own/file; exit 5'";
    let output = typed.run(&["sh", "-c", &format!("{MARK}{step}")])?.ends_with(5)?;
    ensure!(output.stdout.contains("/dev/pts/") && output.stdout.contains("image"), "{output:?}");
    nothing_is_left(desk)
}

fn others_join(desk: &Desk) -> Result<()> {
    two_layers(desk)?;
    let session = "condatainer exec -o env.img -- sh -c 'touch there; until [ -e go ]; do sleep 0.1; done' & \
        until [ -e there ]; do sleep 0.1; done; condatainer join $! sh -c 'cat /own/file; id -u'; \
        condatainer ps | grep -c \"$PWD/env.img\"; condatainer join env.img cat /own/file; touch go; wait $!";
    ours(desk, session)?.says("image\n1001\n1\nimage")?;
    nothing_is_left(desk)
}

fn no_byte_of_an_image_changes(desk: &Desk) -> Result<()> {
    two_layers(desk)?;
    // No permission to write is needed either.
    let text = "chmod 444 env.img; sha256sum env.img mod.sqf /srv/base/base.sqf > sums; \
        condatainer exec -o mod.sqf -o env.img -- sh -c 'cat /own/file; touch /new /own/file 2>&1 | grep -c Read-only'; \
        srun -n2 --condatainer-overlay=mod.sqf,env.img true; sha256sum --quiet -c sums && echo same";
    ours(desk, text)?.says("image\n2\nsame").map(drop)
}

/// The mount refuses it, also the container's root, and nothing is asked of the server.
fn nobody_changes_what_is_only_read(desk: &Desk) -> Result<()> {
    two_layers(desk)?;
    let program = r"#!/usr/bin/python3
import errno, os
changes = {
    'open': lambda: os.open('/own/file', os.O_WRONLY), 'map': lambda: os.open('/own/file', os.O_RDWR), 'root': lambda: os.mkdir('/new'),
    'truncate': lambda: os.truncate('/own/file', 0), 'create': lambda: os.open('/own/new', os.O_CREAT | os.O_WRONLY),
    'utimes': lambda: os.utime('/own/file', (1, 1)), 'chmod': lambda: os.chmod('/own/file', 0o600), 'rmdir': lambda: os.rmdir('/own'),
    'chown': lambda: os.chown('/own/file', os.getuid(), os.getgid()), 'mkdir': lambda: os.mkdir('/own/new'),
    'mknod': lambda: os.mkfifo('/own/new'), 'symlink': lambda: os.symlink('x', '/own/new'), 'unlink': lambda: os.unlink('/own/file'),
    'link': lambda: os.link('/own/file', '/own/new'), 'rename': lambda: os.rename('/own/file', '/own/new'),
    'setxattr': lambda: os.setxattr('/own/file', 'user.x', b'x') }
for name, change in changes.items():
    try:
        change(); print(name, 'was done')
    except OSError as error:
        if error.errno != errno.EROFS: print(name, error)
print(os.access('/own/file', os.W_OK), open('/own/file').read(), end='')
";
    desk.write("change.py", program)?;
    for options in ["", "-f"] {
        ours(desk, &format!("condatainer exec {options} -o mod.sqf -o env.img -- ./change.py"))?.says("False image")?;
    }
    ours(desk, "srun --condatainer-overlay=mod.sqf,env.img ./change.py")?.says("False image")?;
    nothing_is_left(desk)
}

fn a_dirty_image_is_read_as_it_is(desk: &Desk) -> Result<()> {
    two_layers(desk)?;
    desk.script("/usr/sbin/debugfs -w -R 'ssv state 0' env.img 2> /dev/null && sha256sum env.img > sums")?.success()?;
    let read = "condatainer exec -o env.img -- cat /own/file; sha256sum --quiet -c sums && echo same";
    ours(desk, read)?.says("image\nsame")?.without_a_word().map(drop)
}

fn a_reader_by_hand_is_in_nobodys_way(desk: &Desk) -> Result<()> {
    two_layers(desk)?;
    let by_hand = "apptainer -q exec --overlay env.img:ro /srv/base/base.sqf sh -c \
        'touch there; until [ -e go ]; do sleep 0.1; done; cat /own/file' & until [ -e there ]; do sleep 0.1; done;";
    let ours_too = "condatainer exec -o env.img -- cat /own/file; touch go; wait $!";
    ours(desk, &format!("{by_hand} {ours_too}"))?.says("image\nimage")?;
    // And a writer is refused while ours reads.
    let reads = "condatainer exec -o env.img -- sh -c 'rm go; touch reads; until [ -e go ]; do sleep 0.1; done' & \
        until [ -e reads ]; do sleep 0.1; done; CONDATAINER_MOUNTS=engine condatainer exec -w -o env.img -- echo RAN; touch go; wait $!";
    desk.refused(Output { code: 1, ..ours(desk, reads)? }, "env.img: in use by readers")?;
    nothing_is_left(desk)
}

fn what_was_deleted_stays_deleted(desk: &Desk) -> Result<()> {
    two_layers(desk)?;
    let write = "condatainer exec -w -o mod.sqf -o env.img -- sh -c 'rm /opt/mod/file; rm -r /usr/share/base-files; mkdir /usr/share/base-files; echo new > /usr/share/base-files/new'";
    desk.script(write)?.success()?;
    let look = "condatainer exec -o mod.sqf -o env.img -- sh -c 'ls -A /opt/mod; ls -A /usr/share/base-files; ls -A /usr/share | grep -c ^.wh'";
    ours(desk, look)?
        .ends_with(1)?
        .stdout
        .trim_end()
        .eq("link\nnew\n0")
        .then_some(())
        .context("what a reader sees is not what was written")
}

fn what_tmp_writes_is_seen_and_gone(desk: &Desk) -> Result<()> {
    two_layers(desk)?;
    let change = "rm /own/file; rm -r /usr/share/base-files; mkdir /usr/share/base-files; echo new > /opt/mod/file; \
        mv /opt/mod/link /opt/moved; echo big > /etc/new; ls -A /usr/share/base-files /own; cat /opt/mod/file /opt/moved; touch there; until [ -e go ]; do sleep 0.1; done";
    // No name in the directory that holds it, and so nothing that could stay.
    let text = format!(
        "mkdir scratch; export CONDATAINER_TMPDIR=$PWD/scratch; sha256sum env.img mod.sqf > sums; \
        condatainer exec -o mod.sqf -o env.img:tmp -- sh -c '{change}' & start=$!; \
        until [ -e there ]; do sleep 0.1; done; ls -A scratch; touch go; wait $start; ls -A scratch; \
        sha256sum --quiet -c sums && condatainer exec -o env.img -- cat /own/file; rm there go; \
        condatainer exec -o env.img:tmp -- sh -c 'echo x > /own/file; touch there; exec sleep 7539' & start=$!; \
        until [ -e there ] && pgrep -u alice -f '^sleep 7539' > /dev/null; do sleep 0.1; done; kill -KILL $start; pkill -KILL -u alice -f '^sleep 7539'; wait $start; ls -A scratch"
    );
    let output = ours(desk, &text)?.ends_with(0)?;
    let wanted = "/own:\nlink\n\n/usr/share/base-files:\nnew\nmodule\nimage\n";
    ensure!(output.stdout == wanted, "{output:?}");
    nothing_is_left(desk)
}

fn tmp_works_as_the_namespaces_root(desk: &Desk) -> Result<()> {
    two_layers(desk)?;
    let text = "touch /opt/a /own/file; chown 42:43 /opt/a /own/file; stat -c '%u %g' /opt/a /own/file; mkdir -m 2775 /opt/s; chgrp 7 /opt/s; mkdir /opt/s/t; stat -c '%g %a' /opt/s/t";
    ours(desk, &format!("condatainer exec -f -o env.img:tmp -- sh -c \"{text}\""))?.says("42 43\n42 43\n7 2755")?;
    nothing_is_left(desk)
}

fn there_is_every_mount_point(desk: &Desk) -> Result<()> {
    two_layers(desk)?;
    for mode in ["", ":tmp"] {
        let text = format!(
            "ln -sfn /var/tmp link; cd link; export TMPDIR=$OLDPWD/tmp; mkdir -p $TMPDIR; \
            APPTAINER_BIND=/etc/hostname:/opt/of/variable condatainer exec --bind /etc/hostname:/opt/new/file --bind $OLDPWD:/opt/here -o $OLDPWD/env.img{mode} -- \
            sh -c 'cat /opt/new/file /opt/of/variable | uniq | wc -l; ls /opt/here/env.img; pwd -P; touch $TMPDIR/x ~/x && rm ~/x; cat /etc/passwd > /dev/null && echo passwd'"
        );
        ours(desk, &text)?.says("1\n/opt/here/env.img\n/var/tmp\npasswd")?;
    }
    nothing_is_left(desk)
}

/// A container that waits; what is killed, and with what.
fn ended_by(desk: &Desk, kill: &str) -> Result<Output> {
    let start = "rm -f there; env --default-signal=INT condatainer exec -o mod.sqf -o env.img -- sh -c 'touch there; exec sleep 7531' & start=$!; \
        until [ -e there ] && pgrep -u alice -f '^sleep 7531' > /dev/null; do sleep 0.1; done; engine=$(pgrep -P $start | grep -vxF \"$(servers)\" | head -n1); server=$(servers);";
    ours(desk, &format!("{start} {kill}; wait $start"))
}

fn nothing_is_left_whoever_is_killed(desk: &Desk) -> Result<()> {
    two_layers(desk)?;
    let ends = [
        ("kill -TERM $start", Some(143)),
        ("kill -INT $start", Some(130)),
        ("kill -KILL $start; pkill -KILL -u alice -f '^sleep 7531'", Some(137)),
        ("kill -KILL $engine", None),
        ("kill -TERM $server; kill -INT $server; kill -HUP $server; kill -TERM $start", Some(143)),
    ];
    for (kill, code) in ends {
        let output = ended_by(desk, kill)?;
        ensure!(code.is_none_or(|code| output.code == code), "{kill}: {output:?}");
        nothing_is_left(desk).with_context(|| kill.to_owned())?;
        desk.wait_until("! pgrep -u alice -f '^sleep 7531'").with_context(|| kill.to_owned())?;
    }
    Ok(())
}

fn a_killed_server_is_an_error(desk: &Desk) -> Result<()> {
    two_layers(desk)?;
    let output =
        ended_by(desk, "kill -KILL $server; condatainer join $start cat /own/file && echo RAN; kill -TERM $start")?;
    ensure!(!output.stdout.contains("RAN"), "{output:?}");
    output.complains("the process that served the layers has ended")?;
    nothing_is_left(desk)
}

/// A task that waits for its answer cannot be killed, and Slurm would take the node out of use.
fn a_stopped_server_keeps_no_step_and_no_node(desk: &Desk) -> Result<()> {
    two_layers(desk)?;
    let task = "touch there.$SLURM_PROCID; find /usr -xdev -type f -exec cat {} + > /dev/null 2>&1; exec sleep 8643";
    let job = format!(
        "#!/bin/sh\nexport CONDATAINER_MOUNTS=own\n{MARK}\nsrun -n4 -O --condatainer-overlay=env.img sh -c '{task}'\n"
    );
    let id = desk.submit(&["-n1"], &job)?;
    desk.wait_until("[ -e there.0 ] && [ -e there.1 ] && [ -e there.2 ] && [ -e there.3 ]")?;
    ours(desk, &format!("kill -STOP $(servers) && scancel {id}"))?.success()?;
    desk.job_ends(id)?;
    nothing_is_left(desk)?;
    desk.nodes_are_well()?;
    // The same of a command that is typed. Its place is written so that those of the tests beside it are not killed.
    let typed = format!(
        "condatainer exec -o env.img -- sh -c 'touch at; {0}' & start=$!; until [ -e at ]; do sleep 0.1; done; sleep 0.2; kill -STOP $(servers) || exit 0; \
        condatainer join $start true & sleep 0.5; pkill -KILL -u alice -f '^(find|cat) /usr/[.]'; kill -KILL $!; kill -TERM $start; wait $start",
        "find /usr/. -xdev -type f -exec cat {} + > /dev/null 2>&1"
    );
    let output = ours(desk, &typed)?;
    ensure!(output.code != 0, "{output:?}");
    nothing_is_left(desk)
}

fn nothing_is_left_of_a_step(desk: &Desk) -> Result<()> {
    two_layers(desk)?;
    for (options, end) in [("", "scancel $JOB"), ("", "scancel --full --signal=KILL $JOB"), ("--time=0:01", ":")] {
        let task = "cat /own/file; touch there.$SLURM_PROCID; exec sleep 8642";
        let step = format!("srun -n2 --condatainer-overlay=mod.sqf,env.img sh -c '{task}'");
        let job = format!("#!/bin/sh\nexport CONDATAINER_MOUNTS=own\n{MARK}\n{step}\n");
        desk.script("rm -f there.*")?;
        let id = desk.submit(&[&["-n2"], options.split_whitespace().collect::<Vec<_>>().as_slice()].concat(), &job)?;
        desk.wait_until("[ -e there.0 ] && [ -e there.1 ]")?;
        ours(desk, "servers | wc -l")?.says("1")?;
        desk.script(&format!("JOB={id}; {end}"))?.success()?;
        desk.job_ends(id)?;
        nothing_is_left(desk).with_context(|| end.to_owned())?;
        desk.wait_until("! pgrep -u alice -f '^sleep 8642'")?;
    }
    desk.nodes_are_well()
}

fn what_is_not_ours_is_refused_or_said(desk: &Desk) -> Result<()> {
    two_layers(desk)?;
    let make = "mkdir -p dir/upper dir/work; cp env.img large.img; /sbin/tune2fs -O extent large.img";
    desk.script(make)?.success()?;
    let own = |options: &str| ours(desk, &format!("condatainer exec {options} -- echo RAN"));
    for (layer, why) in
        [("dir", "dir is a directory that is written to"), ("large.img", "has the file system feature extent")]
    {
        desk.refused(own(&format!("-w -o {layer}"))?, &format!("mounts = own: {}", desk.path("")))?.complains(why)?;
        // No job is made for it.
        let overlay = format!("--condatainer-overlay={layer}:rw");
        desk.refused(desk.with_mounts("own").run(&["sbatch", &overlay, "--wrap=true"])?, why)?;
    }
    desk.script("condatainer exec --mounts=auto -- cat /etc/condatainer-base > /dev/null")?
        .success()?
        .without_a_word()?;
    let shown = desk.script("condatainer exec --mounts=own --dry-run -o env.img true")?.success()?.stdout;
    ensure!(shown.contains("/lower true # ") && shown.trim_end().ends_with("/env.img"), "{shown}");
    desk.script("condatainer exec --mounts=own --dry-run=json true")?.holds("\"own\"")?;
    desk.script("condatainer exec --mounts=nobody true")?.ends_with(2).map(drop)
}

fn what_the_engine_cannot_mount_is_read(desk: &Desk) -> Result<()> {
    let make = "mkdir -p tree/upper/own tree/work; echo image > tree/upper/own/file; \
        /sbin/mke2fs -q -t ext4 -d tree four.img 16M; /sbin/mke2fs -q -t ext3 -d tree a:b.img 16M; rm -r tree";
    desk.script(make)?.success()?;
    for (image, refusal) in [("four.img", "does not accept this image"), ("a\\:b.img", "a ':' in the path")] {
        let exec = |options: &str| format!("condatainer exec {options} -o '{image}' -- cat /own/file");
        desk.refused(desk.script(&exec("--mounts=engine"))?, refusal)?;
        if image == "four.img" {
            desk.refused(desk.script(&exec("--mounts=auto -w"))?, refusal)?;
        } else {
            desk.script(&exec("--mounts=auto -w"))?.says("image")?;
        }
        for who in ["own", "auto"] {
            desk.script(&exec(&format!("--mounts={who}")))?.says("image")?;
        }
    }
    let root = "/sbin/mke2fs -q -t ext3 -d /srv/base/base root.img $(($(du -sm /srv/base/base | cut -f1) * 2 + 32))M && chmod 644 root.img";
    desk.as_root(root)?.success()?;
    let base = "apptainer -q sif new ext.sif && \
        apptainer -q sif add --datatype 4 --partfs 2 --parttype 2 --partarch 2 --groupid 1 ext.sif root.img";
    desk.script(base)?.success()?;
    ours(desk, "condatainer exec -b ext.sif -- cat /etc/condatainer-base > shown; cmp shown /srv/base/base/etc/condatainer-base && echo same")?
        .says("same")?;
    nothing_is_left(desk)
}

/// With `auto` it may mount the layers after all.
fn the_engines_way_is_searched_for_deletions(desk: &Desk) -> Result<()> {
    let plan = |who: &str| -> Result<Value> {
        let typed = format!("condatainer exec --mounts={who} --dry-run=json -o env.img true");
        Ok(serde_json::from_str(&desk.script(&typed)?.success()?.stdout)?)
    };
    let (auto, engines) = (plan("auto")?, plan("engine")?);
    ensure!(
        auto["overlay_driver"] == engines["overlay_driver"] && engines["overlay_driver"] == false,
        "{auto} {engines}"
    );
    Ok(())
}

/// The machine can do it, and this start cannot: more images than it may have files open. What starts the engine has its own limit.
fn auto_leaves_a_start_to_the_engine_late(desk: &Desk) -> Result<()> {
    let layers = "for n in 0 1 2 3 4 5 6 7 8 9; do mkdir -p tree/opt/$n; mksquashfs tree $n.sqf -quiet -no-progress; rm -r tree; done; \
        mkdir bin; printf '#!/bin/sh\\nulimit -S -n 1024\\nexec /usr/bin/apptainer \"$@\"\\n' > bin/apptainer; chmod 755 bin/apptainer";
    desk.script(layers)?.success()?;
    let start = |who: &str| {
        let exec = format!("condatainer exec --mounts={who} $(printf -- '-o %s ' ?.sqf) -- sh -c 'ls /opt | wc -l'");
        desk.script(&format!("export PATH=$PWD/bin:$PATH; ulimit -S -n 12; {exec}"))
    };
    let auto = start("auto")?.says("10")?.complains("the engine mounts the layers of this start: ")?;
    ensure!(auto.stderr.lines().count() == 1 && auto.stderr.ends_with("Too many open files\n"), "{auto:?}");
    desk.refused(start("own")?, "Too many open files")?;
    nothing_is_left(desk)
}

fn a_site_that_forbids_directories(world: &World, release: Release) -> Result<()> {
    world.with_cluster(release, &Setup::default(), |desk| {
        two_layers(desk)?;
        desk.as_root("sed -i 's/^allow container dir = .*/allow container dir = no/' /etc/apptainer/apptainer.conf")?
            .success()?;
        desk.refused(
            ours(desk, "condatainer exec -- echo RAN")?,
            "'allow container dir = no' in /etc/apptainer/apptainer.conf forbids it",
        )?;
        let auto = desk.script("condatainer exec --mounts=auto -o env.img -- cat /own/file")?.says("image")?;
        let line = "the engine mounts the layers of this start: 'allow container dir = no'";
        ensure!(auto.stderr.matches(line).count() == 1, "{auto:?}");
        let step =
            desk.script("CONDATAINER_MOUNTS=auto srun -n4 --condatainer-overlay=env.img cat /own/file | sort -u")?;
        ensure!(step.stdout == "image\n" && step.stderr.matches(line).count() == 1, "{step:?}");
        the_engines_way_is_searched_for_deletions(desk)
    })
}
