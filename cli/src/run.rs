//! `condatainer run`: a script in the stack that its own lines name, right here or as a job.

mod submit;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use condatainer_core::bind::Bind;
use condatainer_core::config::SYSTEM_FILE;
use condatainer_core::plan::Command;
use condatainer_core::request::Request;
use condatainer_core::script::Script;
use nix::unistd::{AccessFlags, access};

use crate::args::RunArgs;
use crate::exit::Failure;
use crate::start::Surroundings;

/// What bash takes for the functions `module` and `ml`, which do nothing; every other program sees two odd variables.
const NO_MODULES: [(&str, &str); 2] = [("BASH_FUNC_module%%", "() { :; }"), ("BASH_FUNC_ml%%", "() { :; }")];

/// Directories of the container itself: a host's directory must not hide them.
const OF_THE_CONTAINER: [&str; 8] = ["/bin", "/etc", "/lib", "/lib64", "/sbin", "/usr", "/ext3", "/cnt"];
/// What every container shows of the host, besides the working directory.
const SHOWN_ANYWAY: [&str; 2] = ["/tmp", "/var/tmp"];

pub(crate) fn run(args: &RunArgs) -> Result<ExitCode, Failure> {
    let around = Surroundings::look(Path::new(SYSTEM_FILE))?;
    let path = around.cwd.join(args.command.first().map_or("", String::as_str));
    let script = Script::read(&path, args.module).map_err(Failure::not_started)?;
    let options =
        Request { layers: around.layers(&args.overlays)?, write: args.writable, ..around.request(&args.start)? };
    if let Some(sbatch) = submit::wanted(args, &script, &around)? {
        return submit::submit(&sbatch, args, &script, options, &around);
    }
    let mut request = prepare(&script, &around)?.overridden_by(options);
    if args.module {
        request.env.splice(0..0, NO_MODULES.map(|(name, value)| (name.into(), value.into())));
    }
    around.start(request, Command::Argv(command(&script, &args.command)), args.start.dry_run)
}

/// What the script's own lines ask for, and that the script itself is seen inside.
fn prepare(script: &Script, around: &Surroundings) -> Result<Request, Failure> {
    let mut request = script.request(&around.finder()).map_err(Failure::not_started)?;
    request.bind.extend(show(&script.path, &around.cwd));
    Ok(request)
}

/// The script by its own interpreter if it can be executed, else by bash. One whose interpreter is `condatainer` would come back
/// here for ever.
fn command(script: &Script, given: &[String]) -> Vec<String> {
    let by_itself = script.header.interpreter.is_some()
        && !script.header.starts_us()
        && access(&script.path, AccessFlags::X_OK).is_ok();
    let interpreter = (!by_itself).then(|| "bash".to_string());
    let path = script.path.display().to_string();
    interpreter.into_iter().chain([path]).chain(given.iter().skip(1).cloned()).collect()
}

/// The bind that shows the script with its neighbours, or only the script where its directory would hide one of the container's.
fn show(script: &Path, cwd: &Path) -> Option<Bind> {
    let dir = script.parent()?;
    if dir.starts_with(cwd) && cwd != Path::new("/") || SHOWN_ANYWAY.iter().any(|shown| dir.starts_with(shown)) {
        return None;
    }
    let hides = dir == Path::new("/") || OF_THE_CONTAINER.iter().any(|own| dir.starts_with(own));
    let shown: PathBuf = if hides { script.into() } else { dir.into() };
    Some(Bind { source: shown.clone(), destination: shown, read_only: false })
}

#[cfg(test)]
mod tests {
    use super::*;

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
