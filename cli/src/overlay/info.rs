//! `condatainer overlay info`: an image by its path. [`crate::library::info`] prints the report.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::library::info::show;
use crate::say::failure::Failure;

#[derive(Debug, Args)]
pub(crate) struct InfoArgs {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Also look for whiteouts, the marks of deleted files; takes a look at every directory in the image
    #[arg(long)]
    pub(crate) scan: bool,
    /// The image: any file or directory that can be a layer
    #[arg(value_name = "IMG", value_hint = clap::ValueHint::FilePath)]
    pub(crate) image: PathBuf,
}

pub(crate) fn info(args: &InfoArgs) -> Result<ExitCode, Failure> {
    show(&args.image, args.scan, args.json)
}
