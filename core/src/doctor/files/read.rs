//! Reads the configuration files, looks at the base and at the directory for `:tmp` layers.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::sys::statvfs::statvfs;

use super::facts::{Facts, Tmpdir};
use super::{libraries, log, policy};
use crate::config::{self, Config, SYSTEM_FILE, Scratch};
use crate::doctor::place::system;
use crate::doctor::request::Request;
use crate::machine::survey::{self, SurveyError};
use crate::request::names::Library;

const WRITABLE_BY_OTHERS: u32 = 0o003;

pub(crate) fn read(configuration: &Result<Config, String>, config: &Config, request: &Request) -> Facts {
    let user = config::user_file(&request.env).filter(|_| !request.node);
    let files = [Some(PathBuf::from(SYSTEM_FILE)), user].into_iter().flatten().filter(|path| path.is_file());
    let base = config.base(None).map(|path| {
        let kind = match survey::base(Some(&path), config) {
            Ok(base) => base.distrust.map_or(Ok(base.kind), Err),
            Err(SurveyError::Base { error, .. }) => Err(error.to_string()),
            Err(other) => Err(other.to_string()),
        };
        (path, kind)
    });
    let nothing = HashMap::new();
    let (tmpdir, problem) = survey::scratch_place(config, if request.node { &nothing } else { &request.env });
    Facts {
        configuration: configuration
            .as_ref()
            .map_err(Clone::clone)
            .map(|_| files.map(|path| (keys(&path), path)).map(|(keys, path)| (path, keys)).collect()),
        base_origin: base.as_ref().and_then(|(path, _)| config.origin_of_base(path)),
        base,
        policy: policy::read(config),
        log: log::read(config),
        image_dirs: libraries::read(&library(config, request)),
        tmpdir: self::tmpdir(tmpdir, problem, config.scratch(None) != Scratch::Disk),
    }
}

/// Of a node, what the site has set up alone.
fn library(config: &Config, request: &Request) -> Library {
    match request.node {
        true => Library::configured(config, &HashMap::new()),
        false => Library::configured(config, &request.env),
    }
}

fn keys(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.parse::<toml::Table>().map(|table| table.keys().cloned().collect()).unwrap_or_default()
}

fn tmpdir(path: PathBuf, problem: Option<(String, String)>, for_builds: bool) -> Tmpdir {
    let system = system::of(&path);
    let mode = fs::metadata(&path).map_or(0, |meta| meta.mode());
    let free = statvfs(&path).ok().map(|space| space.blocks_available().saturating_mul(space.fragment_size()));
    Tmpdir {
        problem,
        open_to_all: mode & WRITABLE_BY_OTHERS == WRITABLE_BY_OTHERS,
        free,
        in_memory: system.as_ref().is_some_and(|system| system.kind == "tmpfs"),
        network: system.filter(system::System::is_of_network).map(|system| system.kind),
        for_builds,
        path,
    }
}
