//! A real start: `true` in the base, the way `condatainer exec` goes.

use std::time::Instant;

use super::check::Check;
use super::request::{Asker, Request};
use crate::config::Config;
use crate::machine::survey::Tried;
use crate::plan::{self, Command};
use crate::request;
use crate::run::{self, Ended, Forward, Options};
use crate::start::facts;

const ID: &str = "start";

pub(super) fn check(request: &Request, config: &Result<Config, String>, asker: &Asker) -> Check {
    match config {
        _ if !request.start => Check::skipped(ID, "not asked for (--start)"),
        _ if asker.node => Check::skipped(ID, "not part of a node's check"),
        Err(_) => Check::skipped(ID, "the configuration comes first"),
        Ok(config) => judge(start(request, config)),
    }
}

/// Milliseconds that it took, and how it ended.
fn start(request: &Request, config: &Config) -> Result<(u128, Ended), String> {
    let asked = request::Request { fakeroot: config.fakeroot(None), ..request::Request::default() };
    let asked = asked.on_site_layers(&config.policy);
    let begin = Instant::now();
    let facts = facts(&asked, config, &request.env, &Tried::default(), |_| ()).map_err(|error| error.to_string())?;
    let command = Command::Argv(vec!["true".into()]);
    let plan = plan::decide(&asked, &facts, command).map_err(|refusal| refusal.to_string())?;
    let mut options = Options { forward: Forward::FromProcesses, step: None, say: &mut |_| () };
    let ended = run::run(&plan, &mut options).map_err(|error| error.to_string())?;
    Ok((begin.elapsed().as_millis(), ended))
}

fn judge(outcome: Result<(u128, Ended), String>) -> Check {
    match outcome {
        Ok((took, Ended::Exited(0))) => Check::ok(ID, format!("'true' ran in the base within {took} ms")),
        Ok((_, Ended::NotFound)) => {
            Check::warning(ID, "a container starts, but the base has no 'true'", "see what is in it: condatainer e -n")
        }
        Ok((_, ended)) => Check::failed(
            ID,
            format!("a container starts, but 'true' did not end well: {ended:?}"),
            "look at the base: condatainer e -n",
        ),
        Err(why) => Check::failed(ID, why, "cure what is not ok above; then condatainer -v exec true shows all of it"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::check::Status;

    #[test]
    fn ends() {
        assert_eq!(judge(Ok((250, Ended::Exited(0)))).found, "'true' ran in the base within 250 ms");
        assert_eq!(judge(Ok((1, Ended::Exited(1)))).status, Status::Failed);
        assert_eq!(judge(Ok((1, Ended::NotFound))).status, Status::Warning);
        assert_eq!(judge(Err("no base image".into())).status, Status::Failed);
    }
}
