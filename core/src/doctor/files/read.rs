//! Reads the configuration files, looks at the base and at the directory for `:tmp` layers.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::sys::statvfs::statvfs;
use nix::unistd::{AccessFlags, access};

use super::super::Request;
use super::super::place::system;
use super::{Facts, Tmpdir, libraries};
use crate::config::{self, Config, SYSTEM_FILE};
use crate::names::Library;
use crate::survey;

const WRITABLE_BY_OTHERS: u32 = 0o003;

pub(crate) fn read(configuration: &Result<Config, String>, config: &Config, request: &Request) -> Facts {
    let user = config::user_file(&request.env).filter(|_| !request.node);
    let files = [Some(PathBuf::from(SYSTEM_FILE)), user].into_iter().flatten().filter(|path| path.is_file());
    let base = config.base(None).map(|path| {
        let kind = survey::base(Some(&path)).map(|base| base.kind).map_err(|error| error.to_string());
        (path, kind)
    });
    let from_environment = || request.env.get("TMPDIR").filter(|_| !request.node).map(PathBuf::from);
    Facts {
        configuration: configuration
            .as_ref()
            .map_err(Clone::clone)
            .map(|_| files.map(|path| (keys(&path), path)).map(|(keys, path)| (path, keys)).collect()),
        base,
        image_dirs: libraries::read(&library(config, request)),
        tmpdir: tmpdir(&config.tmpdir().or_else(from_environment).unwrap_or_else(|| "/tmp".into())),
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

fn tmpdir(path: &Path) -> Tmpdir {
    let meta = fs::metadata(path);
    let problem = match &meta {
        Err(error) => Some(error.to_string()),
        Ok(meta) if !meta.is_dir() => Some("it is not a directory".into()),
        Ok(_) => access(path, AccessFlags::W_OK | AccessFlags::X_OK).err().map(|errno| errno.desc().into()),
    };
    let free = statvfs(path).ok().map(|space| space.blocks_available().saturating_mul(space.fragment_size()));
    Tmpdir {
        path: path.into(),
        problem,
        open_to_all: meta.is_ok_and(|meta| meta.mode() & WRITABLE_BY_OTHERS == WRITABLE_BY_OTHERS),
        free,
        network: system::of(path).filter(system::System::is_of_network).map(|system| system.kind),
    }
}
