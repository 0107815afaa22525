//! From a running machine to an idle Slurm cluster: hosts, configuration, munge, daemons.

use std::net::TcpListener;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::machine::Machine;
use crate::options::Options;
use crate::slurm::configuration::{self, Ports};
use crate::slurm::node::Node;

/// Daemons that take longer hang; a busy machine has been seen to need half a minute.
const PATIENCE: Duration = Duration::from_secs(120);

/// Writes the configuration, so that it is there before any daemon.
pub(crate) fn configure(machine: &Machine, nodes: &[Node], options: &Options) -> Result<()> {
    let ports = if options.host_network { free_ports()? } else { Ports::default() };
    let write = |path: &str, text: &str| machine.write_file("root", path, text.as_bytes(), 0o644);
    write("/etc/slurm/slurm.conf", &configuration::slurm_conf(options, nodes, ports))?;
    write("/etc/slurm/cgroup.conf", configuration::cgroup_conf(options))?;
    write("/etc/hosts", &hosts(nodes, options.host_network))?;
    write("/etc/hostname", &nodes.iter().take(1).map(Node::name).collect::<String>())?;
    if let Some(plugstack) = &options.plugstack {
        write("/etc/slurm/plugstack.conf", plugstack)?;
    }
    if options.host_network {
        write("/etc/resolv.conf", &std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default())?;
    }
    options.install.iter().try_for_each(|file| match std::fs::read_link(&file.host) {
        Ok(target) => machine.link_in(&target, &file.inside),
        Err(_) => machine.copy_in(&file.host, "root", &file.inside, file.mode),
    })
}

/// Starts munged and slurmctld.
pub(crate) fn start_controller(machine: &Machine) -> Result<()> {
    let root = machine.command("root").cwd("/");
    root.script(include_str!("../inside/start-munge.sh"))?.success().context("cannot start munged")?;
    // Slurm 24.11 looks at argv[0]: the daemons must be started by their bare names.
    root.run(&["slurmctld"])?.success().context("cannot start slurmctld")?;
    Ok(())
}

/// Starts slurmd on a node.
pub(crate) fn start_slurmd(machine: &Machine, node: &Node) -> Result<()> {
    let root = machine.command_in(node.namespace(machine), "root").cwd("/");
    // Slurm 22.05 opens a socket there before it makes the directory.
    machine.make_directory("root", &format!("/var/spool/slurmd/{}", node.name()))?;
    root.run(&["slurmd"])?.success().with_context(|| format!("cannot start slurmd on {}", node.name()))?;
    Ok(())
}

/// Stops slurmd on a node and waits until it is gone; steps that run there go on.
pub(crate) fn stop_slurmd(machine: &Machine, node: &Node) -> Result<()> {
    let text = "read -r pid < /run/slurmd.pid && kill $pid && while [ -e /proc/$pid ]; do sleep 0.02; done";
    let root = machine.command_in(node.namespace(machine), "root").timeout(PATIENCE);
    root.script(text)?.success().with_context(|| format!("cannot stop slurmd on {}", node.name()))?;
    Ok(())
}

/// Waits until all these nodes are idle.
pub(crate) fn wait_until_idle(machine: &Machine, nodes: &[Node]) -> Result<()> {
    let names = nodes.iter().map(Node::name).collect::<Vec<_>>().join(",");
    let root = machine.command("root").timeout(PATIENCE);
    let start = Instant::now();
    let mut pause = Duration::from_millis(60);
    loop {
        let output = root.run(&["sinfo", "--noheader", "--Node", "--nodes", &names, "--format=%T"])?;
        if output.code == 0 && output.stdout.lines().filter(|state| *state == "idle").count() == nodes.len() {
            return Ok(());
        }
        ensure!(crate::machine::interrupt::signal_received().is_none(), "interrupted");
        if start.elapsed() > PATIENCE {
            bail!("the nodes are not idle after {} s: {}{}", PATIENCE.as_secs(), output.stdout, output.stderr);
        }
        sleep(pause);
        pause = (pause * 3 / 2).min(Duration::from_millis(300));
    }
}

fn hosts(nodes: &[Node], host_network: bool) -> String {
    let own = match host_network {
        true => std::fs::read_to_string("/etc/hosts").unwrap_or_default(),
        false => "127.0.0.1 localhost\n::1 localhost\n".to_owned(),
    };
    nodes.iter().fold(own.trim_end().to_owned() + "\n", |text, node| text + node.address() + " " + &node.name() + "\n")
}

/// Ports of the host that nobody uses; both are held while the second is chosen, so that they differ.
fn free_ports() -> Result<Ports> {
    let listeners = [TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?];
    let [slurmctld, slurmd] = listeners.map(|listener| listener.local_addr().map(|address| address.port()));
    Ok(Ports { slurmctld: slurmctld?, slurmd: slurmd? })
}
