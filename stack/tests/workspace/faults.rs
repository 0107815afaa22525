//! The disk fails, or a quota is reached: the program is told, or the user; what was accepted or made to last is there, and the image is in order.

use std::fs;

use super::disk;
use super::place::{Place, Who, same};
use super::{Test, chance};

pub(crate) const TESTS: &[Test] = &[
    ("a_disk_that_fails_is_told", a_disk_that_fails_is_told),
    ("a_quota_is_told_at_each_step", a_quota_is_told_at_each_step),
];

/// What is done, and what is made to last on the way: its names are in `$PLACE/oracle/lasts`. What was not accepted ends it.
const WORK: &str = "set -e; umask 022; cd $D; mkdir d; lasts() { sync \"$@\"; echo \"$*\" >> $PLACE/oracle/lasts; }
    for n in 1 2 3 4 5 6; do seq $n 1500 > d/$n; ln d/$n d/l$n; mv d/$n d/m$n; test $((n % 3)) != 0 || lasts d/m$n d/l$n; done
    rm d/l1 d/m2; seq 9 > lower; chmod 600 d/m4; mkdir e; mv d/m5 e/m5; setfattr -n user.x -v y d/m6 2> /dev/null || true
    seq 3000 > e/tmp; sync e/tmp; mv e/tmp e/whole; lasts e e/whole; truncate -s 100000 d/m6; rm -r d; seq 20 > end; lasts end";

/// What a file of that name has.
fn content(name: &str) -> String {
    let digits: String = name.chars().filter(char::is_ascii_digit).collect();
    let numbers = |from: u32, to: u32| (from..=to).map(|number| format!("{number}\n")).collect();
    match name {
        "e/whole" => numbers(1, 3000),
        "end" => numbers(1, 20),
        _ => numbers(digits.parse().unwrap(), 1500),
    }
}

fn place() -> Place {
    let place =
        Place::new(16, &["-J", "size=1"], |_, lower| fs::write(lower.join("lower"), "of the layer below").unwrap());
    place.own("oracle");
    place
}

/// Does the work on such a disk; returns what was said.
fn work(place: &Place, tried: &str) -> (i32, String) {
    let output = place.command(Who::Plain, &["/bin/bash", "-c", WORK]).env("TRIED", tried).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&said).into_owned())
}

/// What was made to last is there for the next session, unless it was removed since.
fn lasts(place: &Place) -> Result<(), String> {
    let names = fs::read_to_string(place.path("oracle/lasts")).unwrap_or_default();
    let look = "cd $D; test -e d && echo +d; for f in d/* e/* end; do test ! -f $f || { echo =$f; cat $f; }; done";
    let said = place.script(Who::Plain, &format!("{look}; true")).fine()?;
    for name in names.split_whitespace().filter(|name| *name != "e") {
        let found = said.split('=').find_map(|part| part.strip_prefix(&format!("{name}\n")));
        match found {
            Some(found) if found.trim_end() == content(name).trim_end() => {}
            // All of `d` goes in the end, and part of it before.
            None if name.starts_with("d/") && names.contains("e/whole") => {}
            found => return Err(format!("{name} has {:?}\n{said}", found.map(str::len))),
        }
    }
    Ok(())
}

/// One write or flush fails, or all from one on do.
fn a_disk_that_fails_is_told() -> Result<(), String> {
    let file = |place: &Place| place.path("oracle/calls").display().to_string();
    let first = place();
    let (code, said) = work(&first, &disk::failing(u64::MAX, 0, 5, &file(&first)));
    same((code, said.as_str()), (0, ""))?;
    first.check()?;
    lasts(&first)?;
    let calls = disk::calls(&fs::read(first.path("oracle/calls")).unwrap());
    same(calls > 60, true).map_err(|why| format!("{calls} calls: {why}"))?;
    let tries = chance::runs(14).min(calls);
    for (number, call) in (0..tries).map(|number| (number, number * calls / tries)) {
        let place = place();
        let count = if number % 3 == 0 { u64::MAX } else { 1 };
        let (code, said) = work(&place, &disk::failing(call, count, 5, &file(&place)));
        let context = |why: String| format!("from call {call} of {calls} on {count}: {why}\n{said}");
        let words = ["Input/output error", "Read-only file system", "nothing more is changed"];
        let is_told = words.iter().any(|word| said.contains(word));
        // The last of the calls may not be made: commits are made by the clock, too.
        let made = disk::calls(&fs::read(place.path("oracle/calls")).unwrap()) > call;
        if made && !is_told || code == 0 && made && !said.contains("server: ") {
            return Err(context(format!("code {code}")));
        }
        place.replay();
        place.check().map_err(context)?;
        lasts(&place).map_err(context)?;
    }
    Ok(())
}

/// No room is given any more from some time on: what was accepted has its room, so that the image can be left in order.
fn a_quota_is_told_at_each_step() -> Result<(), String> {
    let mut told = 0;
    let tries = chance::runs(9);
    let mut calls = 0;
    for number in 0..=tries {
        let place = place();
        let first = if number == 0 { u64::MAX } else { (number - 1) * calls / tries };
        let file = place.path("oracle/calls").display().to_string();
        let (code, said) = work(&place, &disk::full(first, 122, &file));
        let context = |why: String| format!("from call {first} on: code {code}: {why}\n{said}");
        match (code, said.contains("Disk quota exceeded") || said.contains("Quota exceeded")) {
            (0, false) => {}
            (_, true) => told += 1,
            _ => return Err(context("it is not told".into())),
        }
        if number == 0 {
            calls = disk::calls(&fs::read(place.path("oracle/calls")).unwrap());
        }
        place.check().map_err(context)?;
        lasts(&place).map_err(context)?;
    }
    same(told > 2, true).map_err(|why| format!("{told} of {tries}, {calls} calls: {why}"))
}
