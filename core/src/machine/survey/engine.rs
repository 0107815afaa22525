//! Which container engine there is: Apptainer, or SingularityCE where it is absent. Read from files alone; no process is started.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access};

use super::{engine_config, whiteouts};
use crate::config::Config;
use crate::machine::engine::{Engine, Flavour, MissingEngine, Unsupported};
use crate::machine::facts::{BaseFacts, Kind, LayerFacts};
use crate::machine::interposers::{self, FUSE_PROGRAMS};
use condatainer_images::image;
use condatainer_images::tools::programs;
use condatainer_images::trust::mode::SETUID;

/// What SingularityCE looks for in the superblock of a squashfs file; it takes anything else for damage.
const KNOWN_COMPRESSION: [&str; 5] = ["gzip", "lzma", "lzo", "xz", "lz4"];

/// The engine that the configuration names, else `apptainer` from PATH, else a `singularity` that is one.
///
/// # Errors
/// There is none, or what the configuration names cannot be run.
pub fn engine(config: &Config) -> Result<Engine, MissingEngine> {
    let in_path = || {
        let singularity = || programs::find("singularity").filter(|program| is_an_engine(program));
        programs::find("apptainer").or_else(singularity).ok_or(MissingEngine::NotInstalled)
    };
    let program = config.apptainer.clone().map_or_else(in_path, Ok)?;
    let origin = config.origin_of_apptainer();
    let unusable = |why| MissingEngine::Unusable { program: program.clone(), why, origin: origin.clone() };
    let real = executable(&program).map_err(unusable)?;
    let prefix = prefix(&real);
    let engine = match flavour(&real) {
        Flavour::Apptainer => apptainer(program, prefix),
        Flavour::SingularityCE => singularity(program, prefix),
    };
    Ok(Engine { origin, ..engine })
}

/// The file behind all links, or why it cannot be run.
fn executable(program: &Path) -> Result<PathBuf, String> {
    let real = fs::canonicalize(program).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => "no such file or directory".into(),
        _ => error.to_string(),
    })?;
    match fs::metadata(&real) {
        Ok(meta) if meta.is_file() => {}
        Ok(_) => return Err("is not a program".into()),
        Err(error) => return Err(error.to_string()),
    }
    access(&real, AccessFlags::X_OK).map_err(|_| "you may not execute it".to_owned())?;
    Ok(real)
}

/// Apptainer installs a link `singularity`, which leads to itself.
fn flavour(real: &Path) -> Flavour {
    if real.file_name().is_some_and(|name| name == "singularity") { Flavour::SingularityCE } else { Flavour::Apptainer }
}

/// Other programs are called `singularity` too; ours has a starter, or leads to Apptainer.
fn is_an_engine(program: &Path) -> bool {
    let Ok(real) = fs::canonicalize(program) else { return false };
    flavour(&real) == Flavour::Apptainer || starter(prefix(&real), "singularity", "starter").is_some()
}

fn prefix(real: &Path) -> &Path {
    real.parent().and_then(Path::parent).unwrap_or(Path::new("/usr"))
}

fn apptainer(program: PathBuf, prefix: &Path) -> Engine {
    let config = engine_config::find(prefix, "apptainer/apptainer.conf");
    Engine {
        flavour: Flavour::Apptainer,
        own_programs: own_programs(prefix, config.as_deref()),
        config,
        // It looks no further itself: the file makes it such an installation, whatever its mode and 'allow setuid' say.
        setuid: starter(prefix, "apptainer", "starter-suid").is_some(),
        oci_mode: false,
        interposers: interposers::directory(),
        origin: None,
        program,
    }
}

fn singularity(program: PathBuf, prefix: &Path) -> Engine {
    let config = engine_config::find(prefix, "singularity/singularity.conf");
    let text = config.as_ref().and_then(|path| fs::read_to_string(path).ok()).unwrap_or_default();
    let setuid = starter(prefix, "singularity", "starter-suid").is_some_and(|path| is_setuid(&path));
    Engine {
        flavour: Flavour::SingularityCE,
        config,
        setuid: setuid && engine_config::directive(&text, "allow setuid") != Some("no"),
        oci_mode: engine_config::directive(&text, "oci mode") == Some("yes"),
        interposers: interposers::directory(),
        own_programs: Vec::new(),
        origin: None,
        program,
    }
}

/// Where Apptainer looks before it looks into PATH, and finds a FUSE program: in its second half's directory, and where its
/// configuration says.
fn own_programs(prefix: &Path, config: Option<&Path>) -> Vec<PathBuf> {
    let text = config.and_then(|path| fs::read_to_string(path).ok()).unwrap_or_default();
    let Some(starter) = starter(prefix, "apptainer", "starter") else { return Vec::new() };
    let libexec = starter.parent().unwrap_or(prefix);
    let mut directories = engine_config::before_path(engine_config::directive(&text, "binary path"), libexec);
    directories.retain(|dir| FUSE_PROGRAMS.iter().any(|name| dir.join(name).is_file()));
    directories
}

/// Where the packages of the distributions and `make install` put an engine's second half.
fn starter(prefix: &Path, engine: &str, name: &str) -> Option<PathBuf> {
    let multiarch = format!("lib/{}-linux-gnu", std::env::consts::ARCH);
    let directories = ["libexec", &multiarch, "lib", "lib64"];
    directories.iter().map(|dir| prefix.join(dir).join(engine).join("bin").join(name)).find(|path| path.is_file())
}

fn is_setuid(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|meta| meta.permissions().mode() & SETUID != 0)
}

/// The first of the stack that SingularityCE does not accept, or would show otherwise than Apptainer has left it.
pub(super) fn unsupported(engine: &Engine, base: &BaseFacts, layers: &[LayerFacts]) -> Option<(PathBuf, Unsupported)> {
    if !engine.is_singularity() {
        return None;
    }
    let in_base = unknown_compression(&base.path, base.kind).map(|found| (base.path.clone(), found));
    let mut in_layers = layers.iter().filter_map(|layer| {
        let deletions = || layer.kind == Kind::Directory && whiteouts::are_in_directory(&layer.path);
        let found = unknown_compression(&layer.path, layer.kind);
        let found = found.or_else(|| deletions().then_some(Unsupported::DeletionsInDirectory))?;
        Some((layer.path.clone(), found))
    });
    in_base.or_else(|| in_layers.next())
}

/// Inside a SIF it looks at no superblock.
fn unknown_compression(path: &Path, kind: Kind) -> Option<Unsupported> {
    let info = || image::squashfs_info(&image::open(path).ok()?).ok();
    let compression = (kind == Kind::Squashfs).then(info)??.compression;
    (!KNOWN_COMPRESSION.contains(&compression)).then(|| Unsupported::Compression(compression.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn install(dir: &Path, files: &[(&str, u32, &str)]) {
        for (name, mode, text) in files {
            let path = dir.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(*mode)).unwrap();
        }
    }

    fn named(program: PathBuf) -> Engine {
        let mut config = Config::default();
        config.apptainer = Some(program);
        engine(&config).unwrap()
    }

    #[test]
    fn the_name_behind_all_links_counts() {
        let dir = tempfile::tempdir().unwrap();
        install(dir.path(), &[("bin/apptainer", 0o755, "")]);
        std::os::unix::fs::symlink("apptainer", dir.path().join("bin/singularity")).unwrap();
        assert_eq!(named(dir.path().join("bin/singularity")).flavour, Flavour::Apptainer);
        assert!(is_an_engine(&dir.path().join("bin/singularity")));
    }

    #[test]
    fn a_game_of_that_name_is_none() {
        let dir = tempfile::tempdir().unwrap();
        install(dir.path(), &[("games/singularity", 0o755, "")]);
        assert!(!is_an_engine(&dir.path().join("games/singularity")));
    }

    #[test]
    fn a_second_starter_makes_apptainer_setuid_wherever_it_lies() {
        for libexec in ["libexec".into(), format!("lib/{}-linux-gnu", std::env::consts::ARCH)] {
            let dir = tempfile::tempdir().unwrap();
            let program = dir.path().join("bin/apptainer");
            install(
                dir.path(),
                &[("bin/apptainer", 0o755, ""), (&format!("{libexec}/apptainer/bin/starter"), 0o755, "")],
            );
            assert!(!named(program.clone()).setuid);
            install(dir.path(), &[(&format!("{libexec}/apptainer/bin/starter-suid"), 0o755, "")]);
            install(dir.path(), &[("etc/apptainer/apptainer.conf", 0o644, "allow setuid = no\n")]);
            assert!(named(program).setuid, "it forbids -c all the same");
        }
    }

    #[test]
    fn an_apptainer_with_fuse_programs_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let (program, own) = (dir.path().join("bin/apptainer"), dir.path().join("libexec/apptainer/bin"));
        install(dir.path(), &[("bin/apptainer", 0o755, ""), ("libexec/apptainer/bin/starter", 0o755, "")]);
        install(dir.path(), &[("fuse/squashfuse_ll", 0o755, ""), ("etc/apptainer/apptainer.conf", 0o644, "")]);
        assert!(named(program.clone()).own_programs.is_empty());
        install(dir.path(), &[("libexec/apptainer/bin/fuse2fs", 0o755, "")]);
        assert_eq!(named(program.clone()).own_programs, std::slice::from_ref(&own));
        let fuse = dir.path().join("fuse");
        let conf = format!("binary path = {}:$PATH:/usr/bin\n", fuse.display());
        install(dir.path(), &[("etc/apptainer/apptainer.conf", 0o644, &conf)]);
        assert_eq!(named(program.clone()).own_programs, [fuse, own]);
        assert!(
            !Engine { interposers: Some("/links".into()), ..named(program.clone()) }.needs_links_first(1001),
            "an unknown place"
        );
        let own_programs = vec![PathBuf::from("/usr/libexec/apptainer/bin")];
        let alice = Engine { interposers: Some("/links".into()), own_programs, ..named(program) };
        assert!(alice.needs_links_first(1001) && !Engine { setuid: true, ..alice.clone() }.needs_links_first(1001));
    }

    #[test]
    fn a_site_may_forbid_setuid() {
        let dir = tempfile::tempdir().unwrap();
        let conf = "# allow setuid = no\nallow setuid = yes\noci mode = no\n";
        install(
            dir.path(),
            &[
                ("bin/singularity", 0o755, ""),
                ("libexec/singularity/bin/starter", 0o755, ""),
                ("libexec/singularity/bin/starter-suid", 0o4755, ""),
                ("etc/singularity/singularity.conf", 0o644, conf),
            ],
        );
        let program = dir.path().join("bin/singularity");
        let found = named(program.clone());
        assert_eq!((found.flavour, found.setuid, found.oci_mode), (Flavour::SingularityCE, true, false));
        assert!(is_an_engine(&program));
        install(dir.path(), &[("etc/singularity/singularity.conf", 0o644, "allow setuid=no\noci mode = yes\n")]);
        assert_eq!((named(program.clone()).setuid, named(program).oci_mode), (false, true));
    }
}
