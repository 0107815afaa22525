//! Images in several hands: what others have made is written by us where it lies, and what we have written is shown alike by everybody.

use anyhow::{Context, Result, ensure};

use super::servers::{BY, OURS, nothing_is_left, ours};
use crate::image::whiteouts::{by_hand, rounds_of_random_work, same, stacked};
use crate::support::{Desk, Expect, tests};

tests! {
    ApptainerOnce, Desk: [
        images_of_others_are_written, our_random_work_is_the_same_for_everybody, a_gzipped_image_is_told_to_gunzip, fuse2fs_replays_our_journal,
    ];
}

/// How images are made: by Apptainer, as the original CondaTainer and NYU's computing centre make them, and with what older mke2fs knew.
const MAKERS: [(&str, &str); 8] = [
    ("apptainer.img", "apptainer -q overlay create --size 64 $i"),
    ("sparse.img", "apptainer -q overlay create --sparse --size 64 --create-dir /opt/made $i"),
    ("original.img", "truncate -s 64M $i; mke2fs -q -F -t ext3 -b 4096 -i 4096 -m 0 -d t $i"),
    ("overlay-15GB-500K.ext3", "truncate -s 512M $i; mke2fs -q -F -t ext3 -N 500000 -d t $i"),
    ("small.img", "truncate -s 64M $i; mke2fs -q -F -t ext3 -b 1024 -I 128 -d t $i"),
    (
        "reserved.img",
        "truncate -s 64M $i; mke2fs -q -F -t ext3 -b 2048 -I 256 -m 5 -O none,has_journal,filetype,sparse_super -d t $i",
    ),
    ("plain.img", "truncate -s 64M $i; mke2fs -q -F -t ext3 -b 1024 -I 128 -O none,has_journal,filetype -d t $i"),
    ("meta.img", "truncate -s 64M $i; mke2fs -q -F -t ext3 -b 1024 -I 128 -g 1024 -O meta_bg,^resize_inode -d t $i"),
];

/// By hand, then by us, then by hand again and by the engine's way; each sees what was before it.
fn images_of_others_are_written(desk: &Desk) -> Result<()> {
    let (own, engine) = (desk.with_mounts("own"), desk.with_mounts("engine"));
    for (name, make) in MAKERS {
        let all = || -> Result<()> {
            let make = format!("set -e; PATH=$PATH:/usr/sbin; i={name}; rm -rf t; mkdir -p t/upper t/work; {make}");
            desk.script(&make)?.success()?;
            let first =
                "mkdir /d /gone; echo hand > /d/hand; echo x > /gone/x; rm /etc/condatainer-base; ln /d/hand /d/link";
            by_hand(desk, name, first)?.success()?;
            let write = format!(
                "{BY}; cat /d/link; ls /etc/condatainer-base 2> /dev/null; rm -r /gone; mkdir /gone; for n in $(seq 400); do echo $n > /gone/a-name-that-is-long-$n; done
                rm /d/hand; echo ours > /d/ours; rm -r /usr/share/doc; mkdir /usr/share/doc; : > /usr/share/doc/new; truncate -s 3G /d/large; echo end >> /d/large
                setfattr -n user.a -v b /d/ours 2> /dev/null; chmod 4711 /d/ours; cp -a /etc/debian_version /etc/version; mv /etc/version /d"
            );
            own.exec(&["-w", "-o", name], &write)?.says(&format!("{OURS}\nhand"))?;
            desk.is_clean(name)?;
            let look = "ls /d /usr/share/doc | xargs; ls /gone | wc -l; ls /etc/condatainer-base 2> /dev/null; cat /d/ours /d/link; stat -c '%a %s' /d/ours /d/large; tail -c 4 /d/large";
            let seen = "/d: large link ours version /usr/share/doc: new\n400\nours\nhand\n4711 5\n644 3221225476\nend";
            engine.exec(&["-o", name], look)?.says(seen)?;
            by_hand(desk, name, &format!("{look}; echo again > /d/again; rm /d/link; rm -r /usr/share/doc"))?
                .says(seen)?;
            engine.exec(&["-w", "-o", name], "echo engine > /d/engine")?.success()?;
            own.exec(
                &["-w", "-o", name],
                "ls /d | xargs; ls -d /usr/share/doc 2> /dev/null; rm -r /gone /d; ls /gone /d 2> /dev/null; true",
            )?
            .says("again engine large ours version")?;
            desk.is_clean(name)?;
            own.exec(&["-o", name], "ls -d /gone /d /usr/share/doc 2> /dev/null; true")?.says("").map(drop)
        };
        all().with_context(|| name.to_owned())?;
        desk.script(&format!("rm {name}"))?.success()?;
    }
    nothing_is_left(desk)
}

/// As in the theme `whiteouts`, with our server as the writer.
fn our_random_work_is_the_same_for_everybody(desk: &Desk) -> Result<()> {
    rounds_of_random_work(desk, "foreign", one_round)
}

fn one_round(desk: &Desk, seed: u64) -> Result<()> {
    let (own, engine) = (desk.with_mounts("own"), desk.with_mounts("engine"));
    let list = "python3 work.py list /opt";
    let by_hand = |options: &[&str], image: &str| Ok::<_, anyhow::Error>(stacked(desk, options, image, list)?.stdout);
    let layers = |mode: &'static str| ["-o", "low.sqf", "-o", mode];
    let by =
        |desk: &Desk, mode: &'static str| Ok::<_, anyhow::Error>(desk.exec(&layers(mode), list)?.success()?.stdout);
    own.exec(&layers("env.img:rw"), &format!("python3 work.py {seed} /opt > /dev/null"))?.success()?;
    desk.is_clean("env.img")?;
    let expected = by(&own, "env.img:rw")?;
    same("our reader", &expected, &by(&own, "env.img:ro")?)?;
    same("the engine's reader", &expected, &by(&engine, "env.img:ro")?)?;
    same("a reader with fuse-overlayfs", &expected, &by_hand(&["-c", "driver.conf"], "env.img:ro")?)?;
    same("a writer by hand", &expected, &by_hand(&[], "env.img")?)?;
    same("the engine's writer", &expected, &by(&engine, "env.img:rw")?)?;
    desk.run(&["condatainer", "-q", "overlay", "seal", "--force", "-o", "low.sqf", "env.img"])?.success()?;
    same("the sealed layer", &expected, &by(&own, "env.sqf")?)?;
    desk.is_clean("env.img")
}

fn a_gzipped_image_is_told_to_gunzip(desk: &Desk) -> Result<()> {
    desk.image("overlay-15GB-500K.ext3")?;
    desk.script("gzip -1 overlay-15GB-500K.ext3")?.success()?;
    for mode in ["", ":rw"] {
        let output = desk.exec(&["-o", &format!("overlay-15GB-500K.ext3.gz{mode}")], "echo RAN")?.ends_with(125)?;
        output.without_stdout()?.complains("gunzip")?;
    }
    Ok(())
}

/// Who mounts by hand what a killed server has left sees what was synced, and leaves it in order.
fn fuse2fs_replays_our_journal(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    let write = "mkdir -p /d; for n in $(seq 200); do echo $n > /d/$n; done; rm -r /usr/share/doc; mv /d/7 /d/seven; sync /d /d/1; touch there; exec sleep 7543";
    let kill = format!(
        "condatainer exec -w -o env.img -- sh -c '{write}' & start=$!; until [ -e there ]; do sleep 0.05; done
        kill -STOP $start; kill -KILL $(servers); kill -KILL $start; pkill -KILL -u alice -f '^sleep 7543'; wait $start; /sbin/dumpe2fs -h env.img 2> /dev/null | grep -o needs_recovery"
    );
    ensure!(ours(desk, &kill)?.stdout.ends_with("needs_recovery\n"), "it is not left to be replayed");
    // It has the image open a little longer than its mount.
    let replay = "cp env.img ours.img; mkdir -p m
        fuse2fs -f -o fakeroot env.img m > replayed & program=$!; until mountpoint -q m; do sleep 0.05; done
        ls m/upper/d | wc -l; cat m/upper/d/seven; fusermount3 -u m; wait $program; grep -o Recovering replayed; /sbin/e2fsck -fn env.img > said 2>&1 || cat said";
    desk.script(replay)?.says("200\n7\nRecovering")?;
    let look = "ls /d | wc -l; cat /d/seven; ls -d /usr/share/doc 2> /dev/null; true";
    for image in ["env.img", "ours.img"] {
        ours(desk, &format!("condatainer exec -w -o {image} -- sh -c '{look}'"))?
            .says("200\n7")
            .with_context(|| image.to_owned())?;
        desk.is_clean(image)?;
    }
    by_hand(desk, "env.img", look)?.says("200\n7")?;
    nothing_is_left(desk)
}
