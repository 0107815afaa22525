//! `condatainer run`: a script in the stack that its own lines name, right here or as a job.

pub(crate) mod args;
mod submit;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use condatainer_core::config::SYSTEM_FILE;
use condatainer_core::plan::Command;
use condatainer_core::plan::working_directory::is_the_containers;
use condatainer_core::request::Request;
use condatainer_core::request::bind::Bind;
use condatainer_core::request::script::Script;
use nix::unistd::{AccessFlags, access};

use crate::say::failure::Failure;
use crate::start::run::args::RunArgs;
use crate::surroundings::Surroundings;

/// What bash takes for the functions `module` and `ml`, which do nothing; every other program sees two odd variables.
const NO_MODULES: [(&str, &str); 2] = [("BASH_FUNC_module%%", "() { :; }"), ("BASH_FUNC_ml%%", "() { :; }")];

/// What every container shows of the host, besides the working directory.
const SHOWN_ANYWAY: [&str; 2] = ["/tmp", "/var/tmp"];

pub(crate) fn run(args: &RunArgs) -> Result<ExitCode, Failure> {
    let around = Surroundings::look(Path::new(SYSTEM_FILE))?;
    let path = around.cwd.join(args.command.first().map_or("", String::as_str));
    let script = Script::read(&path, args.module).map_err(Failure::not_started)?;
    let options = Request {
        layers: around.layers(&args.overlays)?,
        write: args.writable,
        tmp: args.tmp,
        ..around.request(&args.start)?
    };
    if let Some(sbatch) = submit::wanted(args, &script, &around)? {
        return submit::submit(&sbatch, args, &script, options, &around);
    }
    let mut request = prepare(&script, &around)?.overridden_by(options);
    request.layers = around.layers_or_default(request.layers)?;
    if args.module {
        request.env.splice(0..0, NO_MODULES.map(|(name, value)| (name.into(), value.into())));
    }
    let command = command(&script, &without_links(&script.path), &args.command);
    around.start(request, Command::Argv(command), args.start.dry_run)
}

/// What the script's own lines ask for, and that the script itself is seen inside.
fn prepare(script: &Script, around: &Surroundings) -> Result<Request, Failure> {
    let mut request = script.request(&around.finder()).map_err(Failure::not_started)?;
    request.bind.extend(show(&without_links(&script.path), &around.cwd));
    Ok(request)
}

/// The script by its own interpreter if it can be executed, else by bash. One whose interpreter is `condatainer` would come back
/// here for ever.
fn command(script: &Script, path: &Path, given: &[String]) -> Vec<String> {
    let by_itself = script.header.interpreter.is_some()
        && !script.header.starts_us()
        && access(&script.path, AccessFlags::X_OK).is_ok();
    let interpreter = (!by_itself).then(|| "bash".to_string());
    let path = path.display().to_string();
    interpreter.into_iter().chain([path]).chain(given.iter().skip(1).cloned()).collect()
}

/// The script by a path that holds in every container: a link on the way to it may not be there. A link to the script itself stays,
/// as its neighbours are that link's, where what it leads to lies beside it.
fn without_links(script: &Path) -> PathBuf {
    let (Some(dir), Some(name)) = (script.parent().and_then(|dir| dir.canonicalize().ok()), script.file_name()) else {
        return script.into();
    };
    match script.canonicalize() {
        Ok(real) if !real.parent().is_some_and(|parent| parent.starts_with(&dir)) => real,
        _ => dir.join(name),
    }
}

/// The bind that shows the script with its neighbours, or only the script where its directory would hide one of the container's.
fn show(script: &Path, cwd: &Path) -> Option<Bind> {
    let dir = script.parent()?;
    if dir.starts_with(cwd) && cwd != Path::new("/") || SHOWN_ANYWAY.iter().any(|shown| dir.starts_with(shown)) {
        return None;
    }
    let shown: PathBuf = if is_the_containers(dir) { script.into() } else { dir.into() };
    Some(Bind { source: shown.clone(), destination: shown, read_only: false })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_followed() {
        let temporary = tempfile::tempdir().unwrap();
        let root = temporary.path().canonicalize().unwrap();
        let link = |to: &str, name: &str| std::os::unix::fs::symlink(to, root.join(name)).unwrap();
        std::fs::create_dir_all(root.join("real/sub")).unwrap();
        std::fs::write(root.join("real/sub/x.sh"), "").unwrap();
        link("real", "link");
        link("sub/x.sh", "real/y.sh");
        link("real/sub/x.sh", "z.sh");
        link("../../real/sub/x.sh", "real/sub/loop.sh");
        let of = |name: &str| without_links(&root.join(name)).strip_prefix(&root).unwrap().display().to_string();
        assert_eq!(of("link/sub/x.sh"), "real/sub/x.sh");
        assert_eq!(of("link/y.sh"), "real/y.sh");
        assert_eq!(of("z.sh"), "z.sh");
        std::fs::create_dir(root.join("bin")).unwrap();
        link("../real/sub/x.sh", "bin/x.sh");
        assert_eq!(of("bin/x.sh"), "real/sub/x.sh");
        assert_eq!(of("bin/none.sh"), "bin/none.sh");
    }

    #[test]
    fn what_the_container_shows_is_not_shown_again() {
        let shown = |script: &str| show(Path::new(script), Path::new("/w/d")).map(|bind| bind.source);
        assert_eq!(shown("/w/d/x.sh"), None);
        assert_eq!(shown("/w/d/sub/x.sh"), None);
        assert_eq!(shown("/tmp/x.sh"), None);
        assert_eq!(shown("/w/x.sh"), Some("/w".into()));
        assert_eq!(shown("/usr/local/bin/x"), Some("/usr/local/bin/x".into()));
        assert_eq!(shown("/x.sh"), Some("/x.sh".into()));
        assert_eq!(show(Path::new("/srv/x.sh"), Path::new("/")).map(|bind| bind.source), Some("/srv".into()));
    }
}
