//! Whether a start would write through a fuse-overlayfs that confuses hard links, and to a stack that has some.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::machine::engine::{Engine, Flavour};
use crate::machine::facts::{BaseFacts, Kind, LayerFacts};
use crate::machine::hard_links::{Cause, HardLinks};
use crate::machine::interposers::{PRELOAD_FILE, behind_the_links};
use crate::request::Request;
use crate::request::layer::{Layer, Mode};
use condatainer_images::overlay::lower::first_with_hard_links;
use condatainer_images::tools::programs;

const PROGRAM: &str = "fuse-overlayfs";
/// How long a start may search for a file with several names. A layer that takes longer is not warned of; doctor warns anyway.
const SEARCH: Duration = Duration::from_millis(500);

/// Looks into the layers only where something is written and nothing keeps their names apart: elsewhere it costs a look at one file.
pub(super) fn look(
    request: &Request,
    engine: Option<&Engine>,
    uid: u32,
    base: &BaseFacts,
    layers: &[LayerFacts],
) -> Option<HardLinks> {
    let is_written = |layer: &Layer| matches!(layer.mode, Some(Mode::Rw | Mode::Tmp));
    let writes = request.write || request.tmp || request.layers.iter().any(is_written);
    let engine = engine.filter(|engine| writes && engine.flavour == Flavour::Apptainer)?;
    let (program, cause) = unprevented(engine, uid)?;
    // The files of the image that is written to are not copied up.
    let written = layers.iter().rposition(|layer| match layer.mode {
        None => request.write && layer.kind != Kind::Squashfs,
        Some(mode) => mode == Mode::Rw,
    });
    let below = layers.iter().enumerate().filter(|(at, _)| Some(*at) != written);
    let below: Vec<PathBuf> = below.map(|(_, layer)| layer.path.clone()).collect();
    let layer = first_with_hard_links(&base.path, &below, Instant::now() + SEARCH)?;
    Some(HardLinks { layer, program, cause })
}

/// The fuse-overlayfs that the engine takes, and why our library is not loaded into it; `None` where it is.
fn unprevented(engine: &Engine, uid: u32) -> Option<(PathBuf, Cause)> {
    let own = engine.own_programs.iter().map(|dir| dir.join(PROGRAM)).find(|path| path.is_file());
    let ours = engine.interposers.as_deref();
    let in_reach = own.is_none() || engine.needs_links_first(uid);
    let behind = ours.and_then(behind_the_links);
    let program = own.or_else(|| programs::find_except(PROGRAM.as_bytes(), behind.as_deref()))?;
    let cause = Cause::of(has_library(ours), in_reach, takes_preload(&program))?;
    Some((program, cause))
}

fn has_library(interposers: Option<&Path>) -> bool {
    interposers.is_some_and(|dir| dir.join(PROGRAM).exists() && File::open(dir.join(PRELOAD_FILE)).is_ok())
}

/// Whether it looks at files by the C library's statx(2), in whose place the preload stands: the function's name is in the program's
/// table of imported ones, which one that is linked statically has not got. A script hands the library on to what it starts.
pub(crate) fn takes_preload(program: &Path) -> bool {
    const NAME: &[u8] = b"\0statx\0";
    fs::read(program)
        .is_ok_and(|bytes| bytes.starts_with(b"#!") || bytes.windows(NAME.len()).any(|place| place == NAME))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn program(dir: &Path, content: &str) {
        fs::create_dir_all(dir).unwrap();
        fs::write(dir.join(PROGRAM), content).unwrap();
        fs::set_permissions(dir.join(PROGRAM), fs::Permissions::from_mode(0o755)).unwrap();
    }

    #[test]
    fn why_nothing_prevents_it() {
        let dir = tempfile::tempdir().unwrap();
        let (own, links) = (dir.path().join("own"), dir.path().join("links"));
        program(&own, "\x7fELF\0statx\0");
        program(&links, "");
        fs::write(links.join(PRELOAD_FILE), "").unwrap();
        let engine = Engine {
            flavour: Flavour::Apptainer,
            program: "/usr/bin/apptainer".into(),
            origin: None,
            config: Some("/etc/apptainer/apptainer.conf".into()),
            setuid: false,
            oci_mode: false,
            interposers: Some(links.clone()),
            own_programs: vec![own.clone()],
        };
        assert_eq!(unprevented(&engine, 1001), Some((own.join(PROGRAM), Cause::Bundled)), "an unknown place");
        fs::remove_file(links.join(PRELOAD_FILE)).unwrap();
        assert_eq!(unprevented(&engine, 1001), Some((own.join(PROGRAM), Cause::NoLibrary)));
        assert!(takes_preload(&own.join(PROGRAM)));
        for (content, takes) in [("#!/bin/sh\n", true), ("\x7fELF", false)] {
            program(&own, content);
            assert_eq!(takes_preload(&own.join(PROGRAM)), takes, "{content:?}");
        }
    }
}
