//! What nobody has typed is named by the key and the file that decided it, in a start and by the doctor in the same words.

use anyhow::{Context, Result, ensure};
use cluster::Release;
use serde_json::Value;

use crate::support::{Desk, Expect, Setup, World, tests};

tests! {
    ApptainerOnce, Desk: [what_the_user_has_configured_is_named];
    Only(Release::Sid), OwnCluster: [a_wrong_engine_is_named_with_its_key, what_the_site_has_fixed_is_named];
}

const CONFIG: &str = "/etc/condatainer/config.toml";

/// What the doctor says about a check: found, then what to do.
fn doctor(desk: &Desk, id: &str) -> Result<String> {
    let output = desk.run(&["condatainer", "doctor", "--json"])?;
    let report: Value = serde_json::from_str(&output.stdout).with_context(|| format!("{output:?}"))?;
    let check =
        report["checks"].as_array().into_iter().flatten().find(|check| check["id"] == id).context("no check")?;
    let text = |key: &str| check[key].as_str().unwrap_or_default().to_owned();
    Ok(format!("{}; {}", text("found"), text("cure")))
}

fn configure(desk: &Desk, text: &str) -> Result<()> {
    desk.as_root(&format!("cat > {CONFIG} <<'END'\n{text}\nEND"))?.success().map(drop)
}

fn a_wrong_engine_is_named_with_its_key(world: &World, release: Release) -> Result<()> {
    world.with_cluster(release, &Setup::default(), |desk| {
        desk.image("env.img")?;
        desk.as_root("touch /srv/plain; printf 'no program' > /srv/nonsense; chmod 755 /srv/nonsense; ln -s /srv/loop /srv/loop")?
            .success()?;
        for (program, why) in [
            ("/no/such", "no such file or directory"),
            ("/usr/bin", "is not a program"),
            ("/srv/plain", "you may not execute it"),
            ("/srv/loop", "Too many levels of symbolic links"),
            ("/srv/nonsense", "cannot be started: Exec format error"),
            ("/usr/bin/true", "does not say that it is Apptainer or SingularityCE"),
        ] {
            configure(desk, &format!("base = \"/srv/base/base.sqf\"\n# the engine\napptainer = \"{program}\""))?;
            let words = format!(
                "{program}: {why}; it is 'apptainer' in {CONFIG}, line 3: your administrator must name Apptainer there, or take the key out, so that the one in PATH is used"
            );
            desk.refused(desk.exec(&["-o", "env.img"], "echo RAN")?, &format!("condatainer: {words}\n"))?.ends_with(125)?;
            desk.refused(desk.srun_in("env.img", "echo RAN")?, &words)?.ends_with(125)?;
            let found = doctor(desk, "engine")?;
            ensure!(found.starts_with(&words), "the doctor says: {found}");
        }
        Ok(())
    })
}

fn what_the_site_has_fixed_is_named(world: &World, release: Release) -> Result<()> {
    world.with_cluster(release, &Setup::default(), |desk| {
        let desk = &desk.with_mounts("engine");
        desk.root_image("root.img")?;
        desk.image("env.img")?;
        let by_site = |key: &str, line: u32| {
            format!("it is '{key}' under [fixed] in {CONFIG}, line {line}, which only your administrator can change")
        };
        configure(desk, "[fixed]\nbase = \"/no/base.sif\"")?;
        let words = format!("/no/base.sif: no such file or directory; {}", by_site("base", 2));
        desk.refused(desk.exec(&["-o", "env.img"], "echo RAN")?, &format!("condatainer: {words}\n"))?.ends_with(125)?;
        desk.refused(desk.srun_in("env.img", "echo RAN")?, &words)?;
        ensure!(doctor(desk, "base")? == words, "{}", doctor(desk, "base")?);

        configure(desk, "base = \"/srv/base/base.sqf\"\n[fixed]\nfakeroot = false")?;
        let refused =
            desk.refused(desk.exec(&["-o", "root.img:rw"], "echo RAN")?, "its upper belongs to 0:0 and you are ")?;
        let refused = refused.complains(&format!(
            ", or ask your administrator about 'fakeroot' under [fixed] in {CONFIG}, line 3, which is false\n"
        ))?;
        ensure!(!refused.stderr.contains("--no-fakeroot"), "{}", refused.stderr);
        desk.refused(
            desk.srun_in("root.img:rw", "echo RAN")?,
            "or ask your administrator about 'fakeroot' under [fixed]",
        )?;
        desk.run(&["condatainer", "overlay", "with-root", "env.img", "--", "true"])?
            .ends_with(125)?
            .complains("there is no root without fakeroot: ask your administrator about 'fakeroot' under [fixed]")?;

        configure(desk, "base = \"/srv/base/base.sqf\"\n[fixed]\ntmpdir = \"/no/local\"")?;
        let words =
            format!("/no/local: cannot hold what :tmp layers write: no such directory: {}", by_site("tmpdir", 3));
        desk.refused(desk.exec(&["-o", "env.img:tmp"], "echo RAN")?, &format!("condatainer: {words}\n"))?
            .ends_with(125)?;
        desk.refused(desk.srun_in("env.img:tmp", "echo RAN")?, &words)?;
        ensure!(doctor(desk, "tmpdir")? == words.replacen("directory: it is", "directory; it is", 1));
        let build =
            desk.script("mkdir -p rootfs; condatainer create -s rootfs -p a.sqf --tmpdir /tmp")?.ends_with(1)?;
        let build = build.complains("tmpdir is fixed by this site to /no/local; the option is not followed")?;
        build.complains(&format!(
            "/no/local: cannot be used for building: No such file or directory; {}",
            by_site("tmpdir", 3)
        ))?;
        Ok(())
    })
}

fn what_the_user_has_configured_is_named(desk: &Desk) -> Result<()> {
    let desk = &desk.with_mounts("engine");
    desk.image("env.img")?;
    desk.root_image("root.img")?;
    let file = desk.path("xdg/condatainer/config.toml");
    let text = "base = \"/no/base.sif\"\ntmpdir = \"/no/tmp\"\n\nfakeroot = false\nconda = \"/no/conda\"\n";
    desk.run(&["mkdir", "-p", "xdg/condatainer"])?.success()?;
    desk.write("xdg/condatainer/config.toml", text)?;
    let typed = |variables: &[(&str, &str)], words: &[&str]| {
        let command = desk.command().env("XDG_CONFIG_HOME", &desk.path("xdg"));
        variables.iter().fold(command, |command, (name, value)| command.env(name, value)).run(words)
    };
    let base = ["-b", "/srv/base/base.sqf"];
    let exec = |options: &[&'static str]| [&["condatainer", "exec"], options, &["echo", "RAN"]].concat();
    for (variables, words, said) in [
        (
            vec![],
            exec(&["-o", "env.img"]),
            format!(
                "/no/base.sif: no such file or directory; it is 'base' in {file}, line 1: correct it, or name another with -b"
            ),
        ),
        (
            vec![("CONDATAINER_BASE", "/no/other")],
            exec(&["-o", "env.img"]),
            "/no/other: no such file or directory; it is CONDATAINER_BASE: correct it, or name another with -b".into(),
        ),
        (
            vec![],
            exec(&["-b", "/no/typed", "-o", "env.img"]),
            "condatainer: /no/typed: no such file or directory\n".into(),
        ),
        (
            vec![],
            exec(&["-o", "env.img:tmp", base[0], base[1]]),
            format!(
                "/no/tmp: cannot hold what :tmp layers write: no such directory: it is 'tmpdir' in {file}, line 2: correct it, or set CONDATAINER_TMPDIR to another directory"
            ),
        ),
        (
            vec![("CONDATAINER_TMPDIR", "/no/t")],
            exec(&["-o", "env.img:tmp", base[0], base[1]]),
            "/no/t: cannot hold what :tmp layers write: no such directory: it is CONDATAINER_TMPDIR: correct it".into(),
        ),
        (
            vec![],
            exec(&["-o", "root.img:rw", base[0], base[1]]),
            format!(", or change 'fakeroot' in {file}, line 4, which is false\n"),
        ),
        (
            vec![("CONDATAINER_FAKEROOT", "false")],
            exec(&["-o", "root.img:rw", base[0], base[1]]),
            ", or unset CONDATAINER_FAKEROOT, which is false\n".into(),
        ),
        (
            vec![("CONDATAINER_FAKEROOT", "true")],
            exec(&["-o", "root.img:rw", "--no-fakeroot", base[0], base[1]]),
            ", or drop --no-fakeroot\n".into(),
        ),
    ] {
        let output = typed(&variables, &words)?;
        desk.refused(output, &said)?.ends_with(125)?;
    }
    let conda = typed(&[], &["condatainer", "create", "-n", "x", "zlib"])?.ends_with(1)?;
    conda.complains(&format!("/no/conda: no such program; it is 'conda' in {file}, line 5: correct it, or name micromamba, mamba or conda with --conda PATH"))?;
    Ok(())
}
