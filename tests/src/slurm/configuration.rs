//! The text of Slurm's configuration: what works on one machine for every release, and what a test changes about it.

use std::fmt::Write;

use crate::options::{Options, Proctrack};
use crate::slurm::node::Node;

/// The ports of the daemons: the usual ones in a network of its own, free ones on the host's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ports {
    pub(crate) slurmctld: u16,
    pub(crate) slurmd: u16,
}

impl Default for Ports {
    fn default() -> Self {
        Self { slurmctld: 6817, slurmd: 6818 }
    }
}

const SETTINGS: &str = "\
ClusterName=throwaway
SlurmUser=root
AuthType=auth/munge
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
ReturnToService=2
SlurmdParameters=config_overrides
PlugStackConfig=/etc/slurm/plugstack.conf
StateSaveLocation=/var/spool/slurmctld
SlurmdSpoolDir=/var/spool/slurmd/%n
SlurmctldPidFile=/run/slurmctld.pid
SlurmdPidFile=/run/slurmd.pid
SlurmctldLogFile=/var/log/slurm/slurmctld.log
SlurmdLogFile=/var/log/slurm/slurmd-%n.log
SlurmctldDebug=verbose
SlurmdDebug=debug
KillWait=5
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0
PartitionName=all Nodes=ALL Default=YES State=UP MaxTime=INFINITE";

/// slurm.conf for these nodes.
pub(crate) fn slurm_conf(options: &Options, nodes: &[Node], ports: Ports) -> String {
    let controller = nodes.first().map(|node| format!("{}({})", node.name(), node.address())).unwrap_or_default();
    let mut own = format!("SlurmctldHost={controller}\n{SETTINGS}\n");
    let proctrack = match options.proctrack {
        Proctrack::LinuxProc => "proctrack/linuxproc",
        Proctrack::CgroupV1 => "proctrack/cgroup",
    };
    let Ports { slurmctld, slurmd } = ports;
    let _never_fails = writeln!(own, "ProctrackType={proctrack}\nSlurmctldPort={slurmctld}\nSlurmdPort={slurmd}");
    for node in nodes {
        let (name, address) = (node.name(), node.address());
        let _never_fails = writeln!(own, "NodeName={name} NodeAddr={address} CPUs=64 RealMemory=8000 State=UNKNOWN");
    }
    replace_settings(&own, &options.extra_slurm_conf)
}

/// cgroup.conf: nothing to do with cgroups where that can be said, the old plugin where it cannot. Memory is limited under
/// `TaskPlugin=task/cgroup` only.
pub(crate) fn cgroup_conf(options: &Options) -> &'static str {
    match (options.proctrack, options.release) {
        (Proctrack::LinuxProc, release) if release != crate::release::Release::Bookworm => "CgroupPlugin=disabled\n",
        _ => "CgroupPlugin=cgroup/v1\nCgroupMountpoint=/sys/fs/cgroup\nConstrainRAMSpace=yes\n",
    }
}

/// Our lines without those whose key is set by the extra ones, then the extra ones: Slurm refuses a key given twice.
fn replace_settings(own: &str, extra: &str) -> String {
    let key = |line: &str| line.split('=').next().unwrap_or_default().trim().to_ascii_lowercase();
    let replaced: Vec<String> = extra.lines().map(key).filter(|key| !key.is_empty()).collect();
    let kept = own.lines().filter(|line| !replaced.contains(&key(line)));
    kept.chain(extra.lines()).fold(String::new(), |text, line| text + line + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_extra_setting_replaces_ours_and_leaves_the_rest() {
        let text = replace_settings("KillWait=5\nMpiDefault=none\n", "killwait=30\nEpilog=/x\n");
        assert_eq!(text, "MpiDefault=none\nkillwait=30\nEpilog=/x\n");
    }
}
