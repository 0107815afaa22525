//! `condatainer o`, `condatainer overlay create`: makes a workspace image.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use clap_complete::engine::ArgValueCompleter;
use condatainer_core::build::conda::{self, Contents};
use condatainer_core::config::{Given, SYSTEM_FILE};
use condatainer_core::machine::survey;
use condatainer_core::plan::fakeroot;
use condatainer_formats::ext::Ids;
use condatainer_formats::size::Size;
use condatainer_images::system::fakeroot::Fakeroot;
use condatainer_images::system::user::Caller;
use condatainer_images::verbs::create::{self, Made, Spec};
use condatainer_images::verbs::seal::Compression;
use serde::Serialize;

use crate::arguments::parse_size;
use crate::complete::candidates;
use crate::library::work;
use crate::say::failure::Failure;
use crate::say::progress::{Progress, Unit};
use crate::say::report;
use crate::surroundings::Surroundings;

#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// Size of the image; it is sparse, so it takes only what is written
    #[arg(short, long, default_value = "10G", value_parser = parse_size)]
    pub(crate) size: u64,
    /// What it will hold: many small files, a mixture, or few large ones
    #[arg(short, long, alias = "type", short_alias = 't', value_enum, default_value_t = Profile::Balanced)]
    pub(crate) profile: Profile,
    /// Give it to root, for work under fakeroot (apt, dpkg)
    #[arg(long)]
    pub(crate) fakeroot: bool,
    /// Reserve all of its space now
    #[arg(long)]
    pub(crate) allocate: bool,
    /// Make it in this directory, for instance on a fast local disk, and move it to its place when it is finished
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    pub(crate) tmpdir: Option<PathBuf>,
    /// Volume label, up to 16 bytes
    #[arg(long, value_name = "NAME")]
    pub(crate) label: Option<String>,
    /// Put a conda environment of this file into it: environment.yml, or a list of packages
    #[arg(short, long, value_name = "FILE", value_hint = clap::ValueHint::FilePath, conflicts_with = "packages")]
    pub(crate) file: Option<PathBuf>,
    /// A channel for the packages, before those of the file and of your configuration; repeatable
    #[arg(short, long = "channel", value_name = "CHANNEL")]
    pub(crate) channels: Vec<String>,
    /// The program that makes the environment [default: micromamba, mamba or conda] [env: CONDATAINER_CONDA]
    #[arg(long, value_name = "PATH", value_hint = clap::ValueHint::ExecutablePath)]
    pub(crate) conda: Option<PathBuf>,
    /// The base that the environment is made on [env: CONDATAINER_BASE]
    #[arg(short, long, value_name = "IMAGE", add = ArgValueCompleter::new(candidates::bases))]
    pub(crate) base: Option<PathBuf>,
    /// Options of the original CondaTainer for what is always so here
    #[arg(short = 'S', long, alias = "no-tmp", hide = true)]
    pub(crate) sparse: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Where to make it; .img is added to a name without an ending
    #[arg(default_value = "env.img", value_name = "IMG", value_hint = clap::ValueHint::FilePath)]
    pub(crate) image: PathBuf,
    /// Packages of a conda environment to put into it, after --
    #[arg(last = true, value_name = "PACKAGE")]
    pub(crate) packages: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Profile {
    /// Many small files
    #[value(aliases = ["conda", "python"])]
    Small,
    /// A mixture
    Balanced,
    /// Few large files
    #[value(aliases = ["data", "genome"])]
    Large,
}

/// The report of `--json`.
#[derive(Debug, Serialize)]
struct Report<'a> {
    #[serde(serialize_with = "condatainer_images::system::json_paths::path")]
    path: &'a PathBuf,
    kind: &'static str,
    size_bytes: u64,
    allocated_bytes: u64,
    free_bytes: Option<u64>,
    profile: create::Profile,
    inodes_total: u32,
    upper: Ids,
    uuid: &'a str,
    label: &'a str,
    /// Packages of the conda environment in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    packages: Option<usize>,
    /// The kind that starts with this image get here; null for plain ones.
    fakeroot: Option<Fakeroot>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fakeroot_problem: Option<&'a str>,
    #[serde(serialize_with = "condatainer_images::system::json_paths::paths")]
    removed: &'a [PathBuf],
}

pub(crate) fn create(args: &CreateArgs) -> Result<ExitCode, Failure> {
    let caller = Caller::current().map_err(Failure::failed)?;
    let mut spec = spec(args, &caller);
    let contents = contents(args, &caller, &mut spec)?;
    let progress = Progress::new(args.image.display().to_string(), Unit::Bytes, "writing the rest to the disk");
    if contents.is_some() {
        progress.spin("putting the environment into the image");
    }
    let made = create::create(&spec, &mut |done, total| progress.at(done, total));
    progress.finish();
    let made = made.map_err(Failure::failed)?;
    let fakeroot = args.fakeroot.then(|| {
        fakeroot::usable(&caller, survey::user_namespaces(), survey::newuidmap()).map_err(|refusal| refusal.to_string())
    });
    report::give(args.json, &described(&spec, &made, contents.as_ref(), fakeroot.as_ref()), || {
        let environment = contents.iter().flat_map(|contents| environment(&made.image.path, contents));
        lines(&made, &caller, fakeroot.as_ref()).into_iter().chain(environment).collect()
    })?;
    Ok(ExitCode::SUCCESS)
}

/// The conda environment that is to go into the image, if one is wanted: made first, so that there is no image without it.
fn contents(args: &CreateArgs, caller: &Caller, spec: &mut Spec) -> Result<Option<Contents>, Failure> {
    let is_wanted = args.file.is_some() || !args.packages.is_empty();
    if !is_wanted && (!args.channels.is_empty() || args.conda.is_some() || args.base.is_some()) {
        return Err(Failure::usage(
            "-c, --conda and -b are for a conda environment; name packages after --, or -f FILE",
        ));
    }
    if !is_wanted {
        return Ok(None);
    }
    let around = Surroundings::look(Path::new(SYSTEM_FILE)).map_err(Failure::of_a_verb)?;
    let (packages, more_channels) = split_channels(&args.packages);
    let wanted = match &args.file {
        Some(file) => conda::Spec::of_file(&around.cwd.join(file)),
        None => conda::Spec::of_words(&packages),
    };
    create::check_before(spec).map_err(Failure::failed)?;
    around.tell_overruled(&Given { tmpdir: args.tmpdir.as_deref(), conda: args.conda.as_deref(), ..Given::default() });
    let request = conda::Request {
        spec: wanted.map_err(Failure::failed)?,
        layer: around.cwd.join(&spec.path),
        base: around.base(args.base.as_deref()).map_err(Failure::of_a_verb)?,
        update: false,
        compression: Compression::default(),
        tmpdir: work::tmpdir(args.tmpdir.clone(), &around),
        channels: [args.channels.clone(), more_channels].concat(),
        conda: args.conda.clone(),
        cwd: around.cwd.clone(),
        config: &around.config,
        env: &around.env,
    };
    let contents = work::watched(&args.image, |watch| conda::contents(&request, watch))?;
    // As the tool has made it.
    let owner = Ids { uid: caller.uid, gid: caller.gid };
    spec.contents = Some(create::Contents { directory: contents.directory.clone(), owner });
    Ok(Some(contents))
}

/// Channels may stand among the packages, as in the original CondaTainer: `-- pytorch -c nvidia`.
fn split_channels(words: &[String]) -> (Vec<String>, Vec<String>) {
    let (mut packages, mut channels) = (Vec::new(), Vec::new());
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "-c" | "--channel" => channels.extend(words.next().cloned()),
            _ => packages.push(word.clone()),
        }
    }
    (packages, channels)
}

fn environment(image: &Path, contents: &Contents) -> Vec<String> {
    let made = format!("{}: {} packages in /ext3/env", image.display(), contents.packages);
    let scripts = contents.activation.join(", ");
    let activation = format!("{}: a start does not run its activation scripts ({scripts})", image.display());
    [Some(made), (!contents.activation.is_empty()).then_some(activation)].into_iter().flatten().collect()
}

fn spec(args: &CreateArgs, caller: &Caller) -> Spec {
    let owner = if args.fakeroot { Ids::ROOT } else { Ids { uid: caller.uid, gid: caller.gid } };
    Spec {
        profile: profile(args.profile),
        label: args.label.clone(),
        allocate: args.allocate,
        tmpdir: args.tmpdir.clone(),
        ..Spec::new(with_ending(&args.image), args.size, owner)
    }
}

/// A bare word would be taken for a name wherever a layer is asked for.
fn with_ending(image: &Path) -> PathBuf {
    match (image.extension(), image.file_name()) {
        (None, Some(_)) => image.with_extension("img"),
        _ => image.into(),
    }
}

fn described<'a>(
    spec: &Spec,
    made: &'a Made,
    contents: Option<&Contents>,
    fakeroot: Option<&'a Result<Fakeroot, String>>,
) -> Report<'a> {
    let (fakeroot, fakeroot_problem) = match fakeroot {
        Some(Ok(kind)) => (Some(*kind), None),
        Some(Err(why)) => (None, Some(why.as_str())),
        None => (None, None),
    };
    Report {
        path: &made.image.path,
        kind: made.image.kind.name(),
        size_bytes: made.image.size_bytes,
        allocated_bytes: made.image.allocated_bytes,
        free_bytes: made.free_bytes,
        profile: spec.profile,
        inodes_total: made.probe.inodes_total,
        upper: spec.owner,
        uuid: &made.probe.uuid,
        label: &made.probe.label,
        packages: contents.map(|contents| contents.packages),
        fakeroot,
        fakeroot_problem,
        removed: &made.swept,
    }
}

fn lines(made: &Made, caller: &Caller, fakeroot: Option<&Result<Fakeroot, String>>) -> Vec<String> {
    let (image, size) = (made.image.path.display(), Size(made.image.size_bytes));
    let swept =
        made.swept.iter().map(|path| format!("{}: removed, left behind by a killed condatainer", path.display()));
    let mut lines: Vec<String> = swept.collect();
    lines.push(format!("{image}: made, {size}, belongs to {}", owner(caller, fakeroot)));
    if let Some(free) = made.free_bytes.filter(|_| made.is_larger_than_free()) {
        let free = Size(free);
        lines.push(format!("{image}: only {free} are free there now: it cannot be filled before there is more space"));
    }
    lines
}

fn owner(caller: &Caller, fakeroot: Option<&Result<Fakeroot, String>>) -> String {
    let starts = "root: starts use fakeroot";
    match fakeroot {
        None => format!("you ({})", caller.name),
        Some(Ok(Fakeroot::Root)) => "root".into(),
        Some(Ok(Fakeroot::Subuid)) => format!("{starts} (on this machine with your subuid range)"),
        Some(Ok(Fakeroot::RootMapped)) => {
            format!("{starts} (on this machine root-mapped, because you have no subuid range: only root exists inside)")
        }
        Some(Err(why)) => format!("{starts}, which is not usable on this machine: {why}"),
    }
}

fn profile(profile: Profile) -> create::Profile {
    match profile {
        Profile::Small => create::Profile::Small,
        Profile::Balanced => create::Profile::Balanced,
        Profile::Large => create::Profile::Large,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_among_packages() {
        let words = ["pytorch", "-c", "nvidia", "numpy", "--channel", "x"].map(String::from);
        let expected = (vec!["pytorch".into(), "numpy".into()], vec!["nvidia".into(), "x".into()]);
        assert_eq!(split_channels(&words), expected);
    }

    #[test]
    fn the_kind_of_fakeroot_is_said() {
        let name = "alice".into();
        let caller = Caller { uid: 1001, gid: 1001, name, home: None, shell: None, has_subids: false };
        let said = |fakeroot: Option<Result<Fakeroot, String>>| owner(&caller, fakeroot.as_ref());
        assert_eq!(said(None), "you (alice)");
        assert_eq!(said(Some(Ok(Fakeroot::Root))), "root");
        assert!(said(Some(Ok(Fakeroot::Subuid))).ends_with("(on this machine with your subuid range)"));
        assert!(said(Some(Ok(Fakeroot::RootMapped))).contains("only root exists inside"));
        let why = "user namespaces are switched off".into();
        let expected =
            "root: starts use fakeroot, which is not usable on this machine: user namespaces are switched off";
        assert_eq!(said(Some(Err(why))), expected);
    }
}
