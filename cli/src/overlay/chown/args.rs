//! Arguments of `overlay chown`.

use std::path::PathBuf;

use clap::Args;
use clap_complete::engine::ArgValueCompleter;

use crate::complete::candidates;

#[derive(Debug, Args)]
pub(crate) struct ChownArgs {
    /// To root
    #[arg(long, conflicts_with_all = ["uid", "gid"])]
    pub(crate) root: bool,
    /// To this user id
    #[arg(short, long, requires = "gid", value_parser = parse_id)]
    pub(crate) uid: Option<u32>,
    /// To this group id
    #[arg(short, long, requires = "uid", value_parser = parse_id)]
    pub(crate) gid: Option<u32>,
    /// Move only what belongs to these ids
    #[arg(long, value_name = "UID:GID", value_parser = parse_ids, conflicts_with = "all")]
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

fn parse_id(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(NO_ID) => Err(format!("{NO_ID} is no id: the kernel takes it for \"unchanged\"; write one below it")),
        Ok(id) => Ok(id),
        Err(_) => Err(format!("write a number from 0 to {}", NO_ID - 1)),
    }
}

fn parse_ids(text: &str) -> Result<(u32, u32), String> {
    let (uid, gid) = text.split_once(':').ok_or("write UID:GID in numbers")?;
    Ok((parse_id(uid)?, parse_id(gid)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_no_file_can_have_is_refused() {
        assert_eq!((parse_id("0"), parse_id("4294967294")), (Ok(0), Ok(4_294_967_294)));
        assert!(parse_id("4294967295").unwrap_err().contains("is no id"));
        for text in ["4294967296", "-1", "alice", ""] {
            assert!(parse_id(text).unwrap_err().starts_with("write a number"), "{text}");
        }
        assert_eq!(parse_ids("1000:100"), Ok((1000, 100)));
        for text in ["4294967295:0", "0:4294967295", "1000", "1000:", ":"] {
            assert!(parse_ids(text).is_err(), "{text}");
        }
    }
}
