//! What reports look like on a terminal and in a pipe: colours, bars, tables, and progress.

use anyhow::{Result, ensure};

use crate::support::{Desk, Expect, tests};

tests! {
    Slurm, Desk: [colours_are_for_terminals, space_is_drawn, a_directory_of_images_is_a_table, progress_is_for_terminals];
}

const REPORTS: [&str; 5] = ["list", "info env.img", "ps", "doctor", "config"];

fn colours_are_for_terminals(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    desk.script("mkdir -p dir; cp env.img dir/env--1.img")?.success()?;
    for report in REPORTS {
        let line = format!("export CONDATAINER_IMAGE_DIRS=$PWD/dir; condatainer {report}");
        let coloured = |line: &str, terminal: bool| {
            let command = desk.command().env("TERM", "xterm");
            let command = if terminal { command.terminal() } else { command };
            Ok::<_, anyhow::Error>(command.run(&["bash", "-c", line])?.stdout.contains('\u{1b}'))
        };
        ensure!(coloured(&line, true)?, "{report}: none on a terminal");
        ensure!(!coloured(&line, false)?, "{report}: in a pipe");
        ensure!(!coloured(&format!("export NO_COLOR=1; {line}"), true)?, "{report}: with NO_COLOR");
        ensure!(coloured(&format!("export CLICOLOR_FORCE=1; {line}"), false)?, "{report}: none with CLICOLOR_FORCE");
    }
    Ok(())
}

fn space_is_drawn(desk: &Desk) -> Result<()> {
    desk.image_with(
        "env.img",
        "1001:1001",
        "mkdir -p big small; head -c 4000000 /dev/urandom > big/f; echo > small/f",
    )?;
    let info = desk.run(&["condatainer", "info", "env.img"])?.success()?.stdout;
    let used = info.lines().find(|line| line.starts_with("used ")).unwrap_or_default();
    ensure!(used.contains('█') && used.ends_with(" %"), "{info}");
    let summary = desk.run(&["condatainer", "-q", "overlay", "diff", "--summary", "env.img"])?.success()?.stdout;
    let bar = |end: &str| summary.lines().find(|line| line.ends_with(end)).map(|line| line.matches('█').count());
    ensure!(bar(" /big/") == Some(16) && bar(" /small/") == Some(0), "{summary}");
    Ok(())
}

fn a_directory_of_images_is_a_table(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    desk.squashfs("low.sqf", "")?;
    desk.script("mkdir dir none; mv env.img low.sqf dir; echo broken > dir/broken.img; echo > dir/other.txt")?
        .success()?;
    let table = desk.run(&["condatainer", "overlay", "info", "dir"])?.success()?.stdout;
    let lines: Vec<&str> = table.lines().collect();
    ensure!(lines.len() == 4 && lines[0].starts_with("NAME "), "{table}");
    ensure!(
        lines[1].starts_with("broken.img")
            && lines[1].ends_with("is a text file; a layer is a squashfs, ext3 or SIF image, or a directory"),
        "{table}"
    );
    ensure!(lines[2].starts_with("env.img") && lines[2].contains("alice") && lines[2].ends_with("clean"), "{table}");
    ensure!(lines[3].starts_with("low.sqf") && lines[3].contains("squashfs"), "{table}");
    let json = desk.run(&["condatainer", "overlay", "info", "--json", "dir"])?.success()?.stdout;
    ensure!(json.contains("\"kind\": \"directory\""), "{json}");
    desk.run(&["condatainer", "overlay", "info", "none"])?.holds("kind        directory")
}

fn progress_is_for_terminals(desk: &Desk) -> Result<()> {
    desk.image_with("env.img", "1001:1001", "head -c 8000000 /dev/urandom > f")?;
    let seal = ["condatainer", "overlay", "seal", "--force", "env.img"];
    let said = desk.run(&seal)?.success()?.stderr;
    ensure!(said.lines().count() == 1 && !said.contains('\u{1b}'), "{said:?}");
    let drawn = desk.command().env("TERM", "xterm").terminal().run(&seal)?.success()?.stdout;
    ensure!(drawn.contains("env.sqf: looking at what is in the image"), "{drawn:?}");
    ensure!(drawn.contains(" of 7.63 MiB, ") && drawn.contains(" left"), "{drawn:?}");
    let quiet =
        desk.command().env("TERM", "xterm").terminal().run(&[&seal[..1], &["-q"], &seal[1..]].concat())?.success()?;
    ensure!(quiet.stdout.is_empty(), "{quiet:?}");
    Ok(())
}
