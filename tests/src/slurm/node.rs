//! The nodes of a cluster: the first is the machine itself, each further one a namespace within it, joined by a bridge.

use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::machine::Machine;
use crate::machine::namespace::Namespace;

/// One node.
#[derive(Debug)]
pub(crate) struct Node {
    number: usize,
    address: String,
    /// None for the first node, which is the machine itself.
    namespace: Option<Namespace>,
}

impl Node {
    pub(crate) fn name(&self) -> String {
        name(self.number)
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn namespace<'a>(&'a self, machine: &'a Machine) -> &'a Namespace {
        self.namespace.as_ref().unwrap_or_else(|| machine.namespace())
    }
}

/// The name of a node, counted from 1.
pub(crate) fn name(number: usize) -> String {
    format!("n{number}")
}

/// Makes the nodes of a machine, `count` in all.
pub(crate) fn start(machine: &Machine, count: usize, host_network: bool) -> Result<Vec<Node>> {
    ensure!((1..=200).contains(&count), "a cluster has 1 to 200 nodes, not {count}");
    ensure!(
        count == 1 || !host_network,
        "a cluster on the host's network has one node: the others need a network of their own"
    );
    if host_network {
        return Ok(vec![Node { number: 1, address: "127.0.0.1".to_owned(), namespace: None }]);
    }
    let first = Node { number: 1, address: address(1), namespace: None };
    give_first_address(machine, count)?;
    let others = (2..=count).map(|number| start_further(machine, number));
    std::iter::once(Ok(first)).chain(others).collect()
}

fn address(number: usize) -> String {
    format!("10.77.0.{number}")
}

/// A single node needs no bridge, and the kernel then needs none either.
fn give_first_address(machine: &Machine, count: usize) -> Result<()> {
    let init = machine.namespace().init();
    if count == 1 {
        return ip(init, &format!("addr add {}/32 dev lo", address(1)));
    }
    ip(init, "link add bridge0 type bridge")?;
    ip(init, &format!("addr add {}/24 dev bridge0", address(1)))?;
    ip(init, "link set bridge0 up")
}

fn start_further(machine: &Machine, number: usize) -> Result<Node> {
    let init = machine.namespace().init();
    let mut command = Command::new("/usr/bin/nsenter");
    command.args(["--target", &init.to_string(), "--mount", "--uts", "--ipc", "--net", "--pid", "--"]);
    command.args(["unshare", "--mount", "--uts", "--ipc", "--net", "--pid", "--fork", "--kill-child"]);
    command.args(["/bin/bash", "-c", include_str!("../inside/node.sh"), "node"]);
    command.env_clear().env("PATH", crate::machine::host::PATH).env("HOSTNAME", name(number));
    let namespace = Namespace::start(command, machine.scratch().console()?)
        .with_context(|| format!("cannot start node {}", name(number)))?;
    let (port, own_init) = (format!("port{number}"), namespace.init());
    ip(init, &format!("link add {port} type veth peer name eth0 netns {own_init}"))?;
    ip(init, &format!("link set {port} master bridge0 up"))?;
    ip(own_init, &format!("addr add {}/24 dev eth0", address(number)))?;
    ip(own_init, "link set eth0 up")?;
    Ok(Node { number, address: address(number), namespace: Some(namespace) })
}

/// Runs the host's `ip` in the network of a process.
fn ip(init: i32, arguments: &str) -> Result<()> {
    let mut command = Command::new("/usr/bin/nsenter");
    command.args(["--target", &init.to_string(), "--net", "ip"]).args(arguments.split(' '));
    let output = command.env("PATH", crate::machine::host::PATH).output().context("nsenter cannot be started")?;
    ensure!(output.status.success(), "ip {arguments} failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}
