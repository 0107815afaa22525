//! Asks srun, and follows plugstack.conf.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::thread;

use nix::unistd::{AccessFlags, access};

use super::facts::{Facts, Line};
use super::plugstack::{self, Entry};
use crate::config::{Config, DEFAULT_PROGRAM, SYSTEM_FILE};
use crate::machine::ask::ask;
use crate::machine::version;
use crate::step::plugin_arguments::PluginArguments;
use condatainer_images::tools::programs;

const OPTION: &str = "--condatainer-overlay";
/// Where sites keep Slurm's configuration; in the last one slurmd leaves what it was sent.
const DIRECTORIES: [&str; 4] = ["/etc/slurm", "/etc/slurm-llnl", "/usr/local/etc", "/run/slurm/conf"];

pub(crate) fn read(env: &HashMap<String, String>) -> Facts {
    let srun = programs::find("srun");
    let plugstack = plugstack(env);
    let (version, shows) = srun.as_deref().map_or_else(
        || (Err(String::new()), Ok(false)),
        |srun| {
            thread::scope(|scope| {
                let version = scope.spawn(|| version(srun));
                let shows = shows(srun);
                (version.join().unwrap_or_else(|_| Err(String::new())), shows)
            })
        },
    );
    let step = env.get("SLURM_STEP_ID").cloned();
    Facts {
        here: srun.is_some(),
        version,
        job: env.get("SLURM_JOB_ID").map(|job| (job.clone(), step)),
        shows,
        line: plugstack.as_deref().and_then(plugstack::find).map(line),
        plugstack,
    }
}

fn version(srun: &Path) -> Result<version::Version, String> {
    let answer = ask(srun, &["--version"]).map_err(|error| error.to_string())?;
    version::of("slurm", &answer.stdout).ok_or_else(|| answer.complaint())
}

fn shows(srun: &Path) -> Result<bool, String> {
    let answer = ask(srun, &["--help"]).map_err(|error| error.to_string())?;
    if answer.success { Ok(answer.stdout.contains(OPTION)) } else { Err(answer.complaint()) }
}

fn plugstack(env: &HashMap<String, String>) -> Option<PathBuf> {
    let named = env.get("SLURM_CONF").and_then(|path| Path::new(path).parent()).map(Path::to_path_buf);
    let directories = named.into_iter().chain(DIRECTORIES.map(PathBuf::from));
    directories.map(|dir| dir.join("plugstack.conf")).find(|path| path.is_file())
}

fn line(entry: Entry) -> Line {
    let arguments = PluginArguments::parse(entry.arguments.iter().map(String::as_str));
    let argument_problem = arguments.as_ref().err().cloned();
    let (wrapper, config) = match arguments {
        Ok(arguments) => (arguments.program, arguments.config),
        Err(_) => (PathBuf::from(DEFAULT_PROGRAM), PathBuf::from(SYSTEM_FILE)),
    };
    let config = Config::system(&config);
    Line {
        // Slurm looks for a bare name in its own directory of plugins.
        plugin_problem: entry.plugin.is_absolute().then(|| problem_of_plugin(&entry.plugin)).flatten(),
        wrapper_problem: access(&wrapper, AccessFlags::X_OK)
            .err()
            .map(|errno| format!("cannot be run: {}", errno.desc())),
        argument_problem,
        config_problem: config.err().map(|error| error.to_string()),
        file: entry.file,
        required: entry.required,
        plugin: entry.plugin,
        wrapper,
    }
}

/// The version that it declares is set while Slurm loads it, which only srun can try; that it is for this kind of machine
/// is seen by comparing with our own program.
fn problem_of_plugin(path: &Path) -> Option<String> {
    match (machine_of(path), machine_of(Path::new("/proc/self/exe"))) {
        (Err(error), _) => Some(format!("cannot be read: {error}")),
        (Ok(None), _) => Some("is no shared object".into()),
        (Ok(theirs), Ok(ours)) if ours.is_some() && theirs != ours => Some("is for another kind of machine".into()),
        _ => None,
    }
}

/// Class, byte order and machine of an ELF file (elf(5)).
fn machine_of(path: &Path) -> io::Result<Option<[u8; 4]>> {
    let mut head = [0; 20];
    let mut file = File::open(path)?;
    if fs::metadata(path)?.len() < 20 {
        return Ok(None);
    }
    file.read_exact(&mut head)?;
    Ok(head.starts_with(b"\x7fELF").then_some([head[4], head[5], head[18], head[19]]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_plugins() {
        assert_eq!(problem_of_plugin(Path::new("/proc/self/exe")), None);
        assert_eq!(problem_of_plugin(Path::new("/etc/passwd")), Some("is no shared object".into()));
        assert!(problem_of_plugin(Path::new("/no/such.so")).is_some_and(|why| why.starts_with("cannot be read")));
        let dir = tempfile::tempdir().unwrap();
        let other = dir.path().join("other.so");
        let mut bytes = fs::read("/proc/self/exe").unwrap();
        bytes.truncate(64);
        bytes[18] ^= 0xff;
        fs::write(&other, bytes).unwrap();
        assert_eq!(problem_of_plugin(&other), Some("is for another kind of machine".into()));
    }
}
