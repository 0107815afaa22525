//! The Debian packages on a real cluster of each release: installed, upgraded while a job runs, removed, purged.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result, ensure};
use cluster::{Cluster, Install, Options, Release};

use crate::{file, packages, run, top};

const PLUGSTACK: &str = "/etc/slurm/plugstack.conf";
const INCLUDE: &str = "include /usr/share/condatainer/plugstack.conf\n";
const REQUIRED: &str = "required /usr/lib/slurm/spank_condatainer.so condatainer=/usr/bin/condatainer\n";
/// The stand-in for Apptainer on the release that has none, and the configuration with which it is used.
const STAND_IN: &str = "tests/tests/suite/support/fake-apptainer.sh";
const ENGINE: &str = "base = \"/srv/base/base.sqf\"\nmounts = \"engine\"\n";
const OWN: &str = "base = \"/srv/base/base.sqf\"\n";

/// The same packages once more, with a higher version.
fn newer() -> &'static [PathBuf; 2] {
    static NEWER: OnceLock<[PathBuf; 2]> = OnceLock::new();
    NEWER.get_or_init(|| {
        let directory = packages().join("newer");
        fs::create_dir_all(&directory).unwrap();
        let mut build = Command::new(top().join("packaging/build-deb"));
        build.args([&packages().join("staged"), &directory]).args(["99.0-1", "a test <test@packages.invalid>"]);
        run(&mut build);
        ["condatainer_99.0-1", "condatainer-slurm_99.0-1"].map(|name| {
            directory.join(format!("{name}_{}.deb", run(Command::new("dpkg").arg("--print-architecture")).trim()))
        })
    })
}

fn start(release: Release) -> Result<Cluster> {
    let deb = |host: &Path, name: &str| Install { host: host.into(), inside: format!("/srv/{name}.deb"), mode: 0o644 };
    let mut options = Options::new(release);
    options.name = Some(format!("packages-{release}"));
    // Slurm meets the line before there is a file to include, too.
    options.plugstack = Some(INCLUDE.into());
    options.install = vec![
        deb(&file("condatainer_", ".deb"), "old"),
        deb(&file("condatainer-slurm_", ".deb"), "old-slurm"),
        deb(&newer()[0], "new"),
        deb(&newer()[1], "new-slurm"),
    ];
    if !release.has_apptainer() {
        let inside = "/usr/bin/apptainer".into();
        options.install.push(Install { host: top().join(STAND_IN), inside, mode: 0o755 });
    }
    Cluster::start(&options)
}

fn root(cluster: &Cluster, text: &str) -> Result<String> {
    Ok(cluster.command("root").cwd("/").script(text)?.success().with_context(|| text.to_owned())?.stdout)
}

fn alice(cluster: &Cluster, text: &str) -> Result<String> {
    Ok(cluster.script("alice", text)?.success().with_context(|| text.to_owned())?.stdout)
}

/// Everything that packages could leave, without what dpkg and Slurm keep for themselves.
fn files(cluster: &Cluster) -> Result<BTreeSet<String>> {
    let text = "find /usr /etc /opt /var/lib /var/cache -path /var/lib/dpkg -prune -o -path '/var/lib/slurm*' -prune -o -print";
    Ok(root(cluster, text)?.lines().map(str::to_owned).collect())
}

/// A job in a container, which goes on when it is told to.
const JOB: &str = "#!/bin/bash
#SBATCH --condatainer-overlay=env.img:rw -o said
touch started
until [ -e go ]; do sleep 0.1; done
[ -e /mnt/stand-in/argv ] || echo written > /written
srun --condatainer-off hostname
exit 7
";

fn a_life(release: Release) -> Result<()> {
    let cluster = start(release)?;
    let before = files(&cluster)?;
    alice(&cluster, "srun true")?;

    root(&cluster, "dpkg -i /srv/old.deb /srv/old-slurm.deb")?;
    let config = if release.has_apptainer() { OWN } else { ENGINE };
    cluster.write_file("root", "/etc/condatainer/config.toml", config, 0o644)?;
    ensure!(alice(&cluster, "srun --help")?.contains("--condatainer-overlay="), "no options");
    alice(&cluster, "condatainer -q o -s 64M env.img; condatainer -q o -s 64M other.img")?;
    alice(&cluster, "srun --condatainer-overlay=other.img true")?;

    cluster.write_file("alice", "/home/alice/job", JOB, 0o755)?;
    alice(&cluster, "sbatch --parsable job > id; until [ -e started ]; do sleep 0.1; done")?;
    root(&cluster, "dpkg -i /srv/new.deb /srv/new-slurm.deb")?;
    alice(&cluster, "srun --overlap --jobid=$(cat id) --condatainer-overlay=other.img true")?;
    alice(&cluster, "touch go; while squeue -h -j $(cat id) 2> err | grep -q .; do sleep 0.1; done; cat said")?;
    let ended = alice(&cluster, "scontrol -o show job $(cat id)")?;
    ensure!(ended.contains("ExitCode=7:0"), "{ended}{}", alice(&cluster, "cat said")?);
    ensure!(alice(&cluster, "cat said")? == "n1\n", "{}", alice(&cluster, "cat said")?);
    if release.has_apptainer() {
        ensure!(alice(&cluster, "srun --condatainer-overlay=env.img cat /written")? == "written\n", "nothing written");
        alice(&cluster, "condatainer overlay check env.img")?;
    }

    removal(&cluster)?;
    cluster.write_file("root", "/etc/condatainer/config.toml", config, 0o644)?;
    root(&cluster, "dpkg -P condatainer condatainer-slurm")?;
    // What the site has written is the site's.
    root(&cluster, "cat /etc/condatainer/config.toml && rm -r /etc/condatainer")?;
    let left: Vec<_> = files(&cluster)?.difference(&before).cloned().collect();
    ensure!(left.is_empty(), "left: {left:?}");
    Ok(())
}

/// Refused while Slurm requires the plugin; else jobs that do not ask for it do not notice.
fn removal(cluster: &Cluster) -> Result<()> {
    cluster.write_file("root", PLUGSTACK, REQUIRED, 0o644)?;
    let refused = cluster.command("root").cwd("/").script("dpkg -r condatainer-slurm")?;
    ensure!(refused.code != 0 && refused.stderr.contains("comment that line first"), "{refused:?}");
    alice(cluster, "srun --condatainer-overlay=other.img true")?;

    cluster.write_file("root", PLUGSTACK, INCLUDE, 0o644)?;
    root(cluster, "dpkg -r condatainer-slurm condatainer")?;
    alice(cluster, "srun true && sbatch --wait -o /dev/null --wrap true")?;
    let refused = cluster.script("alice", "srun --condatainer-overlay=other.img true")?;
    ensure!(refused.code != 0 && refused.stderr.contains("unrecognized option"), "{refused:?}");
    cluster.wait_until_idle()
}

/// An AppArmor that knows user namespaces gets the profile, and understands it; no kernel here has Ubuntu's restriction.
#[test]
fn apparmor_gets_a_profile() {
    profile().unwrap();
}

fn profile() -> Result<()> {
    let mut options = Options::new(Release::Trixie);
    options.name = Some("packages-apparmor".into());
    options.host_network = true;
    options.install =
        vec![Install { host: file("condatainer_", ".deb"), inside: "/srv/condatainer.deb".into(), mode: 0o644 }];
    let cluster = Cluster::start(&options)?;
    root(
        &cluster,
        "export DEBIAN_FRONTEND=noninteractive; apt-get -q update && apt-get install -y -q --no-install-recommends apparmor",
    )?;
    root(&cluster, "dpkg -i /srv/condatainer.deb")?;
    let link = "/etc/apparmor.d/condatainer";
    ensure!(root(&cluster, &format!("readlink {link}"))? == "/usr/share/condatainer/apparmor\n", "no link");
    // As the service does it at boot: the directory as a whole.
    let names = root(&cluster, "apparmor_parser --skip-kernel-load --skip-cache --names /etc/apparmor.d 2> /dev/null")?;
    ensure!(names.lines().any(|name| name == "condatainer"), "{names}");
    root(&cluster, &format!("dpkg -r condatainer && [ ! -L {link} ]"))?;

    // What the site has put there is the site's.
    root(&cluster, &format!("echo '# ours' > {link}; dpkg -i /srv/condatainer.deb; dpkg -P condatainer"))?;
    ensure!(root(&cluster, &format!("cat {link}"))? == "# ours\n", "the site's file is gone");
    Ok(())
}

#[test]
fn bookworm() {
    a_life(Release::Bookworm).unwrap();
}

#[test]
fn trixie() {
    a_life(Release::Trixie).unwrap();
}

#[test]
fn sid() {
    a_life(Release::Sid).unwrap();
}
