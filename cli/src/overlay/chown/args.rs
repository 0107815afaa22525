//! Arguments of `overlay chown`.

use std::path::PathBuf;

use clap::Args;
use clap_complete::engine::ArgValueCompleter;
use nix::unistd::{Group, User};

use crate::complete::candidates;

#[derive(Debug, Args)]
pub(crate) struct ChownArgs {
    /// To root
    #[arg(long, conflicts_with_all = ["uid", "gid"])]
    pub(crate) root: bool,
    /// To this user, a name or a number
    #[arg(short, long, value_name = "USER", value_parser = parse_user)]
    pub(crate) uid: Option<u32>,
    /// To this group, a name or a number; without it the user's own
    #[arg(short, long, value_name = "GROUP", requires = "uid", value_parser = parse_group)]
    pub(crate) gid: Option<u32>,
    /// Move only what belongs to this user and this group
    #[arg(long, value_name = "USER:GROUP", value_parser = parse_ids, conflicts_with = "all")]
    pub(crate) from: Option<(u32, u32)>,
    /// Only this path inside the image; repeatable
    #[arg(short, long, value_name = "PATH")]
    pub(crate) path: Vec<PathBuf>,
    /// Flatten: give everything to the new owner, other users' ids included
    #[arg(long)]
    pub(crate) all: bool,
    /// Give all groups to the new group
    #[arg(long)]
    pub(crate) groups: bool,
    /// Count what would change, and stop
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// The image
    #[arg(value_name = "IMG", add = ArgValueCompleter::new(candidates::images))]
    pub(crate) image: PathBuf,
}

/// To the kernel this id means "leave it as it is", so no file can belong to it.
const NO_ID: u32 = u32::MAX;

fn parse_user(text: &str) -> Result<u32, String> {
    parse_id(text, "user", |name| Ok(User::from_name(name)?.map(|user| user.uid.as_raw())))
}

fn parse_group(text: &str) -> Result<u32, String> {
    parse_id(text, "group", |name| Ok(Group::from_name(name)?.map(|group| group.gid.as_raw())))
}

/// As in chown(1), a name counts before a number.
fn parse_id(text: &str, what: &str, by_name: impl FnOnce(&str) -> nix::Result<Option<u32>>) -> Result<u32, String> {
    let known =
        by_name(text).map_err(|error| format!("the {what}s of this machine cannot be read: {}", error.desc()))?;
    match known.map_or_else(|| text.parse(), Ok) {
        Ok(NO_ID) => Err(format!("{NO_ID} is no id: the kernel takes it for \"unchanged\"; write one below it")),
        Ok(id) => Ok(id),
        Err(_) => Err(format!("no such {what} on this machine; write a name, or a number from 0 to {}", NO_ID - 1)),
    }
}

fn parse_ids(text: &str) -> Result<(u32, u32), String> {
    let (user, group) = text.split_once(':').ok_or("write USER:GROUP")?;
    Ok((parse_user(user)?, parse_group(group)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_no_file_can_have_is_refused() {
        assert_eq!((parse_user("0"), parse_group("4294967294")), (Ok(0), Ok(4_294_967_294)));
        assert!(parse_user("4294967295").unwrap_err().contains("is no id"));
        for text in ["4294967296", "-1", "no-such-user", ""] {
            assert!(parse_user(text).unwrap_err().starts_with("no such user"), "{text}");
            assert!(parse_group(text).unwrap_err().starts_with("no such group"), "{text}");
        }
        assert_eq!(parse_ids("1000:100"), Ok((1000, 100)));
        for text in ["4294967295:0", "0:4294967295", "1000", "1000:", ":"] {
            assert!(parse_ids(text).is_err(), "{text}");
        }
    }

    #[test]
    fn names_are_those_of_this_machine() {
        assert_eq!((parse_user("root"), parse_group("root"), parse_ids("root:0")), (Ok(0), Ok(0), Ok((0, 0))));
    }
}
