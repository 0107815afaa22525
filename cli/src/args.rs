//! The arguments of every verb. Help texts, completions and parsing all come from these definitions.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Run commands in overlay images, and make and maintain such images.
#[derive(Debug, Parser)]
#[command(name = "condatainer", version, propagate_version = true, max_term_width = 100)]
pub(crate) struct Cli {
    /// Say errors only
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Say what is being run
    #[arg(short, long, global = true)]
    pub(crate) verbose: bool,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Run a command in a stack of layers (read-only unless said otherwise)
    #[command(
        after_help = "Examples:\n  condatainer exec -o tools.sqf -o env.img python train.py\n  condatainer exec -w -o env.img -- pip install numpy\n  condatainer exec --dry-run -o env.img true\n\nExit code: the command's own; 125 it could not be started, 126 not executable, 127 not found."
    )]
    Exec(ExecArgs),
    /// Work in an image: writable, a shell unless a command is given
    #[command(
        after_help = "Examples:\n  condatainer e                        a shell in ./env.img\n  condatainer e tools.sqf -- R         R, with tools.sqf below ./env.img\n  condatainer e -r env.img -- ls /ext3 read-only"
    )]
    E(EditArgs),
    /// Make a workspace image (the same as 'overlay create')
    #[command(
        after_help = "Examples:\n  condatainer o                make env.img, 10 GiB\n  condatainer o -s 1G my.img   another size and name"
    )]
    O(CreateArgs),
    /// Make and maintain overlay images
    #[command(subcommand)]
    Overlay(OverlayVerb),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write the man pages into a directory
    #[command(hide = true)]
    Man {
        /// The directory
        dir: PathBuf,
    },
    /// Run a Slurm task (called by the SPANK plugin)
    #[command(hide = true)]
    Task(TaskArgs),
}

#[derive(Debug, Subcommand)]
pub(crate) enum OverlayVerb {
    /// Make a workspace image
    Create(CreateArgs),
    /// Show what an image is, whom it belongs to and whether it is in use
    Info(InfoArgs),
    /// Give an image to another owner: to you, to root (for fakeroot), or to given ids
    #[command(
        after_help = "Examples:\n  condatainer overlay chown env.img          to you\n  condatainer overlay chown --root env.img   to root: starts then use fakeroot\n\nIds of other users (_apt, man, ...) stay what they are. The image must not be in use."
    )]
    Chown(ChownArgs),
}

/// Options that every start has.
#[derive(Debug, Args)]
pub(crate) struct StartArgs {
    /// Run as root inside (automatic when an image belongs to root)
    #[arg(short, long, overrides_with = "no_fakeroot")]
    pub(crate) fakeroot: bool,
    /// Never run as root inside
    #[arg(long, overrides_with = "fakeroot")]
    pub(crate) no_fakeroot: bool,
    /// The base image: a .sif, a .sqf or a directory [env: CONDATAINER_BASE]
    #[arg(short, long, value_name = "IMAGE", value_hint = clap::ValueHint::FilePath)]
    pub(crate) base: Option<PathBuf>,
    /// Show a host path inside; a list, repeatable
    #[arg(long, value_name = "SOURCE[:DEST[:ro]]")]
    pub(crate) bind: Vec<String>,
    /// Set a variable inside, taken literally; repeatable
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) env: Vec<String>,
    /// Start in this directory of the container
    #[arg(long, value_name = "DIR")]
    pub(crate) pwd: Option<PathBuf>,
    /// Print what would run, and stop
    #[arg(long, value_name = "FORMAT", num_args = 0..=1, require_equals = true, default_missing_value = "text")]
    pub(crate) dry_run: Option<DryRun>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DryRun {
    /// One command line
    Text,
    /// The whole plan
    Json,
}

#[derive(Debug, Args)]
pub(crate) struct ExecArgs {
    /// A layer: PATH[:ro|:rw|:tmp], lowest first; a list, repeatable
    #[arg(short, long = "overlay", value_name = "LAYER", value_hint = clap::ValueHint::FilePath)]
    pub(crate) overlays: Vec<String>,
    /// Write to the last image that has no mode of its own
    #[arg(short, long)]
    pub(crate) writable: bool,
    #[command(flatten)]
    pub(crate) start: StartArgs,
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "COMMAND", value_hint = clap::ValueHint::CommandWithArguments)]
    pub(crate) command: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct EditArgs {
    /// Layers: PATH[:ro|:rw|:tmp], lowest first; ./env.img is added if no image is named
    #[arg(value_name = "LAYER", value_hint = clap::ValueHint::FilePath)]
    pub(crate) layers: Vec<String>,
    /// Read only
    #[arg(short, long)]
    pub(crate) read_only: bool,
    /// Do not add ./env.img
    #[arg(short, long)]
    pub(crate) no_autoload: bool,
    #[command(flatten)]
    pub(crate) start: StartArgs,
    /// A command instead of a shell
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// Size of the image; it is sparse, so it takes only what is written
    #[arg(short, long, default_value = "10G", value_parser = parse_size)]
    pub(crate) size: u64,
    /// What it will hold: many small files, a mixture, or few large ones
    #[arg(short, long, value_enum, default_value_t = Profile::Balanced)]
    pub(crate) profile: Profile,
    /// Give it to root, for work under fakeroot (apt, dpkg)
    #[arg(long)]
    pub(crate) fakeroot: bool,
    /// Reserve all of its space now
    #[arg(long)]
    pub(crate) allocate: bool,
    /// Where to make it
    #[arg(default_value = "env.img", value_name = "IMG", value_hint = clap::ValueHint::FilePath)]
    pub(crate) image: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Profile {
    /// Many small files
    Small,
    /// A mixture
    Balanced,
    /// Few large files
    Large,
}

#[derive(Debug, Args)]
pub(crate) struct InfoArgs {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// The image
    #[arg(value_name = "IMG", value_hint = clap::ValueHint::FilePath)]
    pub(crate) image: PathBuf,
}

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
    #[arg(value_name = "IMG", value_hint = clap::ValueHint::FilePath)]
    pub(crate) image: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct TaskArgs {
    /// Which part of the job this is
    #[arg(long, value_enum)]
    pub(crate) part: TaskPart,
    /// The system configuration
    #[arg(long)]
    pub(crate) config: Option<PathBuf>,
    /// The task's command
    #[arg(required = true, last = true)]
    pub(crate) command: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TaskPart {
    Batch,
    Step,
}

fn parse_size(text: &str) -> Result<u64, String> {
    parse_size::Config::new()
        .with_binary()
        .parse_size(text)
        .map_err(|e| format!("{e}: write a number with K, M, G or T"))
}

fn parse_ids(text: &str) -> Result<(u32, u32), String> {
    let pair = text.split_once(':').and_then(|(uid, gid)| Some((uid.parse().ok()?, gid.parse().ok()?)));
    pair.ok_or_else(|| "write UID:GID in numbers".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn definitions_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn sizes_are_binary() {
        assert_eq!(parse_size("1G"), Ok(1 << 30));
        assert_eq!(parse_size("512MiB"), Ok(512 << 20));
        assert!(parse_size("much").is_err());
    }

    #[test]
    fn the_last_of_two_opposites_wins() {
        let parse = |args: &[&str]| match Cli::parse_from([&["condatainer", "exec"], args, &["true"]].concat()).verb {
            Verb::Exec(exec) => (exec.start.fakeroot, exec.start.no_fakeroot),
            _ => unreachable!("exec was parsed"),
        };
        assert_eq!(parse(&["-f", "--no-fakeroot"]), (false, true));
        assert_eq!(parse(&["--no-fakeroot", "-f"]), (true, false));
    }
}
