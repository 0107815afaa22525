//! The verbs, with their help texts. Help, completions, man pages and parsing all come from these definitions; the arguments of a
//! verb stand beside it.

use std::path::PathBuf;

use clap::{ArgAction, CommandFactory, Parser, Subcommand};

use crate::library::check::ScriptCheckArgs;
use crate::library::create::args::BuildArgs;
use crate::library::info::LayerInfoArgs;
use crate::library::list::ListArgs;
use crate::library::remove::RemoveArgs;
use crate::machine::config::ConfigArgs;
use crate::machine::doctor::DoctorArgs;
use crate::machine::explain::ExplainArgs;
use crate::machine::hold::AdminVerb;
use crate::overlay::check::CheckArgs;
use crate::overlay::chown::args::ChownArgs;
use crate::overlay::create::CreateArgs;
use crate::overlay::diff::DiffArgs;
use crate::overlay::info::InfoArgs;
use crate::overlay::resize::ResizeArgs;
use crate::overlay::seal::SealArgs;
use crate::overlay::with_root::WithRootArgs;
use crate::start::e::EditArgs;
use crate::start::exec::ExecArgs;
use crate::start::join::JoinArgs;
use crate::start::ps::PsArgs;
use crate::start::run::args::RunArgs;
use crate::start::slurm::keep::KeepArgs;
use crate::start::slurm::task::TaskArgs;

/// Run commands in overlay images, and make and maintain such images.
#[derive(Debug, Parser)]
#[command(name = "condatainer", version, max_term_width = 100, disable_help_flag = true, disable_version_flag = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) verb: Verb,
    /// Say errors only
    #[arg(short, long, global = true, conflicts_with = "verbose", help_heading = COMMON)]
    pub(crate) quiet: bool,
    /// Say what is being run
    #[arg(short, long, global = true, help_heading = COMMON)]
    pub(crate) verbose: bool,
    /// Print help
    #[arg(short, long, global = true, action = ArgAction::Help, help_heading = COMMON)]
    help: Option<bool>,
    /// Print version
    #[arg(short = 'V', long, action = ArgAction::Version, help_heading = COMMON)]
    version: Option<bool>,
}

/// The heading of the options that every verb has. It comes last.
const COMMON: &str = "Common options";

/// The verbs as `condatainer --help` groups them.
const GROUPS: [(&str, &[&str]); 3] = [
    ("Run something", &["e", "exec", "run", "join", "ps", "explain"]),
    ("Images and layers", &["o", "overlay", "create", "list", "info", "check", "remove"]),
    ("This machine", &["doctor", "config", "admin", "completions", "help"]),
];

impl Cli {
    /// The definitions, with the verbs in groups.
    pub(crate) fn grouped() -> clap::Command {
        let cli = Self::command();
        let (header, literal) = (*cli.get_styles().get_header(), *cli.get_styles().get_literal());
        let about = |verb: &str| match cli.find_subcommand(verb) {
            Some(found) => found.get_about().map(ToString::to_string).unwrap_or_default(),
            None => "Print this, or the help of a verb".into(),
        };
        let line = |verb: &str| format!("  {literal}{verb:<11}{literal:#}  {}\n", about(verb));
        let group = |(heading, verbs): &(&str, &[&str])| {
            let lines: String = verbs.iter().map(|verb| line(verb)).collect();
            format!("{header}{heading}:{header:#}\n{lines}\n")
        };
        let groups: String = GROUPS.iter().map(group).collect();
        let template = format!(
            "{{about}}\n\n{{usage-heading}} {{usage}}\n\n{groups}{header}{COMMON}:{header:#}\n{{options}}{{after-help}}"
        );
        cli.help_template(template)
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Run a command in layers, read-only unless you say otherwise
    #[command(
        after_help = "Examples:\n  condatainer exec -o samtools/1.16 -o env.img python train.py\n  condatainer exec -w -o env.img -- pip install numpy\n  condatainer exec --dry-run -o env.img true\n\nExit code: the command's own; 125 it could not be started, 126 not executable, 127 not found."
    )]
    Exec(ExecArgs),
    /// Work in an image that is writable: a shell, or a command
    #[command(
        after_help = "Examples:\n  condatainer e                        a shell in ./env.img\n  condatainer e r4.4.3 tools.sqf -- R  R, with two layers below ./env.img\n  condatainer e -r env.img -- ls /ext3 read-only"
    )]
    E(EditArgs),
    /// Run a script in the layers that its #DEP: lines name
    ///
    /// A script with #SBATCH lines is submitted.
    #[command(
        after_help = "Examples:\n  condatainer run job.sh sample1              here, in a job, or submitted if it has #SBATCH lines\n  condatainer run --no-submit job.sh          right here\n  condatainer run --sbatch=--mem=16G job.sh   another option for sbatch\n  sbatch --wrap 'condatainer run job.sh'\n\nLines of a script:\n  #DEP: samtools/1.22      a layer: a name or a path, lowest first\n  #CNT -w --env NAME=VALUE options: -w --tmp -f --no-fakeroot -b -o --bind --env --pwd\n\nPrints the job's number when it was submitted. Exit code: the script's own; 125 it could not be started."
    )]
    Run(RunArgs),
    /// Check that a script's dependencies exist
    #[command(
        after_help = "Examples:\n  condatainer check job.sh\n  condatainer check scripts/    every .sh file in a directory\n\nExit code: 0 nothing is missing, 1 something is."
    )]
    Check(ScriptCheckArgs),
    /// Build a layer: of an image, a definition, or conda packages
    #[command(
        after_help = "Examples:\n  condatainer create -s docker://debian:trixie -n debian/13   debian--13.sqf in your image directory\n  condatainer create -f tools.def -p tools.sqf               what a definition says\n  condatainer create -s image.tar -p base.sqf                an archive that docker or skopeo wrote\n  condatainer create samtools/1.22 -c bioconda -c conda-forge   a module: /cnt/samtools/1.22\n  condatainer create -n py python=3.12 numpy                 a conda environment: py.sqf\n  condatainer create -f environment.yml -n py                the same from a file\n  condatainer create -u -p tools.sqf                         once more, from what it was made from\n  condatainer create -f tools.def -- --build-arg version=2   further options of 'apptainer build'\n\nWithout -n and -p the layer lies beside the definition. It is made whole or not at all."
    )]
    Create(BuildArgs),
    /// Make a workspace image (the same as 'overlay create')
    #[command(
        after_help = "Examples:\n  condatainer o                make env.img, 10 GiB\n  condatainer o -s 1G my.img   another size and name\n  condatainer o -f environment.yml\n  condatainer o env.img -- python=3.12 numpy   with a conda environment in /ext3/env"
    )]
    O(CreateArgs),
    /// Make and maintain overlay images
    #[command(subcommand)]
    Overlay(OverlayVerb),
    /// List the layers that have a name, and what each is for
    #[command(
        visible_alias = "ls",
        after_help = "Examples:\n  condatainer list                 all, directory by directory\n  condatainer list samtools 1.2    names that contain both\n  condatainer list --names 'r*'    names only, for a script"
    )]
    List(ListArgs),
    /// Show what a layer is, whose it is and who uses it
    #[command(
        after_help = "Examples:\n  condatainer info samtools/1.16\n  condatainer info env.img        the same as 'overlay info env.img'"
    )]
    Info(LayerInfoArgs),
    /// Remove layers, after asking
    #[command(
        visible_alias = "rm",
        after_help = "Examples:\n  condatainer remove samtools/1.16\n  condatainer remove 'samtools/*'\n  condatainer remove -y ./old.sqf"
    )]
    Remove(RemoveArgs),
    /// Show the containers on this machine
    ///
    /// Those of Slurm steps, and those that you have started.
    #[command(
        after_help = "Examples:\n  condatainer ps\n  srun --overlap --jobid=1234 --condatainer-off condatainer ps    on the node of a job"
    )]
    Ps(PsArgs),
    /// Open a shell in a container of yours that runs
    ///
    /// Or run a command there.
    #[command(
        after_help = "Examples:\n  condatainer join env.img       a second shell where 'condatainer e' works in env.img\n  condatainer join 4711 top      a command in the container that process 4711 is in\n  condatainer join 1234            a shell in job 1234's container on this node\n  condatainer join 1234.0 ps ax    a command in that of its step 0\n  srun --overlap --jobid=1234 --condatainer-off --pty condatainer join 1234    from elsewhere\n\nExit code: the command's own; 125 the container cannot be entered."
    )]
    Join(JoinArgs),
    /// Show every setting, its value and where it comes from
    #[command(
        after_help = "Examples:\n  condatainer config\n  condatainer config --json\n\nFiles: /etc/condatainer/config.toml, then ~/.config/condatainer/config.toml. Keys that users may set have a variable CONDATAINER_KEY."
    )]
    Config(ConfigArgs),
    /// Check whether containers can start here, and say what to do
    #[command(
        after_help = "Examples:\n  condatainer doctor                 everything, and locks in the working directory\n  condatainer doctor --start         start a container too\n  condatainer doctor /scratch/me     do locks work there?\n  condatainer doctor --node          as root: is this node fit? Silent if it is\n\nExit code: 0 nothing failed (there may be warnings), 1 something failed."
    )]
    Doctor(DoctorArgs),
    /// Say what a job ran in, or where an image was used
    #[command(
        after_help = "Examples:\n  condatainer explain 1234          all containers of a job\n  condatainer explain 1234.0        one step\n  condatainer explain 1234_7        a part of an array\n  condatainer explain env.img       the containers that this image was in\n\nYou see your own containers, root sees all. Exit code: 0 something was found, 1 nothing."
    )]
    Explain(ExplainArgs),
    /// For administrators
    #[command(subcommand)]
    Admin(AdminVerb),
    /// Print a completion script for a shell
    #[command(
        after_help = "Examples:\n  source <(condatainer completions bash)       in ~/.bashrc\n  condatainer completions fish | source        in config.fish"
    )]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write the program that stands in front of the FUSE programs to standard output (for 'make install')
    #[command(hide = true)]
    Interposer,
    /// Write the library that is loaded into fuse-overlayfs to standard output (for 'make install')
    #[command(hide = true)]
    Preload,
    /// Write the program that stands in a container for Slurm's commands to standard output (for 'make install')
    #[command(hide = true)]
    Relay,
    /// Write the file that a zsh in a container reads first to standard output (for 'make install')
    #[command(hide = true)]
    Zshenv,
    /// Write the man pages below a directory (for 'make install')
    #[command(hide = true)]
    Man {
        /// The directory
        dir: PathBuf,
    },
    /// Run a Slurm task (called by the SPANK plugin)
    #[command(hide = true)]
    Task(TaskArgs),
    /// Keep the container of a Slurm step for its tasks (called by the SPANK plugin)
    #[command(hide = true)]
    Keep(KeepArgs),
    /// Run one of Slurm's commands for a program in the container of a step (called by its keeper)
    #[command(hide = true)]
    Outside {
        /// The first process in the container
        first: i32,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum OverlayVerb {
    /// Make a workspace image
    #[command(
        after_help = "Examples:\n  condatainer overlay create               make env.img, 10 GiB\n  condatainer overlay create -s 1G my.img   another size and name"
    )]
    Create(CreateArgs),
    /// Show what an image is, whom it belongs to and whether it is in use
    #[command(
        after_help = "Examples:\n  condatainer overlay info env.img\n  condatainer overlay info --scan --json env.img"
    )]
    Info(InfoArgs),
    /// Look for what is wrong with an image, and repair it
    #[command(
        after_help = "Examples:\n  condatainer overlay check env.img              look only\n  condatainer overlay check --fix env.img        repair what loses nothing\n  condatainer overlay check --fix=force env.img  repair the rest too; the image is kept as env.img.damaged\n\nExit code: 0 nothing is wrong (any more), 1 something is left."
    )]
    Check(CheckArgs),
    /// Give an image to another owner: to you, to root (for fakeroot), or to given ids
    #[command(
        after_help = "Examples:\n  condatainer overlay chown env.img          to you\n  condatainer overlay chown --root env.img   to root: starts then use fakeroot\n\nIds of other users (_apt, man, ...) stay what they are. The image must not be in use."
    )]
    Chown(ChownArgs),
    /// Show what an image changes against what lies below it
    #[command(
        after_help = "Examples:\n  condatainer overlay diff env.img                      against the configured base\n  condatainer overlay diff -b base.sif -o tools.sqf env.img\n  condatainer overlay diff --summary env.img            sums by directory\n\nA added, M changed, D deleted. The image is only read; it may be in use."
    )]
    Diff(DiffArgs),
    /// Make an image larger or smaller
    #[command(
        after_help = "Examples:\n  condatainer overlay resize -s 20G env.img     to 20 GiB\n  condatainer overlay resize -s +5G env.img     larger by 5 GiB\n  condatainer overlay resize --free 2G env.img  grow until 2 GiB are free, if they are not\n\nThe work is done on a copy, which then takes the image's place. The image must not be in use."
    )]
    Resize(ResizeArgs),
    /// Turn what was written to an image into a read-only layer (a .sqf) that shows the same
    #[command(
        after_help = "Examples:\n  condatainer overlay seal env.img                   make env.sqf\n  condatainer overlay seal -o tools.sqf env.img      when env.img was used on tools.sqf\n  condatainer overlay seal --level 19 env.img v2.sqf smaller, slower to make\n\nThe image stays as it is. It must not be written to meanwhile."
    )]
    Seal(SealArgs),
    /// Run a command, or a shell, as root in an image of yours, which is yours again afterwards
    #[command(
        after_help = "Examples:\n  condatainer overlay with-root env.img -- apt update\n  condatainer overlay with-root env.img -- apt install -y tesseract-ocr-eng\n  condatainer overlay with-root env.img                  a shell\n\nThe image is given to root, the command runs in it with fakeroot, and the image goes back to whom it belonged, also after a failure or a signal.\nExit code: the command's own; 125 it could not be started; 1 it succeeded, but the image could not be given back."
    )]
    WithRoot(WithRootArgs),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::overlay::create::Profile;
    use clap::CommandFactory;

    #[test]
    fn definitions_are_consistent() {
        Cli::grouped().debug_assert();
    }

    #[test]
    fn every_verb_is_in_one_group() {
        let cli = Cli::command();
        let mut visible: Vec<&str> = cli
            .get_subcommands()
            .filter(|verb| !verb.is_hide_set())
            .map(|verb| verb.get_name())
            .chain(["help"])
            .collect();
        let mut grouped: Vec<&str> = GROUPS.iter().flat_map(|(_, verbs)| *verbs).copied().collect();
        visible.sort_unstable();
        grouped.sort_unstable();
        assert_eq!(visible, grouped);
        let help = Cli::grouped().render_help().to_string();
        assert!(
            help.contains("This machine:\n  doctor       Check") && help.contains("Common options:\n  -q"),
            "{help}"
        );
        assert!(help.lines().all(|line| line.chars().count() < 80), "{help}");
    }

    /// One line an option, and those that every verb has at the end.
    #[test]
    fn common_options_come_last() {
        let mut cli = Cli::grouped();
        cli.build();
        for verb in ["exec", "e", "run", "create", "o", "list", "ps"] {
            let help = cli.find_subcommand_mut(verb).unwrap().render_help().to_string();
            let (own, common) = help.split_once("Common options:\n").unwrap_or_else(|| panic!("{verb}: {help}"));
            assert!(!own.contains("--quiet") && !own.contains("--help"), "{verb}: {own}");
            let options = common.split("\n\n").next().unwrap_or_default();
            assert_eq!(options.lines().count(), 3, "{verb}: {common}");
        }
        let help = cli.find_subcommand_mut("exec").unwrap().render_help().to_string();
        assert!(!help.contains("Possible values") && help.contains("--mounts <auto|own|engine>"), "{help}");
    }

    #[test]
    fn every_verb_has_examples() {
        let cli = Cli::command();
        let overlay = cli.find_subcommand("overlay").unwrap();
        for verb in cli.get_subcommands().chain(overlay.get_subcommands()).filter(|verb| !verb.is_hide_set()) {
            let examples = verb.get_after_help().is_some_and(|help| help.to_string().starts_with("Examples:\n"));
            assert!(examples || verb.has_subcommands(), "{}", verb.get_name());
        }
    }

    #[test]
    fn options_of_the_original_are_understood() {
        let parse = |line: &str| Cli::try_parse_from(line.split(' ')).map(|cli| cli.verb).map_err(|e| e.to_string());
        let made = |line: &str| match parse(line) {
            Ok(Verb::O(args)) => Some((args.size, args.profile, args.image.display().to_string())),
            _ => None,
        };
        assert_eq!(made("condatainer o -s 20g -t conda -S my"), Some((20 << 30, Profile::Small, "my".into())));
        assert_eq!(made("condatainer o --no-tmp -p genome"), Some((10 << 30, Profile::Large, "env.img".into())));
        for line in [
            "exec --writable-img -o env.img --base-image b.sif bash",
            "e -b b.sif samtools/1.22 -- samtools",
            "ls",
            "rm x",
        ] {
            assert!(parse(&format!("condatainer {line}")).is_ok(), "{line}");
        }
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
