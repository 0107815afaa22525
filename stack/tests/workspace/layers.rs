//! What lies in layers is changed as if it lay on one disk: the server's own overlay beside the kernel's ext3 with a copy of it.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use fastrand::Rng;

use super::place::{NOBODY, Place, Who, run, same};
use super::{INSIDE, Test, chance, disk};

pub(crate) const TESTS: &[Test] = &[
    ("what_layers_have_is_changed_as_on_a_disk", what_layers_have_is_changed_as_on_a_disk),
    ("what_was_changed_is_there_for_everybody_afterwards", what_was_changed_is_there_for_everybody_afterwards),
    ("a_copied_file_is_still_the_same_file", a_copied_file_is_still_the_same_file),
    ("a_large_directory_is_not_renamed", a_large_directory_is_not_renamed),
    ("a_directory_that_nobody_has_looked_into_is_renamed", a_directory_that_nobody_has_looked_into_is_renamed),
    ("many_who_change_the_same_change_one_copy", many_who_change_the_same_change_one_copy),
    ("what_does_not_fit_is_told_and_stays_as_it_was", what_does_not_fit_is_told_and_stays_as_it_was),
    ("a_killed_server_leaves_no_half_of_a_copy", a_killed_server_leaves_no_half_of_a_copy),
    ("who_is_killed_waits_for_no_copy", who_is_killed_waits_for_no_copy),
    ("what_others_have_left_in_work_goes", what_others_have_left_in_work_goes),
];

/// Something to begin with, for each of so many runs of the model; files have several names only where that `is_linked`.
fn fill(at: &Path, seed: u64, runs: u64, is_linked: bool) {
    let mut random = Rng::with_seed(seed);
    for number in 1..=runs {
        let run = at.join(format!("run{number}"));
        fs::create_dir_all(run.join("d/e")).unwrap();
        for name in ["a", "b", "c", "d/a", "d/b", "d/e/a", "e"] {
            let path = run.join(name);
            match random.u8(0..6) {
                0 => {}
                1 if name != "c" => symlink("c", &path).unwrap(),
                2 if is_linked && fs::symlink_metadata(run.join("a")).is_ok_and(|found| found.is_file()) => {
                    fs::hard_link(run.join("a"), &path).unwrap()
                }
                3 if name == "e" => {
                    fs::create_dir(&path).unwrap();
                    fs::write(path.join("inner"), "x").unwrap();
                }
                _ => {
                    fs::write(&path, vec![random.u8(1..); random.usize(0..20_000)]).unwrap();
                    fs::set_permissions(&path, PermissionsExt::from_mode(0o600 | random.u32(0..0o200))).unwrap();
                    xattr::set(&path, "user.n0", b"value").unwrap();
                }
            }
        }
        if random.bool() {
            fs::remove_dir_all(run.join("d/e")).unwrap();
        }
    }
    run(Command::new("chown").args(["-Rh", "64997:64997"]).arg(at));
}

/// Two places, of which one has a copy of the layers on the kernel's ext3; the other's layers are one directory, an image, or two images.
fn both(layers: usize, runs: u64, is_linked: bool) -> (Place, Place) {
    let (seed, inodes) = (chance::seed() + layers as u64, (60_000 + 100 * runs).to_string());
    // What many runs leave finds room, too.
    let (mib, shape) = (96 + runs, &["-N", inodes.as_str()]);
    let place = Place::new(mib, shape, |_, lower| fill(lower, seed, runs, is_linked));
    let other = Place::new(mib, shape, |_, _| {});
    if layers > 0 {
        place.pack("lower", "lower.sqf");
    }
    if layers > 1 {
        fs::create_dir(place.path("higher")).unwrap();
        fill(&place.path("higher"), seed + 10, runs, is_linked);
        place.pack("higher", "higher.sqf");
    }
    (place, other)
}

/// What the layers show is copied.
fn copy(place: &Place, layers: usize) {
    let script = match layers {
        2 => {
            "mkdir $PLACE/m; mount -t overlay -o lowerdir=$PLACE/higher:$PLACE/lower none $PLACE/m; cp -a $PLACE/m/. $PLACE/oracle/"
        }
        _ => "cp -a $PLACE/lower/. $PLACE/oracle/",
    };
    run(Command::new("unshare").args(["-m", "sh", "-euc", script]).env("PLACE", place.path("")));
    run(Command::new("chown").args(["-h", &format!("{NOBODY}:{NOBODY}")]).arg(place.path("oracle")));
}

fn what_layers_have_is_changed_as_on_a_disk() -> Result<(), String> {
    for layers in 0..3 {
        let runs = chance::runs(12);
        let (place, other) = both(layers, runs + 40, layers < 2);
        let _oracle = place.mount(&other.image(), "oracle");
        copy(&place, layers);
        place.inside(Who::Plain, &["compare", &runs.to_string()]).map_err(|why| format!("{layers} layers: {why}"))?;
        place.check()?;
    }
    Ok(())
}

/// In the next session, and for the kernel's overlay.
fn what_was_changed_is_there_for_everybody_afterwards() -> Result<(), String> {
    let runs = chance::runs(12);
    let (place, other) = both(1, runs, true);
    let _oracle = place.mount(&other.image(), "oracle");
    copy(&place, 1);
    place.inside(Who::Plain, &["compare", &runs.to_string(), "keep"])?;
    place.check()?;
    place.inside(Who::Plain, &["same", &runs.to_string()])?;
    place.check()?;
    let script = format!(
        "mkdir -p i m; mount -o loop,ro disk/image i; trap 'umount m; umount i' EXIT
        mount -t overlay -o userxattr,lowerdir=i/upper:lower none m; D=$PWD/m PLACE=$PWD ./program {INSIDE} same {runs} kernel"
    );
    run(Command::new("unshare").args(["-m", "sh", "-ec", &script]).current_dir(place.path("")));
    Ok(())
}

fn a_copied_file_is_still_the_same_file() -> Result<(), String> {
    let (place, _) = both(1, 0, false);
    let lower = place.path("lower");
    fs::write(lower.join("a"), "first").unwrap();
    for name in ["b", "c"] {
        fs::hard_link(lower.join("a"), lower.join(name)).unwrap();
    }
    fs::create_dir(lower.join("d")).unwrap();
    fs::write(lower.join("d/f"), "f").unwrap();
    fs::remove_file(place.path("lower.sqf")).unwrap();
    place.pack("lower", "lower.sqf");
    place.inside(Who::Root, &["layers"])?;
    place.check()
}

/// What the test above does in there.
pub(crate) fn inside(d: &Path) {
    let says = |name: &str| fs::metadata(d.join(name)).map(|says| (says.ino(), says.nlink())).unwrap();
    let (ino, held) = (says("a").0, fs::File::open(d.join("b")).unwrap());
    assert_eq!([says("a"), says("b"), says("c")], [(ino, 3); 3]);
    fs::write(d.join("a"), "second").unwrap();
    assert_eq!([says("a"), says("b"), says("c")], [(ino, 3); 3]);
    assert_eq!(fs::read_to_string(d.join("c")).unwrap(), "second");
    // Who had it open before it was copied sees the same.
    assert_eq!(std::io::read_to_string(&held).unwrap(), "second");
    fs::hard_link(d.join("c"), d.join("new")).unwrap();
    assert_eq!([says("a"), says("new")], [(ino, 4); 2]);
    for (name, links) in [("a", 3), ("b", 2), ("new", 1)] {
        fs::remove_file(d.join(name)).unwrap();
        assert_eq!(held.metadata().unwrap().nlink(), links, "{name}");
    }
    assert_eq!((says("c"), fs::read_to_string(d.join("c")).unwrap()), ((ino, 1), "second".into()));
    fs::remove_file(d.join("c")).unwrap();
    assert_eq!(held.metadata().unwrap().nlink(), 0);
    let before = [says("d").0, says("d/f").0];
    fs::rename(d.join("d"), d.join("moved")).unwrap();
    assert_eq!([says("moved").0, says("moved/f").0], before);
    fs::create_dir(d.join("d")).unwrap();
    assert_eq!(fs::read_dir(d.join("d")).unwrap().count(), 0);
    assert_eq!(fs::read_to_string(d.join("moved/f")).unwrap(), "f");
}

fn a_large_directory_is_not_renamed() -> Result<(), String> {
    let place = Place::new(16, &[], |_, lower| {
        fs::create_dir_all(lower.join("d/e")).unwrap();
        fs::create_dir(lower.join("small")).unwrap();
        (0..2001).for_each(|n| fs::write(lower.join(format!("d/e/{n}")), "x").unwrap());
        (0..50).for_each(|n| fs::write(lower.join(format!("small/{n}")), "x").unwrap());
    });
    let script = "cd $D; mv small s; ls s | wc -l; test ! -e small; mv -T d f; ls f/e | wc -l; test ! -e d; ls f/e | sort -u | wc -l";
    same(place.script(Who::Plain, script).fine()?, "50\n2001\n2001".into())?;
    place.check()
}

/// Of several layers, with directories in it that all of them have.
fn a_directory_that_nobody_has_looked_into_is_renamed() -> Result<(), String> {
    let place = Place::new(16, &[], |_, lower| {
        fs::create_dir_all(lower.join("d/e/f")).unwrap();
        fs::write(lower.join("d/e/f/low"), "low").unwrap();
    });
    place.pack("lower", "lower.sqf");
    fs::create_dir_all(place.path("higher/d/e/f")).unwrap();
    fs::write(place.path("higher/d/e/f/high"), "high").unwrap();
    place.pack("higher", "higher.sqf");
    let move_it = r"import os; os.rename(os.environ['D'] + '/d', os.environ['D'] + '/n')";
    let script = format!(
        "python3 -c \"{move_it}\"; cd $D; find . | sort | tr '\\n' ' '; cat n/e/f/*; echo x > n/e/f/new; rm n/e/f/low; ls n/e/f"
    );
    let all = ". ./n ./n/e ./n/e/f ./n/e/f/high ./n/e/f/low highlow";
    same(place.script(Who::Plain, &script).fine()?, format!("{all}high\nnew"))?;
    place.check()?;
    same(place.script(Who::Plain, "cd $D; ls . n/e/f").fine()?, ".:\nn\n\nn/e/f:\nhigh\nnew".into())
}

/// A place with so many files of so many bytes in an image of layers.
fn with_files(mib: u64, files: usize, bytes: usize) -> Place {
    let place = Place::new(mib, &[], |_, lower| {
        fs::create_dir_all(lower.join("old/d")).unwrap();
        (0..files).for_each(|n| fs::write(lower.join(format!("old/d/f{n}")), vec![b'x'; bytes]).unwrap());
    });
    place.pack("lower", "lower.sqf");
    place
}

fn many_who_change_the_same_change_one_copy() -> Result<(), String> {
    let place = with_files(48, 60, 100_000);
    place.inside(Who::Plain, &["threads"])?;
    place.check()?;
    same(place.script(Who::Plain, "cd $D/old/d; ls | wc -l; cat * | wc -c").fine()?, "60\n6000240".into())
}

/// Each of four appends a byte to each file, and looks at the others meanwhile.
pub(crate) fn threads(d: &Path) {
    std::thread::scope(|scope| {
        for thread in 0..4_usize {
            scope.spawn(move || {
                for n in 0..60 {
                    let n = if thread % 2 == 0 { n } else { 59 - n };
                    let file = fs::File::options().append(true).open(d.join(format!("old/d/f{n}"))).unwrap();
                    std::io::Write::write_all(&mut &file, b"y").unwrap();
                    let seen = fs::read(d.join(format!("old/d/f{n}"))).unwrap();
                    assert!(seen.len() > 100_000 && seen[..100_000].iter().all(|byte| *byte == b'x'));
                    assert_eq!(fs::read_dir(d.join("old/d")).unwrap().count(), 60);
                }
            });
        }
    });
}

fn what_does_not_fit_is_told_and_stays_as_it_was() -> Result<(), String> {
    let place = with_files(8, 9, 1_000_000);
    let script = "cd $D/old/d; full=0; for f in *; do echo y >> $f || full=$((full + 1)); done 2> /dev/null; test $full -gt 0
        for f in *; do test \"$(head -c 1000000 $f | tr -d x)\" = ''; done; cat * | wc -c; rm f*; rmdir $D/old/d; echo z > $D/new; cat $D/new";
    let said = place.script(Who::Plain, script).fine()?;
    let (length, last) = said.split_once('\n').unwrap_or_default();
    same((length.parse().is_ok_and(|length: u64| (9_000_002..9_000_018).contains(&length)), last), (true, "z"))?;
    place.check()
}

fn a_killed_server_leaves_no_half_of_a_copy() -> Result<(), String> {
    let mut random = Rng::with_seed(chance::seed());
    let place = with_files(48, 300, 60_000);
    let (mut changed, mut before) = (0, 0);
    for round in 0..chance::runs(8) {
        let script = format!("cd $D/old/d; for n in $(seq {} 299); do echo -n y >> f$n; done", before);
        let mut command = place.command(Who::Plain, &["/bin/sh", "-c", &script]);
        command.env("KILL", random.u64(20_000..400_000).to_string()).output().unwrap();
        place.check().map_err(|why| format!("round {round}: {why}"))?;
        // Each is as it was, or has been copied whole.
        let script = "cd $D/old/d; test $(ls | wc -l) = 300; test \"$(cat * | tr -d xy)\" = ''
            for f in *; do test \"$(head -c 60000 $f | tr -d x)\" = ''; done; find . -size +60000c | wc -l";
        changed =
            place.script(Who::Plain, script).fine().map_err(|why| format!("round {round}: {why}"))?.parse().unwrap();
        before += 30;
    }
    same(changed > 0, true)
}

/// On a disk on which the whole copy takes seconds. Slurm takes a node out of use whose processes do not end.
fn who_is_killed_waits_for_no_copy() -> Result<(), String> {
    let place = with_files(64, 1, 24 << 20);
    place.own("oracle");
    let script = "cd $D/old/d; chmod 600 f0 & sleep 0.4; before=$(date +%s%N); kill -KILL $!; wait $! || true
        test $((($(date +%s%N) - before) / 1000000)) -lt 1000; stat -c %a f0";
    let mut command = place.command(Who::Plain, &["/bin/bash", "-c", script]);
    let output = command.env("TRIED", disk::slow(100, place.path("oracle/slow").to_str().unwrap())).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    same((output.status.code(), said.as_str()), (Some(0), "644\n"))?;
    place.check()
}

fn what_others_have_left_in_work_goes() -> Result<(), String> {
    let place = Place::new(16, &[], |content, _| {
        fs::create_dir_all(content.join("work/work/#5")).unwrap();
        fs::write(content.join("work/work/#7"), vec![1; 3 << 20]).unwrap();
    });
    place.script(Who::Plain, "true").fine()?;
    place.check()?;
    same(place.debugfs("ls -p /work/work").contains("/#"), false)
}
