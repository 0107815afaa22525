//! One building: what is built, Apptainer's part, and the layer's way to its place.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::command::{Build, takes_mksquashfs_arguments};
use super::output::Output;
use crate::build::error::BuildError;
use crate::build::packed::Packed;
use crate::build::process::{End, Running};
use crate::build::progress::Watch;
use crate::build::recipe::source::{self, Source};
use crate::build::recipe::{Recipe, definition};
use crate::build::request::{Report, Request};
use crate::build::target::{self, Target};
use crate::build::work_dir::WorkDir;
use crate::machine::survey;
use crate::plan;
use condatainer_images::system::fakeroot::Fakeroot;
use condatainer_images::system::user::Caller;
use condatainer_images::verbs::seal::Compression;

/// What is built, once everything that it depends on was read.
struct Plan {
    /// As the report names it.
    source: String,
    /// A definition, or what Apptainer takes without one.
    what: What,
    /// Whether it may come from a registry.
    remote: bool,
    /// The least that is needed for the work, in bytes.
    needed: u64,
}

/// What the report calls the definition that the layer has recorded.
const RECORDED_SOURCE: &str = "recorded";

enum What {
    Definition(Vec<u8>),
    Spec(String),
}

/// As whom Apptainer works.
struct Rights {
    is_root: bool,
    fakeroot: Option<Fakeroot>,
    /// Why fakeroot may not work here.
    problem: Option<String>,
}

impl Rights {
    /// Fakeroot is of no use where there is no definition.
    fn for_plan(self, plan: &Plan) -> Self {
        let needed = matches!(plan.what, What::Definition(_));
        Self { fakeroot: self.fakeroot.filter(|_| needed), ..self }
    }

    /// Whether the layer's files lose their owners.
    fn root_owned(&self) -> bool {
        !self.is_root && matches!(self.fakeroot, None | Some(Fakeroot::RootMapped))
    }
}

pub(crate) fn run(request: &Request, watch: Watch<'_>) -> Result<Report, BuildError> {
    let begun = Instant::now();
    let rights = rights(request)?;
    let plan = plan(request, &rights)?;
    let rights = rights.for_plan(&plan);
    let compression = compression(request)?;
    let target = Target::new(&request.layer, request.update)?;
    let work_dir = work_dir(request, &target, plan.needed)?;
    target.require_space(1)?;
    let sif = make_sif(request, &plan, &rights, compression, &work_dir, &target, watch)?;
    let (size_bytes, compression) = write(&sif, &target, watch)?;
    let recorded = Packed::open(target.draft().path())?.recorded(target.path())?.map(|(place, _)| place);
    let (path, replaced) = (target.path().to_owned(), target.replaces());
    target.publish()?;
    let seconds = begun.elapsed().as_secs_f64();
    let (fakeroot, root_owned) = (rights.fakeroot, rights.root_owned());
    Ok(Report {
        path,
        size_bytes,
        source: plan.source,
        definition: recorded,
        compression,
        fakeroot,
        root_owned,
        replaced,
        seconds,
    })
}

/// The kind of fakeroot that Apptainer will choose. Where it should not be possible Apptainer has the last word: a setuid
/// installation may know a way.
fn rights(request: &Request) -> Result<Rights, BuildError> {
    let caller = Caller::current().map_err(|error| BuildError::io(&request.layer, error))?;
    let is_root = caller.uid == 0;
    if !request.fakeroot {
        return Ok(Rights { is_root, fakeroot: None, problem: None });
    }
    let guess = if caller.has_subids { Fakeroot::Subuid } else { Fakeroot::RootMapped };
    let (fakeroot, problem) = match plan::fakeroot::usable(&caller, survey::user_namespaces(), survey::newuidmap()) {
        Ok(kind) => (kind, None),
        Err(refusal) => (guess, Some(refusal.to_string())),
    };
    Ok(Rights { is_root, fakeroot: Some(fakeroot), problem })
}

fn plan(request: &Request, rights: &Rights) -> Result<Plan, BuildError> {
    match &request.recipe {
        Some(Recipe::Definition { path, text }) => {
            of_definition(request, path, path.display().to_string(), text.clone(), rights)
        }
        Some(Recipe::Source(source)) => Ok(of_source(source, rights)),
        None => {
            let text = recorded(&request.layer)?;
            match Source::of_definition(&text, RECORDED_SOURCE) {
                Some(source) => Ok(of_source(&source, rights)),
                None => of_definition(request, &request.layer, RECORDED_SOURCE.into(), text, rights),
            }
        }
    }
}

/// Without a subuid range an image with its owners cannot be unpacked as root, and nothing would be gained by it: no script runs,
/// and all would belong to root anyway.
fn of_source(source: &Source, rights: &Rights) -> Plan {
    let as_root = rights.is_root || rights.fakeroot.is_some();
    let mapped = rights.fakeroot == Some(Fakeroot::RootMapped) && source.keeps_owners();
    let what = match as_root && !mapped {
        true => What::Definition(source.to_definition()),
        false => What::Spec(source.spec()),
    };
    let (remote, needed) = (source.local.is_none(), source::size(source));
    Plan { source: source.asked.clone(), what, remote, needed }
}

fn of_definition(
    request: &Request,
    path: &Path,
    source: String,
    text: Vec<u8>,
    rights: &Rights,
) -> Result<Plan, BuildError> {
    definition::check(&text).map_err(|flaw| BuildError::Definition { path: path.into(), flaw })?;
    if !rights.is_root && rights.fakeroot.is_none() {
        return Err(BuildError::NeedsRoot { path: path.into(), origin: request.fakeroot_origin.clone() });
    }
    Ok(Plan { source, what: What::Definition(text), remote: true, needed: 1 })
}

/// The definition that the layer itself has recorded.
fn recorded(layer: &Path) -> Result<Vec<u8>, BuildError> {
    if target::old(layer)?.is_none() {
        return Err(BuildError::NothingToRebuild { path: layer.into() });
    }
    let recorded = Packed::open(layer)?.recorded(layer)?;
    recorded.map(|(_, text)| text).ok_or_else(|| BuildError::NothingRecorded { path: layer.into() })
}

/// Zstd is smaller and quicker than Apptainer's gzip, both to make and to read.
fn compression(request: &Request) -> Result<Option<Compression>, BuildError> {
    match (request.compression, takes_mksquashfs_arguments(&request.engine)) {
        (wanted, true) => Ok(Some(wanted.unwrap_or(Compression::Zstd))),
        // What Apptainer does by itself.
        (None | Some(Compression::Gzip), false) => Ok(None),
        (Some(_), false) => Err(BuildError::NoChoice { program: request.engine.clone() }),
    }
}

fn work_dir(request: &Request, target: &Target, needed: u64) -> Result<WorkDir, BuildError> {
    let refused = |why: &str| tmpdir_refused(request, why.into());
    // It stands in a definition, which Apptainer reads as a shell would.
    let awkward = |c: char| c.is_control() || "\"'\\$`*?[]{}#".contains(c);
    match fs::canonicalize(&request.tmpdir) {
        Err(error) => Err(refused(&error.to_string())),
        Ok(tmpdir) if tmpdir.to_str().is_none_or(|path| path.contains(awkward)) => {
            Err(refused("a definition cannot hold its name"))
        }
        Ok(tmpdir) => {
            target::require_space(target.path(), &tmpdir, needed.max(1))?;
            WorkDir::new(&tmpdir).map_err(|error| refused(&error.to_string()))
        }
    }
}

fn tmpdir_refused(request: &Request, why: String) -> BuildError {
    BuildError::Tmpdir { path: request.tmpdir.clone(), why, origin: request.tmpdir_origin.clone() }
}

/// Apptainer's part.
fn make_sif(
    request: &Request,
    plan: &Plan,
    rights: &Rights,
    compression: Option<Compression>,
    work_dir: &WorkDir,
    target: &Target,
    watch: Watch<'_>,
) -> Result<PathBuf, BuildError> {
    let refused = |error: io::Error| tmpdir_refused(request, error.to_string());
    let io = |error| BuildError::io(target.path(), error);
    let (sif, tmpdir) = (work_dir.join("image.sif"), work_dir.join("tmp"));
    fs::create_dir(&tmpdir).map_err(refused)?;
    let build = Build {
        engine: &request.engine,
        tmpdir: &tmpdir,
        fakeroot: rights.fakeroot.is_some() && !rights.is_root,
        compression,
        root_owned: compression.is_some() && matches!(plan.what, What::Spec(_)),
        arguments: &request.arguments,
        sif: &sif,
        spec: spec(plan, work_dir).map_err(refused)?,
    };
    let start = |error| BuildError::Start { program: request.engine.clone(), error };
    let mut output = Output::default();
    let end =
        Running::start(&build.command()).map_err(start)?.wait(&mut |line| output.hear(line), watch).map_err(io)?;
    match end {
        End::Stopped => Err(BuildError::Interrupted { path: target.path().into() }),
        End::Exited(status) if status.success() && sif.is_file() => Ok(sif),
        End::Exited(status) if status.success() => {
            Err(BuildError::NotSquashfs { path: target.path().into(), what: "no SIF".into() })
        }
        End::Exited(status) => Err(failure(&output, &status.to_string(), plan, rights, &request.tmpdir, target)),
    }
}

/// What Apptainer is given: the definition that is built, with the one that is recorded beside it.
fn spec(plan: &Plan, work_dir: &WorkDir) -> io::Result<OsString> {
    let definition = match &plan.what {
        What::Spec(spec) => return Ok(spec.into()),
        What::Definition(definition) => definition,
    };
    let (copy, built) = (work_dir.join("definition"), work_dir.join("built.def"));
    fs::write(&copy, definition)?;
    fs::write(&built, definition::recording(definition, &copy.to_string_lossy()))?;
    Ok(built.into())
}

fn failure(output: &Output, status: &str, plan: &Plan, rights: &Rights, tmpdir: &Path, target: &Target) -> BuildError {
    let advice = match &rights.problem {
        _ if output.is_full() => Some(format!(
            "a disk is full or your quota is: make room in {}, or name another directory with --tmpdir",
            tmpdir.display()
        )),
        Some(problem) => Some(problem.clone()),
        None => output.advice(plan.remote, rights.fakeroot).map(String::from),
    };
    let reason = output.reason().unwrap_or_else(|| status.into());
    BuildError::Failed { path: target.path().into(), reason, last_lines: output.last_lines(), advice }
}

/// Copies the squashfs out of the SIF: its length, and how it is compressed.
fn write(sif: &Path, target: &Target, watch: Watch<'_>) -> Result<(u64, &'static str), BuildError> {
    let packed = Packed::open(sif)?;
    target.require_space(packed.size())?;
    let whole = packed.copy_to(target.draft().file(), watch).map_err(|error| BuildError::io(target.path(), error))?;
    if whole {
        Ok((packed.size(), packed.compression))
    } else {
        Err(BuildError::Interrupted { path: target.path().into() })
    }
}
