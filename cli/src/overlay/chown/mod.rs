//! `condatainer overlay chown`: gives an image to another owner.

pub(crate) mod args;
mod words;

use std::process::ExitCode;

use condatainer_formats::ext::Ids;
use condatainer_images::system::user::Caller;
use condatainer_images::verbs::chown::{self, Request};
use nix::unistd::{Uid, User};

use crate::overlay::chown::args::ChownArgs;
use crate::say::failure::Failure;
use crate::say::progress::{Progress, Unit};
use crate::say::report;

pub(crate) fn chown(args: &ChownArgs) -> Result<ExitCode, Failure> {
    let request = request(args)?;
    let progress = Progress::new(args.image.display().to_string(), Unit::Files, "writing the rest to the disk");
    let report =
        chown::chown(&args.image, &request, &mut |done, total| progress.at(done, total)).map_err(Failure::failed)?;
    progress.finish();
    report::give(args.json, &report, || words::lines(args, &report))?;
    Ok(ExitCode::SUCCESS)
}

fn request(args: &ChownArgs) -> Result<Request, Failure> {
    let caller = Caller::current().map_err(Failure::failed)?;
    let caller = Ids { uid: caller.uid, gid: caller.gid };
    let user = match (args.uid, args.gid) {
        (None, _) => caller,
        (Some(uid), Some(gid)) => Ids { uid, gid },
        (Some(uid), None) => own_group(uid)?,
    };
    Ok(Request {
        from: args.from.map(|(uid, gid)| Ids { uid, gid }),
        all: args.all,
        groups: args.groups,
        paths: args.path.clone(),
        dry_run: args.dry_run,
        replay: true,
        ..Request::new(if args.root { Ids::ROOT } else { user }, user)
    })
}

/// A user with the group that the account has.
fn own_group(uid: u32) -> Result<Ids, Failure> {
    match User::from_uid(Uid::from_raw(uid)) {
        Ok(Some(user)) => Ok(Ids { uid, gid: user.gid.as_raw() }),
        Ok(None) => {
            Err(Failure::usage(format!("-u {uid}: this machine knows no such user, so name the group too (-g)")))
        }
        Err(error) => Err(Failure::usage(format!(
            "-u {uid}: the group of that user cannot be read ({}): name it (-g)",
            error.desc()
        ))),
    }
}
