//! What the site and the user have set up: the configuration, the base image, the directory for `:tmp` layers, the policy, the
//! record of use.

mod facts;
mod libraries;
mod log;
mod policy;
mod read;
#[cfg(test)]
mod tests;

use crate::doctor::check::Check;
use crate::doctor::check::about;
use crate::doctor::request::Asker;
use crate::machine::facts::Kind;
use crate::machine::survey;
use facts::{Facts, Tmpdir};

pub(crate) use read::read;

/// Less room than this is used up by the first package that somebody installs.
const ROOM: u64 = 1 << 30;

pub(crate) fn judge(facts: &Facts, asker: &Asker) -> Vec<Check> {
    vec![
        configuration(facts),
        base(facts, asker),
        tmpdir(&facts.tmpdir, asker),
        libraries::judge(&facts.image_dirs, asker),
        policy::judge(&facts.policy),
        log::judge(&facts.log),
    ]
}

fn configuration(facts: &Facts) -> Check {
    const ID: &str = "configuration";
    match &facts.configuration {
        Err(why) => Check::failed(ID, why.as_str(), "correct it: nothing starts before"),
        Ok(files) if files.is_empty() => Check::ok(ID, "no file: everything is as it comes"),
        Ok(files) => {
            let shown = files.iter().map(|(path, keys)| match keys.as_slice() {
                [] => format!("{} (empty)", path.display()),
                keys => format!("{} ({})", path.display(), keys.join(", ")),
            });
            Check::ok(ID, shown.collect::<Vec<_>>().join(", "))
        }
    }
}

fn base(facts: &Facts, asker: &Asker) -> Check {
    const ID: &str = "base";
    const CURE: &str = "set 'base' in the configuration; 'apptainer pull base.sif docker://debian' makes one";
    let cure = || facts.base_origin.as_ref().map_or_else(|| CURE.into(), survey::base_cure);
    match &facts.base {
        _ if facts.configuration.is_err() => Check::skipped(ID, "the configuration does not say it"),
        // The users of a site without a base have their own.
        None if !asker.is_user() => Check::warning(ID, "none is configured: users must name one", CURE),
        None => Check::failed(ID, "none is configured: a start must name one with -b", CURE),
        Some((path, Err(why))) => Check::failed(ID, about(path, why), cure()),
        Some((path, Ok(Kind::Ext))) => Check::failed(
            ID,
            format!("{}: an ext image cannot be the base", path.display()),
            format!("that is a .sif, a .sqf or a directory: {}", cure()),
        ),
        Some((path, Ok(kind))) => Check::ok(ID, format!("{}, {}", path.display(), name(*kind))),
    }
}

fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Ext => "ext",
        Kind::Squashfs => "squashfs",
        Kind::Sif => "sif",
        Kind::Directory => "directory",
    }
}

fn tmpdir(dir: &Tmpdir, asker: &Asker) -> Check {
    const ID: &str = "tmpdir";
    const CURE: &str = "set tmpdir in the configuration, or TMPDIR, to a directory on this node's own disk";
    let path = dir.path.display();
    // A build can be given another one.
    let (what, wrong): (_, fn(_, String, String) -> Check) = match dir.for_builds {
        true => ("is built", Check::warning),
        false => (":tmp layers write", Check::failed),
    };
    if let Some((why, cure)) = &dir.problem {
        return wrong(ID, format!("{path}: cannot hold what {what}: {why}"), cure.clone());
    }
    if asker.is_root() && !dir.open_to_all {
        let cure = format!("as root: chmod 1777 {path}; or {CURE}");
        return wrong(ID, format!("{path}: users cannot write there"), cure);
    }
    if let Some(kind) = &dir.network {
        return Check::warning(
            ID,
            format!("{path}: lies on {kind}: what {what} is slow there, and others see the files"),
            CURE,
        );
    }
    let memory = if dir.in_memory { ", in memory (tmpfs), which counts as a job's" } else { "" };
    match dir.free {
        Some(0) => Check::warning(ID, format!("{path}: is full{memory}"), CURE),
        Some(free) if free < ROOM => {
            Check::warning(ID, format!("{path}: {} MiB are free, which is little{memory}", free >> 20), CURE)
        }
        Some(free) => Check::ok(ID, format!("{path}, {} GiB free{memory}", free >> 30)),
        None => Check::ok(ID, path.to_string()),
    }
}
