//! A researcher's whole workflow, as the documentation tells it: with names, with real R, with real apt from the machine's own mirror.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cluster::{Command, Output, Release, modules};

use crate::support::setup::CONFIG;
use crate::support::{Desk, Expect, Setup, World, tests};

tests! {
    Only(Release::Sid), OwnCluster: [the_story_word_for_word, apt_without_a_subuid_range];
}

/// apt downloads and unpacks through FUSE.
const LIMIT: Duration = Duration::from_secs(400);

const INSTALL: &str = "apt update && apt install -y tesseract-ocr-eng";

/// A cluster with a way out, on which the site has named its distribution.
fn online(world: &World, release: Release, run: impl FnOnce(&Desk) -> Result<()>) -> Result<()> {
    world.with_cluster(release, &Setup { online: true, modules: true, ..Setup::default() }, |desk| {
        desk.as_root(&format!("echo 'default_distro = \"trixie\"' >> {CONFIG}"))?.success()?;
        run(desk)
    })
}

/// A command line of the story, as it is typed.
fn words(line: &str) -> Vec<&str> {
    line.split(' ').collect()
}

fn command<'a>(desk: &Desk<'a>) -> Command<'a> {
    desk.command().timeout(LIMIT)
}

/// Types a line.
fn types(desk: &Desk, line: &str) -> Result<Output> {
    command(desk).run(&words(line))
}

/// Types a line, and then lines for what it starts.
fn types_into(desk: &Desk, line: &str, lines: &str) -> Result<Output> {
    command(desk).stdin(lines).run(&words(line))
}

/// The same on a terminal.
fn types_on_a_terminal(desk: &Desk, line: &str, lines: &str) -> Result<Output> {
    command(desk).env("TERM", "xterm").terminal().stdin(lines).run(&words(line))
}

/// All that we say, which is this line and no other, but for what `e` always says.
fn says_only(output: &Output, line: &str) -> Result<()> {
    let is_of_e = |line: &&str| line.starts_with("condatainer: writing to ./env.img");
    let said = output.stderr.lines().filter(|line| line.contains("condatainer: ") && !is_of_e(line));
    let said: Vec<_> = said.collect();
    ensure!(said.len() == 1 && said[0].contains(line), "{said:?}");
    Ok(())
}

/// The user who owns a file in the image, as it is on disk.
fn owner_on_disk(desk: &Desk, path: &str) -> Result<u32> {
    let request = format!("stat /upper/{path}");
    let stat = desk.run(&["/sbin/debugfs", "-R", &request, "env.img"])?.success()?.stdout;
    let uid = stat.split_whitespace().skip_while(|word| *word != "User:").nth(1).and_then(|word| word.parse().ok());
    uid.with_context(|| format!("{path}: {stat}"))
}

/// The files of apt's own user, on the way to root and back.
fn apts_files_are_apts(desk: &Desk) -> Result<()> {
    let apt = types(desk, "condatainer exec -o env.img id -u _apt")?.success()?.stdout.trim().parse::<u32>()?;
    for path in ["var/lib/apt/lists/partial", "var/cache/apt/archives/partial"] {
        ensure!(owner_on_disk(desk, path)? == apt, "{path}: {}", owner_on_disk(desk, path)?);
    }
    Ok(())
}

/// A source package of R with C code, and what a user types to install and use it.
fn write_r_package(desk: &Desk) -> Result<()> {
    desk.run(&["mkdir", "-p", "greet/R", "greet/src"])?.success()?;
    desk.write("greet/DESCRIPTION", "Package: greet\nVersion: 1.0\nTitle: A Greeting\nLicense: MIT\n")?;
    desk.write("greet/NAMESPACE", "useDynLib(greet)\nexport(greet)\n")?;
    desk.write("greet/R/greet.R", "greet <- function() .Call(\"c_greet\", PACKAGE = \"greet\")\n")?;
    let c = "#include <Rinternals.h>\nSEXP c_greet(void) { return Rf_mkString(\"hello from C\"); }\n";
    desk.write("greet/src/greet.c", c)?;
    let install = "dir.create('/ext3/R', recursive = TRUE)
        install.packages('greet', lib = '/ext3/R', repos = NULL, type = 'source')
        library(greet, lib.loc = '/ext3/R')
        cat(system('tesseract --list-langs', intern = TRUE)[-1], greet(), sep = '\\n')";
    desk.write("install.R", install)
}

fn the_story_word_for_word(world: &World, release: Release) -> Result<()> {
    online(world, release, |desk| {
        desk.script(&format!("mkdir -p ~/.local/share/condatainer/images && ln -s {}/* $_", modules::INSIDE))?
            .success()?;
        write_r_package(desk)?;
        types(desk, "condatainer o")?.success()?.complains("env.img: made, 10.00 GiB, belongs to you (alice)")?;
        let typed =
            types_on_a_terminal(desk, "condatainer e r4.4.3 build-essential -- R", "cat(6*7, '\\n'); q('no')\n")?;
        ensure!(typed.code == 0 && typed.stdout.contains("42 \r\n"), "{typed:?}");
        types(desk, "condatainer overlay chown --root env.img")?
            .success()?
            .complains("belongs to root (starts use fakeroot)")?;
        let typed = types_into(
            desk,
            "condatainer e r4.4.3 build-essential",
            "id -u; make --version | head -n 1; R --version | head -n 1\n",
        )?;
        ensure!(typed.stdout.starts_with("0\nGNU Make ") && typed.stdout.contains("\nR version "), "{typed:?}");
        says_only(&typed, "env.img belongs to root (--no-fakeroot turns it off)")?;
        let typed = types_on_a_terminal(desk, "condatainer e", &format!("{INSTALL}; exit\n"))?.success()?;
        ensure!(typed.stdout.contains("Setting up tesseract-ocr-eng"), "{}", typed.stdout);
        apts_files_are_apts(desk)?;
        types(desk, "condatainer overlay chown env.img")?
            .success()?
            .complains("belongs to 1001:1001 instead of root")?;
        apts_files_are_apts(desk)?;
        ensure!(owner_on_disk(desk, "usr/bin/tesseract")? == 1001, "the program is not the user's");
        let line = "condatainer e r4.4.3 build-essential -- R";
        let typed = types_on_a_terminal(desk, line, "source('install.R'); q('no')\n")?.success()?;
        ensure!(typed.stdout.contains("\r\neng\r\nosd\r\nhello from C"), "{}", typed.stdout);
        with_fakeroot_by_hand(desk)?;
        with_root(desk)
    })
}

/// `-f` on an image of the user's leaves files that only root can change; the next `with-root` puts them right.
fn with_fakeroot_by_hand(desk: &Desk) -> Result<()> {
    let image = desk.path("env.img");
    types(desk, &format!("condatainer exec --fakeroot -w -o {image} id -u"))?.says("0")?.without_a_word()?;
    let typed = types_into(desk, "condatainer -q e -f env.img", "id -u; touch /made-by-root\n")?.without_a_word()?;
    ensure!(typed.code == 0 && typed.stdout == "0\n", "{typed:?}");
    Ok(())
}

fn with_root(desk: &Desk) -> Result<()> {
    let typed =
        types(desk, "condatainer overlay with-root env.img -- apt install -y hello")?.success()?.without_a_word()?;
    ensure!(typed.stdout.contains("Setting up hello"), "{typed:?}");
    types(desk, "condatainer exec -o env.img hello")?.says("Hello, world!")?.without_a_word()?;
    let typed = types(desk, "condatainer e -- touch /made-by-root /ext3/R/more")?.success()?;
    ensure!(typed.stderr == "condatainer: writing to ./env.img (found here; -n leaves it out)\n", "{typed:?}");
    apts_files_are_apts(desk)?;
    desk.is_clean("env.img")
}

/// Where only root exists, `dpkg` gets along, but on the engine's way apt cannot enter the directories of its user in a base that root has
/// built. What the line says to do does it. Where we mount, all is root's.
fn apt_without_a_subuid_range(world: &World, release: Release) -> Result<()> {
    online(world, release, |desk| {
        let bob = &desk.of("bob")?.with_mounts("own");
        types(bob, "condatainer o -s 1G own.img")?.success()?;
        let apt = "apt update && apt install -y hello && hello";
        let typed =
            types_into(bob, "condatainer exec -f -w -o own.img -- sh", &format!("{apt}\n"))?.without_a_word()?;
        ensure!(typed.code == 0 && typed.stdout.ends_with("Hello, world!\n"), "{typed:?}");
        types(bob, "condatainer exec -o own.img hello")?.says("Hello, world!")?;
        bob.is_clean("own.img")?;
        let bob = &bob.with_mounts("engine");
        types(bob, "condatainer o -s 1G")?.success()?;
        let advice = "you have no subuid range, so only root exists inside";
        let typed =
            types(bob, "condatainer overlay with-root env.img -- apt update")?.ends_with(100)?.complains(advice)?;
        says_only(&typed, "/etc/subuid and /etc/subgid")?;
        let (_, options) = typed.stderr.split_once("others: apt ").context("no command in the advice")?;
        let options = options.lines().next().unwrap_or_default().trim_end_matches(" ...");
        let apt = format!("condatainer overlay with-root env.img -- apt {options}");
        types(bob, &format!("{apt} update"))?.success()?.without_a_word()?;
        types(bob, &format!("{apt} install -y hello"))?.success()?.without_a_word()?;
        types(bob, "condatainer exec -o env.img hello")?.says("Hello, world!")?;
        types(bob, "condatainer overlay chown --root env.img")?.success()?;
        types_into(bob, "condatainer e", "apt update\n")?.ends_with(100)?.complains(advice)?;
        let typed = types_into(bob, "condatainer e", "exit 1\n")?.ends_with(1)?;
        says_only(&typed, "fakeroot turned on")?;
        bob.is_clean("env.img")
    })
}
