//! One of Slurm's commands, called in the container of a step: run outside of it. The call is at standard input.

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use condatainer_core::step::relay::slurm_command;
use nix::unistd::Pid;

use crate::say::failure::Failure;

pub(crate) fn outside(first: i32) -> Result<ExitCode, Failure> {
    let call = std::io::stdin().as_fd().try_clone_to_owned().map_err(Failure::not_started)?;
    slurm_command::run(Pid::from_raw(first), UnixStream::from(call)).map_err(Failure::not_started)?;
    Ok(ExitCode::SUCCESS)
}
