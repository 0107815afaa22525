//! Proof that the throw-away cluster is a real one, on every release, and that nothing of it stays behind.

// The helpers below are parts of tests: what they cannot do, fails the test.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::BufRead;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use cluster::{Cache, Cluster, Install, Options, Proctrack, Release};

/// What a cluster is known by from outside; other clusters may run on the same machine meanwhile.
struct Traces {
    name: String,
    /// Its namespaces by number, open so that the kernel gives the number to no other one. Not those of mounts: they would stay.
    namespaces: BTreeMap<u64, File>,
    fuse_mode: u32,
}

impl Traces {
    /// Takes down what the clusters of a process have.
    fn of(name: &str, process: u32) -> Self {
        Self { name: name.to_owned(), namespaces: namespaces_below(process), fuse_mode: fuse_mode() }
    }

    /// What is still there. Scratch directories are counted apart: a killed tool leaves one.
    fn left(&self) -> Vec<String> {
        let mut left: Vec<String> = processes()
            .into_iter()
            .filter(|pid| namespaces(*pid).any(|(number, _)| self.namespaces.contains_key(&number)))
            .map(|pid| format!("process {pid}"))
            .collect();
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        left.extend(mounts.lines().filter(|line| line.contains(&self.name)).map(str::to_owned));
        if fuse_mode() != self.fuse_mode {
            left.push("the mode of /dev/fuse".to_owned());
        }
        left
    }

    fn scratch_count(&self) -> usize {
        let run = fs::read_dir(Cache::open(None).unwrap().directory().join("run")).unwrap();
        run.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with(&self.name)).count()
    }
}

fn fuse_mode() -> u32 {
    fs::metadata("/dev/fuse").unwrap().permissions().mode()
}

fn processes() -> Vec<u32> {
    fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// The numbers of a process's namespaces, and the namespaces themselves.
fn namespaces(pid: u32) -> impl Iterator<Item = (u64, File)> {
    let open = move |kind| File::open(format!("/proc/{pid}/ns/{kind}")).ok();
    ["pid", "net"].into_iter().filter_map(open).filter_map(|file| Some((file.metadata().ok()?.ino(), file)))
}

/// The namespaces of all processes below one, other than that one's own.
fn namespaces_below(ancestor: u32) -> BTreeMap<u64, File> {
    let parent = |pid: u32| -> Option<u32> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat[stat.rfind(')')?..].split_whitespace().nth(2)?.parse().ok()
    };
    let is_below = |pid: &u32| std::iter::successors(Some(*pid), |pid| parent(*pid)).any(|pid| pid == ancestor);
    let mut all: BTreeMap<u64, File> = processes().into_iter().filter(is_below).flat_map(namespaces).collect();
    for (own, _) in namespaces(std::process::id()) {
        all.remove(&own);
    }
    all
}

/// Runs a test on a cluster and checks that nothing of it is left afterwards.
fn on_cluster(name: &str, options: Options, test: impl FnOnce(&Cluster) -> Result<()>) {
    let name = format!("{name}-{}-smoke-{}", options.release, std::process::id());
    cluster::require_root().unwrap();
    let cluster = Cluster::start(&Options { name: Some(name.clone()), ..options }).unwrap();
    let traces = Traces::of(&name, cluster.init());
    assert!(traces.namespaces.len() >= 2 && traces.left().len() >= 4 && traces.scratch_count() == 1);
    if let Err(error) = test(&cluster) {
        panic!("{name}: {error:?}");
    }
    drop(cluster);
    assert_eq!((traces.left(), traces.scratch_count()), (Vec::new(), 0));
}

fn slurm_works(cluster: &Cluster) -> Result<()> {
    assert_eq!(cluster.exec("alice", &["srun", "hostname"])?.success()?.stdout, "n1\n");
    let ids = cluster.exec("alice", &["srun", "-n4", "-l", "id", "-u"])?.success()?.stdout;
    assert_eq!(ids.lines().collect::<BTreeSet<_>>(), BTreeSet::from(["0: 1001", "1: 1001", "2: 1001", "3: 1001"]));
    assert_eq!(cluster.exec("alice", &["srun", "sh", "-c", "exit 7"])?.code, 7);
    assert_eq!(cluster.exec("alice", &["salloc", "-N1", "srun", "hostname"])?.success()?.stdout, "n1\n");
    assert_eq!(cluster.command("alice").stdin("hello").run(&["srun", "cat"])?.success()?.stdout, "hello");
    cluster.script("alice", "sbatch --wait -o out --wrap 'id -un; exit 3'; echo $?")?;
    assert_eq!(cluster.read_file("/home/alice/out")?, b"alice\n");
    let job = cluster.sbatch("alice", &["-o", "out", "--wrap", "exit 7"])?;
    assert_eq!((job.state.as_str(), job.code), ("FAILED", 7));
    let terminal =
        cluster.command("alice").terminal().run(&["srun", "--pty", "sh", "-c", "tty; stty size"])?.success()?;
    assert!(terminal.stdout.starts_with("/dev/pts/"), "{terminal:?}");
    let typed = cluster.command("alice").terminal().stdin("typed\n\x04").run(&["cat"])?.success()?;
    assert_eq!(typed.stdout.matches("typed\r\n").count(), 2, "{typed:?}");
    Ok(())
}

fn containers_work(cluster: &Cluster) -> Result<()> {
    for image in ["base.sqf", "base.sif", "base"] {
        let image = format!("{}/{image}", cluster::base::INSIDE);
        let read = ["srun", "apptainer", "-s", "exec", &image, "cat", "/etc/condatainer-base"];
        assert_eq!(cluster.exec("alice", &read)?.success()?.stdout, "condatainer test base\n");
    }
    let image = format!("{}/base.sqf", cluster::base::INSIDE);
    for user in ["alice", "bob"] {
        let output = cluster.exec(user, &["srun", "apptainer", "-s", "exec", "--fakeroot", &image, "id", "-u"])?;
        assert_eq!(output.success()?.stdout, "0\n", "as {user}");
    }
    // A range of subordinate ids is what tells alice from bob: only her files can belong to others.
    let other = ["apptainer", "-s", "exec", "--fakeroot", &image, "sh", "-c", "cat /proc/self/uid_map | wc -l"];
    assert_eq!(cluster.exec("alice", &other)?.success()?.stdout.trim(), "2");
    assert_eq!(cluster.exec("bob", &other)?.success()?.stdout.trim(), "1");
    Ok(())
}

#[test]
fn bookworm_runs_slurm() {
    on_cluster("slurm", Options::new(Release::Bookworm), slurm_works);
}

#[test]
fn trixie_runs_slurm_and_containers() {
    on_cluster("slurm", Options::new(Release::Trixie), |cluster| {
        slurm_works(cluster).and_then(|()| containers_work(cluster))
    });
}

#[test]
fn sid_runs_slurm_and_containers() {
    on_cluster("slurm", Options::new(Release::Sid), |cluster| {
        slurm_works(cluster).and_then(|()| containers_work(cluster))
    });
}

#[test]
fn two_nodes_share_files_and_nothing_else() {
    for release in Release::ALL {
        on_cluster("nodes", Options { nodes: 2, ..Options::new(release) }, |cluster| {
            let hosts =
                cluster.script("alice", "srun -N2 sh -c 'hostname; touch seen-$(hostname)'; ls")?.success()?.stdout;
            let lines = hosts.lines().collect::<BTreeSet<_>>();
            assert_eq!(lines, BTreeSet::from(["n1", "n2", "seen-n1", "seen-n2"]));
            cluster.node_exec(2, &["touch", "/tmp/second", "/run/second"])?.success()?;
            ensure!(cluster.root_exec(&["ls", "/tmp/second"])?.code != 0, "/tmp is shared");
            cluster.hide(2, "/usr/local")?;
            assert_eq!(cluster.node_exec(2, &["ls", "/usr/local"])?.success()?.stdout, "");
            ensure!(
                !cluster.root_exec(&["ls", "/usr/local"])?.success()?.stdout.is_empty(),
                "hidden on the first node too"
            );
            cluster.unhide(2, "/usr/local")?;
            cluster.restart_slurmd(2)?;
            cluster.reconfigure()?;
            let second = cluster.exec("carol", &["srun", "-w", "n2", "hostname"])?.success()?.stdout;
            assert_eq!(second, "n2\n");
            Ok(())
        });
    }
}

#[test]
fn commands_have_a_clean_login() {
    on_cluster("login", Options::new(Release::Bookworm), |cluster| {
        let output = cluster.script("alice", "id; umask; pwd; tty; env | cut -d= -f1 | sort | tr '\\n' ' '")?;
        assert_eq!(
            output.stdout,
            "uid=1001(alice) gid=1001(alice) groups=1001(alice),2000(project)\n0022\n/home/alice\nnot a tty\n\
             HOME LANG LOGNAME PATH PWD SHELL SHLVL USER _ "
        );
        assert_eq!(cluster.exec("bob", &["id", "-Gn"])?.stdout, "bob\n");
        assert_eq!(cluster.exec("alice", &["no-such-command"])?.code, 127);
        assert_eq!(cluster.script("alice", "kill -9 $$")?.code, 137);
        assert_eq!(cluster.script("alice", "echo by name > /dev/stdout")?.stdout, "by name\n");
        assert_eq!(cluster.exec("alice", &["cat", "/sys/class/net/lo/operstate"])?.code, 0);
        Ok(())
    });
}

#[test]
fn files_go_in_and_out_and_the_cached_root_stays_as_it_is() {
    let host = std::env::temp_dir().join(format!("cluster-smoke-{}", std::process::id()));
    fs::write(&host, "#!/bin/sh\necho installed\n").unwrap();
    let install = vec![Install { host: host.clone(), inside: "/usr/local/lib/x/tool".to_owned(), mode: 0o755 }];
    let plugstack = Some("# nothing\n".to_owned());
    let extra_slurm_conf = "KillWait=17\n".to_owned();
    let options = Options { install, plugstack, extra_slurm_conf, ..Options::new(Release::Bookworm) };
    let root = cluster::roots::prepare(&Cache::open(None).unwrap(), Release::Bookworm).unwrap();
    on_cluster("files", options, |cluster| {
        assert_eq!(cluster.exec("alice", &["/usr/local/lib/x/tool"])?.success()?.stdout, "installed\n");
        assert_eq!(cluster.read_file("/etc/slurm/plugstack.conf")?, b"# nothing\n");
        let killing = cluster.script("root", "scontrol show config | grep KillWait")?.success()?.stdout;
        assert!(killing.contains("= 17 sec"), "{killing}");
        cluster.write_file("alice", "/home/alice/a/b", "content", 0o640)?;
        assert_eq!(fs::read(cluster.host_path("/home/alice/a/b"))?, b"content");
        assert_eq!(cluster.exec("root", &["stat", "-c", "%U %a", "/home/alice/a/b"])?.stdout, "alice 640\n");
        cluster.write_file("alice", "/tmp/c", "in memory", 0o600)?;
        assert_eq!(fs::read(cluster.host_path("/tmp/c"))?, b"in memory");
        assert!(cluster.write_file("alice", "/etc/passwd", "", 0o644).is_err());
        cluster.root_exec(&["rm", "-r", "/usr/share"])?.success()?;
        assert!(cluster.logs().contains("slurmd version 22.05"));
        Ok(())
    });
    assert!(root.join("usr/share").exists() && !root.join("usr/local/lib/x").exists());
    fs::remove_file(host).unwrap();
}

#[test]
fn time_limits_end_everything_that_was_started() {
    on_cluster("limits", Options::new(Release::Sid), |cluster| {
        let limited = cluster.command("alice").timeout(Duration::from_secs(5));
        let start = Instant::now();
        let text = "echo before; trap '' TERM; setsid sleep 4321 & srun sleep 4321";
        let error = limited.script(text).unwrap_err().to_string();
        assert!(error.contains("time is up after 5 s") && error.contains("before"), "{error}");
        assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
        let asleep = || cluster.root_exec(&["pgrep", "-f", "sleep 4321"]).unwrap().stdout;
        wait_until_empty(|| asleep().lines().map(str::to_owned).collect());
        // What is left in the background on purpose neither blocks nor dies.
        assert_eq!(cluster.script("alice", "sleep 4322 & echo done")?.success()?.stdout, "done\n");
        assert_eq!(cluster.root_exec(&["pgrep", "-fc", "sleep 4322"])?.stdout, "1\n");
        Ok(())
    });
}

#[test]
fn steps_can_be_tracked_by_the_cgroup_v1_freezer() {
    let options = Options { proctrack: Proctrack::CgroupV1, ..Options::new(Release::Bookworm) };
    on_cluster("freezer", options, |cluster| {
        let group = cluster.exec("alice", &["srun", "grep", "freezer", "/proc/self/cgroup"])?.success()?.stdout;
        assert!(group.contains("/uid_1001/job_1/step_0"), "{group}");
        slurm_works(cluster)
    });
    let groups = fs::read_dir("/sys/fs/cgroup/freezer").into_iter().flatten().flatten();
    let own = format!("freezer-bookworm-smoke-{}", std::process::id());
    assert!(!groups.into_iter().any(|group| group.file_name().to_string_lossy().contains(&own)));
}

#[test]
fn two_clusters_at_once_do_not_meet() {
    on_cluster("first", Options::new(Release::Sid), |first| {
        let second = Cluster::start(&Options::new(Release::Bookworm))?;
        let third = Cluster::start(&Options { nodes: 2, ..Options::new(Release::Sid) })?;
        for cluster in [first, &second, &third] {
            assert_eq!(cluster.exec("bob", &["srun", "-w", "n1", "hostname"])?.success()?.stdout, "n1\n");
        }
        Ok(())
    });
}

#[test]
fn the_tool_gives_the_exit_code_and_leaves_nothing_when_it_is_interrupted_or_killed() {
    cluster::require_root().unwrap();
    cluster::prepare(&Cache::open(None).unwrap(), &[Release::Sid]).unwrap();
    let name = format!("tool-smoke-{}", std::process::id());
    let script = std::env::temp_dir().join(&name);
    fs::write(
        &script,
        "echo up with $1; [ $1 = wait ] && srun sleep 4323; grep -E 'SigBlk|SigIgn' /proc/self/status; exit 9\n",
    )
    .unwrap();
    let tool = |argument: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cluster"));
        command.args(["run", "--release", "sid", "--name", &name, "--"]).arg(&script).arg(argument);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    };
    // Started by someone who ignores SIGINT, as whatever runs in the background does: the script must not.
    let mut ignoring = Command::new("sh");
    ignoring.args(["-c", "trap '' INT; exec \"$0\" \"$@\""]).arg(tool("").get_program());
    let output = ignoring.args(tool("code").get_args()).stdin(Stdio::null()).output().unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    let masks: Vec<u64> =
        stdout.lines().filter_map(|line| u64::from_str_radix(line.split_once('\t')?.1, 16).ok()).collect();
    // Signals 32 and 33 are the C library's own, which no program can set back.
    assert_eq!(masks.iter().map(|mask| mask & 0x7fff_ffff).collect::<Vec<_>>(), [0, 0], "{stdout}");
    assert!(output.status.code() == Some(9) && stdout.starts_with("up with code\n"), "{output:?}");

    for (signal, code, left) in [("INT", Some(130), 0), ("TERM", Some(143), 0), ("KILL", None, 1)] {
        // Whoever has started the tests may ignore signals, and the tool would, too.
        let mut listening = Command::new("env");
        listening.arg("--default-signal").arg(tool("").get_program()).args(tool("wait").get_args());
        let mut child = listening.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        std::io::BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "up with wait\n");
        sleep(Duration::from_millis(500));
        let traces = Traces::of(&name, child.id());
        assert!(traces.left().len() > 5 && traces.scratch_count() == 1);
        Command::new("kill").args([&format!("-{signal}"), &child.id().to_string()]).status().unwrap();
        assert_eq!(child.wait().unwrap().code(), code, "after {signal}");
        wait_until_empty(|| traces.left());
        assert_eq!(traces.scratch_count(), left, "after {signal}");
    }
    assert_eq!(tool("code").output().unwrap().status.code(), Some(9));
    assert_eq!(Traces::of(&name, std::process::id()).scratch_count(), 0, "the next start did not sweep");
    fs::remove_file(script).unwrap();
}

fn wait_until_empty(left: impl Fn() -> Vec<String>) {
    let start = Instant::now();
    while !left().is_empty() {
        assert!(start.elapsed() < Duration::from_secs(120), "left after two minutes: {:?}", left());
        sleep(Duration::from_millis(50));
    }
}

#[test]
fn logs_are_saved_when_a_test_fails() {
    let name = format!("failing-{}", std::process::id());
    let options = Options { name: Some(name.clone()), ..Options::new(Release::Bookworm) };
    let failing = std::thread::spawn(move || {
        let _cluster = Cluster::start(&options).unwrap();
        panic!("this test fails on purpose");
    });
    assert!(failing.join().is_err());
    let logs = Cache::open(None).unwrap().directory().join("logs");
    let saved: Vec<PathBuf> = fs::read_dir(logs).unwrap().flatten().map(|entry| entry.path()).collect();
    let saved = saved.iter().find(|path| path.to_string_lossy().contains(&name)).unwrap();
    assert!(fs::read_to_string(saved.join("slurm/slurmd-n1.log")).unwrap().contains("slurmd version"));
    fs::remove_dir_all(saved).unwrap();
}
