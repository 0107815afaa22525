//! The archive in the home of somebody who is not root, on a machine that has Apptainer and nothing of ours.

use anyhow::{Result, ensure};
use cluster::{Cluster, Install, Options, Release};

use crate::{VERSION, file};

/// Unpacked, used, moved, and taken away again.
#[test]
fn a_user_unpacks_it_and_works() {
    works().unwrap();
}

fn works() -> Result<()> {
    let host = file(&format!("condatainer-{VERSION}-"), ".tar.gz");
    let mut options = Options::new(Release::Sid);
    options.name = Some("packages-archive".into());
    options.install = vec![Install { host, inside: "/srv/condatainer.tar.gz".into(), mode: 0o644 }];
    let cluster = Cluster::start(&options)?;
    let alice = |text: &str| -> Result<String> {
        let path = "export PATH=$HOME/.local/bin:$PATH CONDATAINER_BASE=/srv/base/base.sqf\n";
        Ok(cluster.script("alice", &format!("set -e\n{path}{text}"))?.success()?.stdout)
    };
    alice("mkdir ~/.local; tar -xf /srv/condatainer.tar.gz -C ~/.local --strip-components=1")?;
    ensure!(alice("command -v condatainer")? == "/home/alice/.local/bin/condatainer\n", "another is first");
    ensure!(alice("condatainer --version")?.contains("engine: Apptainer 1."), "no engine");

    // What lies beside the command is found: libexec by the doctor, and by both ways of mounting.
    let found = alice("condatainer doctor --skip plugin --start")?;
    for check in ["interposers", "mounts", "start"] {
        let ok = |line: &str| line.trim_start().starts_with("ok ") && line.split_whitespace().nth(1) == Some(check);
        ensure!(found.lines().any(ok), "{check}: {found}");
    }
    alice("condatainer -q o -s 64M env.img; condatainer e -- sh -c 'echo own > /file'")?;
    ensure!(alice("condatainer exec --mounts=own -o env.img cat /file")? == "own\n", "own mounts");
    alice("condatainer e --mounts=engine -- sh -c 'echo engine > /file'")?;
    ensure!(alice("condatainer exec -o env.img cat /file")? == "engine\n", "the engine's mounts");

    // Anywhere else, too; the links inside are relative.
    alice("mv ~/.local ~/elsewhere; find ~/elsewhere -xtype l | grep . && exit 1 || true")?;
    let moved = "~/elsewhere/bin/condatainer exec --mounts=own -o env.img cat /file";
    ensure!(alice(moved)? == "engine\n", "moved");
    Ok(())
}
