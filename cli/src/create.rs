//! `condatainer o`, `condatainer overlay create`: makes a workspace image.

use std::process::ExitCode;

use condatainer_core::create::{self, Spec};
use condatainer_core::ext::Ids;
use condatainer_core::user::Caller;

use crate::args::{CreateArgs, Profile};
use crate::exit::Failure;
use crate::say;

pub(crate) fn create(args: &CreateArgs) -> Result<ExitCode, Failure> {
    let caller = Caller::current().map_err(Failure::failed)?;
    let owner = if args.fakeroot { Ids::ROOT } else { Ids { uid: caller.uid, gid: caller.gid } };
    let spec = Spec {
        profile: profile(args.profile),
        allocate: args.allocate,
        ..Spec::new(args.image.clone(), args.size, owner)
    };
    let image = create::create(&spec).map_err(Failure::failed)?;
    let size = indicatif::BinaryBytes(image.size_bytes);
    let whose = if owner == Ids::ROOT { "root: starts use fakeroot".into() } else { format!("you ({})", caller.name) };
    say::notice(&format!("{}: made, {size}, belongs to {whose}", args.image.display()));
    Ok(ExitCode::SUCCESS)
}

fn profile(profile: Profile) -> create::Profile {
    match profile {
        Profile::Small => create::Profile::Small,
        Profile::Balanced => create::Profile::Balanced,
        Profile::Large => create::Profile::Large,
    }
}
