//! What a container shows in the place of programs that work outside of it: of Slurm's commands in a step, and of condatainer itself.

use std::path::PathBuf;

use crate::machine::libexec;
use crate::plan::Plan;
use crate::request::bind::Bind;

/// Where the container shows them.
pub(crate) const SHOWN: &str = "/.condatainer.d/bin";

/// A directory of programs, as `make install` makes it beside the directory of our program.
pub(crate) fn programs(name: &str) -> Option<PathBuf> {
    let dir = libexec::directory()?.join(name);
    dir.is_dir().then_some(dir)
}

/// Has the container show the programs in this directory.
pub(crate) fn show(plan: &mut Plan, directory: PathBuf) {
    add(plan, &Bind { source: directory, destination: SHOWN.into(), read_only: true });
}

/// To what is done if we cannot mount the layers, too.
fn add(plan: &mut Plan, programs: &Bind) {
    plan.mounts.also_mount_on(&programs.destination);
    plan.bind.push(programs.clone());
    // The lowest: a program of this name in a layer is what its user wants.
    plan.path.insert(0, SHOWN.into());
    plan.otherwise.iter_mut().for_each(|otherwise| add(otherwise, programs));
}

/// The plan for a shell, in which somebody may type `condatainer`: it is told where it is.
#[must_use]
pub fn for_shell(plan: &Plan) -> Plan {
    let mut plan = plan.clone();
    if let Some(directory) = programs("inside") {
        show(&mut plan, directory);
    }
    plan
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Mounts;
    use crate::plan::tests::{machine, on};
    use crate::request::Request;
    use std::path::Path;

    #[test]
    fn whoever_mounts_shows_the_programs() {
        let mut facts = machine();
        facts.mounts.asked = Mounts::Auto;
        let request = Request { tmp: true, ..Request::default() };
        let mut plan = on(facts, &request, Vec::new()).unwrap();
        show(&mut plan, "/programs".into());
        let shown = Bind { source: "/programs".into(), destination: SHOWN.into(), read_only: true };
        assert!(plan.mounts.own().unwrap().points.iter().any(|point| point.path == Path::new(SHOWN)));
        for plan in [&plan, plan.otherwise.as_deref().unwrap()] {
            assert!(plan.bind.contains(&shown) && plan.path == [SHOWN], "{plan:?}");
        }
    }
}
