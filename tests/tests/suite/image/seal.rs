//! `overlay seal`: a sealed layer shows in real containers what the image showed, on the same base.

use anyhow::{Result, ensure};

use crate::support::{Desk, Expect, tests};

tests! {
    Apptainer, Desk: [
        a_layer_shows_what_the_image_showed, the_same_below_another_image, the_same_under_fakeroot,
        the_same_below_another_image_under_fakeroot, a_conda_environment_is_found_in_a_layer, a_running_writer_is_in_the_way,
        a_running_reader_is_not_in_the_way,
    ];
    Slurm, Desk: [every_release_makes_the_layer, a_signal_leaves_nothing, an_old_mksquashfs_is_said];
}

fn seal(desk: &Desk, arguments: &[&str]) -> Result<cluster::Output> {
    desk.run(&[&["condatainer", "overlay", "seal"], arguments].concat())
}

/// What lies below the image: something to change and delete in every way.
fn low_layer(desk: &Desk) -> Result<()> {
    let fill = "mkdir -p opt/dir/sub/deep opt/keep opt/gone/sub opt/to-file/x opt/there-and-back opt/moved/sub opt/emptied
        echo 1 > opt/file; echo 1 > opt/single; echo 1 > opt/dir/old; echo 1 > opt/dir/sub/old; echo 1 > opt/dir/sub/deep/old
        echo 1 > opt/gone/sub/x; echo 1 > opt/to-dir; echo 1 > opt/there-and-back/old; echo 1 > opt/moved/sub/x
        echo 1 > opt/renamed-file; ln -s file opt/link; echo 1 > opt/emptied/a; echo 1 > opt/emptied/b; echo 1 > opt/keep/a";
    desk.squashfs("low.sqf", fill)
}

/// A user at work, in the layer and in the base.
const WORK: &str = r#"set -e; cd /opt
    echo new > new; echo changed >> file; rm single; rm -r gone; rm emptied/a emptied/b
    rm -r dir; mkdir dir; echo n > dir/new; mkdir -p dir/sub/deeper; echo m > dir/sub/deeper/m; mkdir dir/sub/deep
    rm to-dir; mkdir to-dir; echo x > to-dir/x; rm -r to-file; echo f > to-file
    rm -r there-and-back; echo f > there-and-back; rm there-and-back; mkdir there-and-back; echo y > there-and-back/y
    cp -r moved copied; rm -r moved; mv renamed-file renamed; ln new hard; ln -s ../nowhere dangling; ln -sfn new link
    chmod 0750 keep; chmod 0444 file; mkdir -p fresh/a/b; echo z > fresh/a/b/z; echo t > fresh/t; rm fresh/t; rm -r fresh/a/b
    printf '%s' odd > "od	d na'me \"x"; touch -d @1000000000 fresh; mkfifo pipe
    cd /etc; ls apt/trusted.gpg.d/*.asc > /dev/null; rm -r apt; mkdir -p apt/trusted.gpg.d/sub; echo mine > apt/trusted.gpg.d/mine
    rm /etc/condatainer-base /etc/os-release; rm -r /usr/share/debconf"#;

/// Everything in the container's own file system but the three files that Apptainer puts there: kind, mode, owner, time; sizes
/// and sums of files. Without the number of links, which older releases of fuse2fs do not tell.
const LISTING: &str = r#"cd /; own='! -path /etc/passwd ! -path /etc/group ! -path /etc/resolv.conf'
    find / -xdev -type d -print0 | sort -z | xargs -0 stat -c '%N %F %a %u:%g'
    find / -xdev ! -type d $own -print0 | sort -z | xargs -0 stat -c '%N %F %a %u:%g %s %Y'
    find / -xdev -type f -readable $own -print0 | sort -z | xargs -0 sha256sum"#;

/// Writes as the user, seals, and compares what a container shows with the image and with the layer in its place.
fn shows_the_same(desk: &Desk, start: &[&str], more: &str, above: &[&str]) -> Result<()> {
    low_layer(desk)?;
    desk.exec(&[start, &["-w", "-o", "low.sqf", "-o", "env.img"]].concat(), &format!("{WORK}\n{more}"))?.success()?;
    let said = seal(desk, &["-o", "low.sqf", "env.img"])?.success()?;
    desk.is_clean("env.img")?;
    // The sums of the base's large files, which no layer here has touched, are looked at once: they cost more than all the rest.
    let is_first = start.is_empty() && above.is_empty();
    let text = if is_first { LISTING.into() } else { LISTING.replace("-readable", "-readable -size -256k") };
    let listing = |layer: &str| desk.exec(&[start, &["-o", "low.sqf", "-o", layer], above].concat(), &text);
    let (image, layer) = (listing("env.img:ro")?.success()?.stdout, listing("env.sqf")?.success()?);
    // A ghost, listed but not there, would be said by find or stat.
    ensure!(!layer.stderr.contains("No such file"), "{}", layer.stderr);
    ensure!(image.contains("/opt/dir/new") && image.contains("/opt/copied/sub/x"), "{image}");
    ensure!(!image.contains("/opt/gone") && !image.contains("/opt/dir/old"), "{image}");
    let differing = difference(&image, &layer.stdout);
    ensure!(differing.is_empty(), "{}\nimage and layer differ:\n{}", said.stderr, differing.join("\n"));
    Ok(())
}

fn difference(image: &str, layer: &str) -> Vec<String> {
    let lines = |text: &str| text.lines().map(String::from).collect::<std::collections::BTreeSet<_>>();
    let (image, layer) = (lines(image), lines(layer));
    let only =
        |mark: &'static str, one: &std::collections::BTreeSet<String>, other: &std::collections::BTreeSet<String>| {
            one.difference(other).map(move |line| format!("{mark} {line}")).collect::<Vec<_>>()
        };
    [only("-", &image, &layer), only("+", &layer, &image)].concat()
}

fn a_layer_shows_what_the_image_showed(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    shows_the_same(desk, &[], "", &[])
}

fn the_same_below_another_image(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    desk.image("top.img")?;
    shows_the_same(desk, &[], "", &["-w", "-o", "top.img"])
}

/// Owners that only fakeroot can give.
const OWNERS: &str =
    "cd /opt; chown 42:43 new dir; chown -R 7:7 fresh; chmod 2775 dir; chmod 4755 hard; chown -h 5:5 link";

fn the_same_under_fakeroot(desk: &Desk) -> Result<()> {
    desk.root_image("env.img")?;
    shows_the_same(desk, &["-f"], OWNERS, &[])
}

fn the_same_below_another_image_under_fakeroot(desk: &Desk) -> Result<()> {
    desk.root_image("env.img")?;
    desk.root_image("top.img")?;
    shows_the_same(desk, &["-f"], OWNERS, &["-w", "-o", "top.img"])
}

fn a_conda_environment_is_found_in_a_layer(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    let tool = "mkdir -p /ext3/env/bin; printf '#!/bin/sh\\necho tool of $CONDA_PREFIX\\n' > /ext3/env/bin/tool; chmod +x /ext3/env/bin/tool";
    desk.exec(&["-w", "-o", "env.img"], tool)?.success()?;
    seal(desk, &["env.img", "tools.sqf"])?.success()?;
    desk.exec(&["-o", "tools.sqf"], "tool")?.says("tool of /ext3/env")?;
    desk.srun_in("tools.sqf", "tool")?.says("tool of /ext3/env")?;
    desk.run(&["cat", "tools.sqf.env"])?.says("CONDA_PREFIX=/ext3/env\nMAMBA_ROOT_PREFIX=/ext3/env")?;
    Ok(())
}

/// Runs `meanwhile` while a container has the image.
fn while_used(desk: &Desk, options: &str, meanwhile: impl FnOnce() -> Result<()>) -> Result<()> {
    let wait = "touch started; until [ -e enough ]; do sleep 0.1; done";
    let start = format!("condatainer exec {options} sh -c '{wait}' > said 2>&1 < /dev/null &");
    desk.script(&start)?.success()?;
    desk.wait_until("test -e started")?;
    let done = meanwhile();
    desk.run(&["touch", "enough"])?.success()?;
    desk.wait_until("condatainer overlay info --json env.img | grep -q '\"clean\"'")?;
    done
}

fn a_running_writer_is_in_the_way(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    while_used(desk, "-w -o env.img", || {
        desk.wait_until("[ -e .env.img.holder ]")?;
        let output = seal(desk, &["env.img"])?.ends_with(1)?;
        output.complains("env.img: is in use (locked for writing by user alice, process")?;
        ensure!(!desk.files()?.iter().any(|name| name.contains("sqf")), "{:?}", desk.files()?);
        Ok(())
    })
}

fn a_running_reader_is_not_in_the_way(desk: &Desk) -> Result<()> {
    desk.image_with("env.img", "1001:1001", "echo 1 > file")?;
    while_used(desk, "-o env.img:ro", || {
        seal(desk, &["env.img"])?.success()?.complains("env.sqf: made")?;
        Ok(())
    })?;
    desk.exec(&["-o", "env.sqf"], "cat /file")?.says("1")?;
    Ok(())
}

fn every_release_makes_the_layer(desk: &Desk) -> Result<()> {
    let fill = "mkdir -p d/e; echo one > d/one; ln d/one d/two; ln -s /abs/target link; ln -s ../$(printf x%.0s $(seq 150)) long
        touch .wh.gone; mknod hidden c 0 0; truncate -s 90M hole; echo end >> hole; chmod 1751 d; mkfifo pipe
        echo deep > d/e/$(printf n%.0s $(seq 250))";
    desk.image_with("env.img", "1001:1001", fill)?;
    let report = seal(desk, &["--json", "-b", "/srv/base/base.sqf", "env.img"])?.success()?.stdout;
    for field in ["\"whiteouts\": 2", "\"root_owner_kept\": true", "\"environment\": null", "\"repaired\": false"] {
        ensure!(report.contains(field), "{field}: {report}");
    }
    let listing = desk.run(&["unsquashfs", "-lln", "env.sqf"])?.success()?.stdout;
    let has = |line: &str| {
        listing.lines().any(|found| {
            found.starts_with(line.split('|').next().unwrap_or_default())
                && found.ends_with(line.split('|').nth(1).unwrap_or_default())
        })
    };
    for line in [
        "drwxr-xr-x 1001/1001|squashfs-root",
        "drwxr-x--t 1001/1001|squashfs-root/d",
        "lrwxrwxrwx 1001/1001|squashfs-root/link -> /abs/target",
        "c---------|squashfs-root/gone",
        "c---------|squashfs-root/hidden",
        "prw-r--r-- 1001/1001|squashfs-root/pipe",
        "-rw-r--r-- 1001/1001|squashfs-root/hole",
    ] {
        ensure!(has(line), "{line}: {listing}");
    }
    ensure!(listing.contains(&format!("-> ../{}", "x".repeat(150))), "{listing}");
    let again = "umask 077; TZ=Asia/Tokyo LC_ALL=tr_TR.UTF-8 condatainer -q overlay seal --processors 1 -b /srv/base/base.sqf env.img again.sqf && cmp env.sqf again.sqf";
    desk.script(again)?.says("")?;
    desk.run(&["unsquashfs", "-q", "-n", "-f", "-d", "out", "env.sqf", "hole", "d"])?.success()?;
    desk.script("cd out; [ $(stat -c %s hole) = 94371844 ] && tail -c4 hole && stat -c %h d/one")?.says("end\n2")?;
    Ok(())
}

fn a_signal_leaves_nothing(desk: &Desk) -> Result<()> {
    desk.image_with("env.img", "1001:1001", "head -c 30M /dev/urandom > noise")?;
    for signal in ["INT", "TERM"] {
        // xz at its slowest: it is still at work when the signal comes. What a shell starts with & ignores INT, as we do then.
        let text = format!(
            "env --default-signal condatainer overlay seal --compression xz --processors 1 env.img 2> said & until ls -A | grep -q '^.env.sqf.'; do sleep 0.01; done
            sleep 0.2; kill -{signal} $!; wait $!; echo $?"
        );
        desk.script(&text)?.says("1")?;
        desk.run(&["cat", "said"])?.says("condatainer: env.sqf: interrupted; nothing is left of it")?;
        desk.run(&["rm", "said"])?.success()?;
        ensure!(desk.files()? == ["env.img"], "{signal}: {:?}", desk.files()?);
        // Of this place: other tests seal, too.
        let left = desk
            .script("for pid in $(pgrep -u alice -x mksquashfs); do [ /proc/$pid/cwd -ef . ] && echo $pid; done")?
            .stdout;
        ensure!(left.is_empty(), "mksquashfs is still there: {left}");
    }
    desk.is_clean("env.img")
}

fn an_old_mksquashfs_is_said(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    desk.run(&["mkdir", "bin"])?.success()?;
    desk.write("bin/mksquashfs", "#!/bin/sh\necho 'mksquashfs version 4.4 (2019/08/29)'\n")?;
    let path = format!("{}:/usr/local/bin:/usr/bin:/bin", desk.path("bin"));
    let output = desk.command().env("PATH", &path).run(&["condatainer", "overlay", "seal", "env.img"])?.ends_with(1)?;
    output.complains("env.sqf: mksquashfs 4.4 is too old (")?.complains("); install squashfs-tools 4.5 or newer")?;
    ensure!(desk.files()? == ["bin", "env.img"], "{:?}", desk.files()?);
    Ok(())
}
