//! Arguments of `overlay chown`.

use std::path::PathBuf;

use clap::Args;
use clap_complete::engine::ArgValueCompleter;

use crate::complete;

#[derive(Debug, Args)]
pub(crate) struct ChownArgs {
    /// To root
    #[arg(long, conflicts_with_all = ["uid", "gid"])]
    pub(crate) root: bool,
    /// To this user id
    #[arg(short, long, requires = "gid")]
    pub(crate) uid: Option<u32>,
    /// To this group id
    #[arg(short, long, requires = "uid")]
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
    #[arg(value_name = "IMG", add = ArgValueCompleter::new(complete::images))]
    pub(crate) image: PathBuf,
}

fn parse_ids(text: &str) -> Result<(u32, u32), String> {
    let pair = text.split_once(':').and_then(|(uid, gid)| Some((uid.parse().ok()?, gid.parse().ok()?)));
    pair.ok_or_else(|| "write UID:GID in numbers".into())
}
