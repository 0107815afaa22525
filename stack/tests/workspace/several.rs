//! Files of layers that have several names: what is changed by one of them is changed under all, now and in the next session.

use std::fs;
use std::process::Command;

use super::Test;
use super::place::{Place, Who, run, same};

pub(crate) const TESTS: &[Test] = &[
    ("a_name_in_a_forgotten_directory_is_no_obstacle", a_name_in_a_forgotten_directory_is_no_obstacle),
    ("each_name_by_which_a_file_was_changed_lasts", each_name_by_which_a_file_was_changed_lasts),
    ("names_that_nobody_has_looked_up_are_the_copys_too", names_that_nobody_has_looked_up_are_the_copys_too),
    ("names_that_find_no_room_come_later", names_that_find_no_room_come_later),
];

/// The kernel has a file by one of its names, and has forgotten the directory of the other one, by which it was found last.
fn a_name_in_a_forgotten_directory_is_no_obstacle() -> Result<(), String> {
    // As root of the machine, who can make the kernel forget what nobody uses.
    let begin = "cd $D; exec 3< c/one; cat a/b/other; { echo 2 > /proc/sys/vm/drop_caches; } 2> /dev/null || true;";
    for layers in 0..3 {
        for (change, wanted) in [("rm c/one; echo new", "lowernew"), ("echo new", "lowernew\nnew")] {
            let place = Place::new(16, &[], |_, lower| {
                fs::create_dir_all(lower.join("a/b")).unwrap();
                fs::create_dir(lower.join("c")).unwrap();
                fs::write(lower.join("c/one"), "lower").unwrap();
                fs::hard_link(lower.join("c/one"), lower.join("a/b/other")).unwrap();
            });
            if layers > 0 {
                place.pack("lower", "lower.sqf");
            }
            if layers > 1 {
                fs::create_dir_all(place.path("higher/a/b")).unwrap();
                fs::create_dir_all(place.path("higher/c")).unwrap();
                place.pack("higher", "higher.sqf");
            }
            let script = format!(
                "{begin} {change} > /dev/fd/3; for name in c/one a/b/other; do [ ! -e $name ] || cat $name; done"
            );
            same(place.script(Who::Root, &script).fine()?, wanted.into()).map_err(|why| format!("{layers}: {why}"))?;
            place.check()?;
            // Of a directory of the host nobody knew the name any more.
            let last = if layers == 0 { "lower" } else { "new" };
            same(place.script(Who::Root, "cat $D/a/b/other").fine()?, last.into())
                .map_err(|why| format!("{layers}, the next session: {why}"))?;
        }
    }
    Ok(())
}

/// A name in a directory of the host that the kernel has not looked up is nobody's concern; it may be, and others may change it.
fn each_name_by_which_a_file_was_changed_lasts() -> Result<(), String> {
    let place = Place::new(16, &[], |_, lower| {
        for directory in ["d", "e", "f"] {
            fs::create_dir(lower.join(directory)).unwrap();
        }
        fs::write(lower.join("d/a"), "lower\n").unwrap();
        for other in ["d/b", "e/c", "f/never"] {
            fs::hard_link(lower.join("d/a"), lower.join(other)).unwrap();
        }
    });
    let times = "stat -c %y $D/d $D/e";
    let before = place.script(Who::Plain, times).fine()?;
    let change = "cd $D; echo one >> d/b; echo two >> e/c; cat d/a; stat -c %h d/a";
    same(place.script(Who::Plain, change).fine()?, "lower\none\ntwo\n4".into())?;
    place.check()?;
    let see = "cd $D; cat d/a d/b e/c; stat -c %h e/c; test d/a -ef e/c; cat f/never";
    same(place.script(Who::Plain, see).fine()?, format!("{}3\nlower", "lower\none\ntwo\n".repeat(3)))?;
    // Nothing is new in their directories.
    same(place.script(Who::Plain, times).fine()?, before)?;
    // A name that is taken away stays away.
    place.script(Who::Plain, "cd $D; rm d/a; echo three >> e/c; rm e/c; echo four >> d/b; ls -A d e").fine()?;
    same(place.script(Who::Plain, "cd $D; ls -A d e; cat d/b | tail -n 2").fine()?, "d:\nb\n\ne:\nthree\nfour".into())?;
    place.check()
}

/// An image knows all names of a file, and they are one file's in the next session, too: changed by one, renamed, or named once more.
fn names_that_nobody_has_looked_up_are_the_copys_too() -> Result<(), String> {
    for layers in 1..3 {
        let place = Place::new(16, &[], |_, lower| {
            fs::create_dir_all(lower.join("c/in/deep")).unwrap();
            for file in ["changed", "moved", "linked", "hidden", "covered"] {
                fs::write(lower.join(file), file).unwrap();
                fs::hard_link(lower.join(file), lower.join("c/in").join(file)).unwrap();
                fs::hard_link(lower.join(file), lower.join("c/in/deep").join(file)).unwrap();
            }
            run(Command::new("mknod").arg(lower.join("pipe")).arg("p"));
            fs::hard_link(lower.join("pipe"), lower.join("c/in/pipe")).unwrap();
        });
        place.pack("lower", "lower.sqf");
        if layers > 1 {
            fs::create_dir_all(place.path("higher/c/in/deep")).unwrap();
            fs::write(place.path("higher/c/in/covered"), "higher").unwrap();
            place.pack("higher", "higher.sqf");
        }
        place
            .script(Who::Plain, "cd $D; rm c/in/hidden; mv c/in/deep deep; rmdir deep 2> /dev/null || rm -r deep")
            .fine()?;
        let change = "cd $D; echo more >> changed; mv moved new; ln linked again; echo more >> hidden; echo more >> covered; chmod 600 pipe";
        place.script(Who::Plain, change).fine()?;
        place.check()?;
        // In a session of its own, by the other name.
        place
            .script(Who::Plain, "cd $D/c/in; for file in changed moved linked; do echo $file >> $file; done")
            .fine()?;
        place.check()?;
        let see = "cd $D; cat changed new again hidden c/in/covered; ls c/in | xargs; stat -c %h:%a changed new linked hidden c/in/pipe | xargs";
        let covered = if layers > 1 { "higher" } else { "coveredmore\n" };
        let wanted = format!(
            "changedmore\nchanged\nmovedmoved\nlinkedlinked\nhiddenmore\n{covered}changed covered linked moved pipe\n2:644 2:644 3:644 1:644 2:600"
        );
        same(place.script(Who::Plain, see).fine()?, wanted).map_err(|why| format!("{layers} layers: {why}"))?;
    }
    Ok(())
}

/// A copy has all its names or none. Of very many it gets some at a time: the others when there is room, and the file is changed again.
fn names_that_find_no_room_come_later() -> Result<(), String> {
    for count in [60, 200] {
        let place = Place::new(16, &[], |_, lower| {
            fs::create_dir(lower.join("d")).unwrap();
            fs::write(lower.join("a"), "lower\n").unwrap();
            // Twenty long names take a block of a directory.
            (0..count).for_each(|n| fs::hard_link(lower.join("a"), lower.join(format!("d/{n:0>200}"))).unwrap());
        });
        place.pack("lower", "lower.sqf");
        let many = count > 64;
        let room = if many { 24 } else { 8 };
        let fill = format!(
            "cd $D; head -c {room}K /dev/zero > room; sync room; cat /dev/zero > full 2> /dev/null || true; rm room; sync .
            chmod 600 a 2>&1 || true; stat -c %a a d/*1 | sort | uniq -c | xargs"
        );
        let change = "cd $D; rm full; echo more >> a";
        let seen = "cd $D; stat -c %h a; cat a d/* | sort | uniq -c | xargs";
        let wanted = format!("{0}\n{0} lower {0} more", count + 1);
        let said = if many {
            place.script(Who::Plain, &format!("{fill}; {change}; {seen}")).fine()?
        } else {
            let said = place.script(Who::Plain, &fill).fine()?;
            place.check()?;
            let names = ["/upper", "/upper/d"].map(|at| place.debugfs(&format!("ls -p {at}")));
            same(names.iter().any(|names| names.contains("/a/") || names.contains("00000")), false)?;
            said + "\n" + &place.script(Who::Plain, &format!("{change}; {seen}")).fine()?
        };
        let (failed, seen_then) = said.split_once('\n').unwrap_or_default();
        same(failed.ends_with("No space left on device"), true).map_err(|why| format!("{count}: {said}: {why}"))?;
        same(seen_then, &*format!("{} 644\n{wanted}", count / 10 + 1)).map_err(|why| format!("{count}: {why}"))?;
        place.check()?;
        same(place.script(Who::Plain, seen).fine()?, wanted)
            .map_err(|why| format!("{count}, the next session: {why}"))?;
    }
    Ok(())
}
