//! What is made, and what it is like in a container.

use anyhow::{Result, ensure};

use super::{IMAGES, create, exec};
use crate::support::{Desk, Expect};

/// Packages by name: `create -n NAME PACKAGE...`, and `create NAME/VERSION` alone.
pub(super) fn by_packages(desk: &Desk) -> Result<()> {
    let said = create(desk, &["-n", "hello/1.2", "-c", "./channel", "hello=1.2"])?.success()?;
    said.without_stdout()?.complains("hello--1.2.sqf: made, ")?.complains("2 packages in /cnt/hello/1.2")?;
    // The prefix is in the files, and everybody may read what the packages have closed.
    exec(desk, "hello/1.2", &["hello"])?.says("hello from /cnt/hello/1.2, 1.2")?;
    exec(desk, "hello/1.2", &["hi"])?.says("hello from /cnt/hello/1.2, 1.2")?;
    exec(desk, "hello/1.2", &["readlink", "/cnt/hello/1.2/bin/hi", "/cnt/hello/1.2/lib/libhello.so"])?
        .says("hello\nlibhello.so.1")?;
    everything_belongs_to_root(desk, "hello--1.2.sqf")?;
    recorded(desk)?;
    activation_is_spoken_of(desk)?;
    // The module's name is its package, also under a closed umask. Whoever mounts layers, the engine mounts the tool's base.
    let alone = "umask 077; CONDATAINER_MOUNTS=own condatainer create -q hello/1.1 -c ./channel && condatainer exec -o hello/1.1 hello";
    desk.script(alone)?.says("hello from /cnt/hello/1.1, 1.1")?;
    // Both at once: the later one is found first.
    exec(desk, "hello/1.1,hello/1.2", &["hello"])?.says("hello from /cnt/hello/1.2, 1.2")?;
    the_report_is_json(desk)?;
    channels_of_the_users_configuration(desk)
}

fn everything_belongs_to_root(desk: &Desk, module: &str) -> Result<()> {
    let listing = desk.script(&format!("unsquashfs -lln ~/{IMAGES}/{module}"))?.success()?.stdout;
    let entries = || listing.lines().filter(|line| line.contains("squashfs-root"));
    let others: Vec<_> = entries().filter(|line| !line.contains(" 0/0 ")).collect();
    ensure!(others.is_empty() && entries().count() > 5, "not root's: {others:?} of {listing}");
    ensure!(entries().any(|line| line.starts_with("-rw-r--r--") && line.ends_with("share/hello/word")), "{listing}");
    let top: Vec<_> = entries().filter(|line| line.matches('/').count() == 2 && !line.contains("->")).collect();
    ensure!(top.len() == 1 && top[0].ends_with("squashfs-root/cnt"), "{top:?}");
    Ok(())
}

/// What was asked for and what was had lie in the module.
fn recorded(desk: &Desk) -> Result<()> {
    let dir = desk.path("channel");
    let at = "/cnt/hello/1.2";
    let text = format!("channels:\n  - \"file://{dir}\"\ndependencies:\n  - \"hello=1.2\"");
    exec(desk, "hello/1.2", &["cat", &format!("{at}/.cnt-environment.yml")])?.says(&text)?;
    let list = exec(desk, "hello/1.2", &["cat", &format!("{at}/.cnt-explicit.txt")])?.success()?.stdout;
    let lines: Vec<_> = list.lines().filter(|line| !line.starts_with('#')).collect();
    ensure!(lines.len() == 3 && lines[0] == "@EXPLICIT", "{list}");
    ensure!(lines[1].starts_with(&format!("file://{dir}/noarch/hello-1.2-0.tar.bz2#")), "{list}");
    exec(desk, "hello/1.2", &["ls", &format!("{at}/conda-meta")])?.success()?.holds("hello-1.2-0.json")
}

fn activation_is_spoken_of(desk: &Desk) -> Result<()> {
    let said = create(desk, &["-n", "spoken", "-c", "channel/../channel/../channel", "hello"]);
    ensure!(said?.code != 0, "a relative path without ./ is a channel's name");
    let said = create(desk, &["-p", "spoken", "-c", &desk.path("channel"), "hello"])?.success()?;
    said.complains("spoken.sqf: a start does not run its activation scripts (hello.sh)")?;
    exec(desk, "./spoken.sqf", &["hello"])?.says("hello from /cnt/spoken, 1.2")?;
    Ok(())
}

fn the_report_is_json(desk: &Desk) -> Result<()> {
    let out = create(desk, &["--json", "-p", "json.sqf", "-c", "./channel", "hello>=1.1", "libhello"])?.success()?;
    for field in
        ["\"name\": \"json\"", "\"prefix\": \"/cnt/json\"", "\"source\": \"hello>=1.1 libhello\"", "\"packages\": 2"]
    {
        ensure!(out.stdout.contains(field), "{field}: {}", out.stdout);
    }
    Ok(())
}

/// Home is in the container, and what the tool reads there.
fn channels_of_the_users_configuration(desk: &Desk) -> Result<()> {
    let text = format!("printf 'channels:\\n  - file://{}\\n' > ~/.condarc", desk.path("channel"));
    desk.script(&text)?.success()?;
    create(desk, &["-p", "own.sqf", "libhello"])?.success()?;
    exec(desk, "./own.sqf", &["cat", "/cnt/own/share/hello/word"])?.says("hello")?;
    desk.script("rm ~/.condarc")?.success().map(drop)
}

/// environment.yml, and lists.
pub(super) fn by_files(desk: &Desk) -> Result<()> {
    let yaml = format!(
        "name: other\nchannels:\n  - file://{}\ndependencies:\n  - pyhello\n  - hello=1.1\n",
        desk.path("channel")
    );
    desk.write("environment.yml", &yaml)?;
    create(desk, &["-f", "environment.yml", "-n", "py"])?.success()?.complains(" packages in /cnt/py")?;
    exec(desk, "py", &["pyhello"])?.says("hello from Python")?;
    exec(desk, "py", &["head", "-n1", "/cnt/py/bin/pyhello"])?.holds("#!/cnt/py/bin/python")?;
    exec(desk, "py", &["cat", "/cnt/py/.cnt-environment.yml"])?.says(yaml.trim_end())?;
    // Without a name it lies beside the file, and is called as it.
    create(desk, &["-f", "environment.yml"])?.success()?;
    exec(desk, "./environment.sqf", &["hello"])?.says("hello from /cnt/environment, 1.1")?;
    // What a module has recorded makes the same one again, though there are newer packages.
    let list = exec(desk, "py", &["cat", "/cnt/py/.cnt-explicit.txt"])?.success()?.stdout;
    desk.write("exact.txt", &list)?;
    create(desk, &["-f", "exact.txt", "-n", "exact/1"])?.success()?;
    exec(desk, "exact/1", &["hello"])?.says("hello from /cnt/exact/1, 1.1")?;
    exec(desk, "exact/1", &["pyhello"])?.says("hello from Python")?;
    channels_beside_a_file(desk)
}

/// `-u` alone knows those of the command line too, also the second time.
fn channels_beside_a_file(desk: &Desk) -> Result<()> {
    desk.write("bare.yml", "dependencies:\n  - hello=1.1\n")?;
    desk.write("bare.txt", "hello=1.1\n")?;
    for file in ["bare.yml", "bare.txt"] {
        create(desk, &["-f", file, "-c", "./channel", "-n", "bare"])?.success()?;
        for _ in 0..2 {
            create(desk, &["-u", "-n", "bare"])?.success()?.complains("bare.sqf: rebuilt, ")?;
        }
        exec(desk, "bare", &["hello"])?.says("hello from /cnt/bare, 1.1")?;
        exec(desk, "bare", &["cat", "/cnt/bare/.cnt-channels"])?.says(&format!("file://{}", desk.path("channel")))?;
        desk.script(&format!("rm ~/{IMAGES}/bare.sqf"))?.success()?;
    }
    Ok(())
}

/// `-u`.
pub(super) fn again(desk: &Desk) -> Result<()> {
    let first = ["-n", "hello/1", "-c", "./channel", "hello=1.1"];
    create(desk, &first)?.success()?;
    let second = ["-n", "hello/1", "-c", "./channel", "hello"];
    create(desk, &second)?.ends_with(1)?.complains("hello--1.sqf: exists already; -u rebuilds it")?;
    exec(desk, "hello/1", &["hello"])?.says("hello from /cnt/hello/1, 1.1")?;
    // Who uses the old one keeps it.
    let text = format!(
        "condatainer exec -o hello/1 sh -c 'touch started; until [ -e enough ]; do sleep 0.1; done; hello' > said &
        until [ -e started ]; do sleep 0.1; done; condatainer create -u {} && touch enough; wait $!; cat said",
        second.join(" ")
    );
    desk.command().timeout(super::LIMIT).script(&text)?.says("hello from /cnt/hello/1, 1.1")?.complains("rebuilt")?;
    exec(desk, "hello/1", &["hello"])?.says("hello from /cnt/hello/1, 1.2")?;
    // From what it was made from, without saying it once more.
    create(desk, &["-u", "-n", "hello/1"])?.success()?.complains("hello--1.sqf: rebuilt")?;
    exec(desk, "hello/1", &["hello"])?.says("hello from /cnt/hello/1, 1.2")?;
    // Through a link it is the same module, whatever the link is called.
    desk.script(&format!("ln -s ~/{IMAGES}/hello--1.sqf current.sqf"))?.success()?;
    create(desk, &["-u", "-p", "current.sqf"])?.success()?.complains("2 packages in /cnt/hello/1")?;
    create(desk, &["-u", "-p", "current.sqf", "-c", "./channel", "hello"])?.success()?;
    exec(desk, "hello/1", &["hello"])?.says("hello from /cnt/hello/1, 1.2")?;
    // Under another name it is made for that one.
    desk.script(&format!("cp ~/{IMAGES}/hello--1.sqf ~/{IMAGES}/renamed--3.sqf"))?.success()?;
    create(desk, &["-u", "-n", "renamed/3"])?.success()?.complains("2 packages in /cnt/renamed/3")?;
    exec(desk, "renamed/3", &["hello"])?.says("hello from /cnt/renamed/3, 1.2")?;
    // One that fails leaves the old one.
    create(desk, &["-u", "-n", "hello/1", "-c", "./channel", "nosuch"])?.ends_with(1)?;
    exec(desk, "hello/1", &["hello"])?.says("hello from /cnt/hello/1, 1.2")?;
    Ok(())
}

/// The environment of a new workspace image.
pub(super) fn in_images(desk: &Desk) -> Result<()> {
    let o = |arguments: &str| desk.script(&format!("condatainer o -s 128M -c ./channel {arguments}"));
    o("-- hello=1.2")?.success()?.without_stdout()?.complains("env.img: 2 packages in /ext3/env")?;
    desk.is_clean("env.img")?;
    exec(desk, "env.img", &["hello"])?.says("hello from /ext3/env, 1.2")?;
    desk.script("condatainer e -- sh -c 'hello > /ext3/env/written; cat /ext3/env/written'")?
        .says("hello from /ext3/env, 1.2")?;
    desk.is_clean("env.img")?;
    o("-- hello")?.ends_with(1)?.complains("env.img: exists already")?;

    let yaml = format!("channels:\n  - file://{}\ndependencies:\n  - hello=1.1\n", desk.path("channel"));
    desk.write("e.yml", &yaml)?;
    desk.script("condatainer o -s 128M --fakeroot -f e.yml root.img")?.success()?.complains("belongs to root")?;
    exec(desk, "root.img", &["hello"])?.complains("fakeroot turned on")?.says("hello from /ext3/env, 1.1")?;
    desk.is_clean("root.img")?;

    let before = desk.files()?;
    o("no.img -- no-such-package")?.ends_with(1)?.complains("no.img: ")?;
    o("no.img")?.ends_with(2)?.complains("-c, --conda and -b are for a conda environment")?;
    ensure!(desk.files()? == before, "left: {:?}", desk.files()?);
    desk.script("ls -A /tmp | grep condatainer || true")?.says("").map(drop)
}
