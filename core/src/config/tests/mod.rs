//! Tests of the configuration: order, fixed keys, and that mistakes are named.

mod origin;

use super::*;
use crate::config::{read, user_file};

fn file(dir: &tempfile::TempDir, name: &str, text: &str) -> PathBuf {
    let path = dir.path().join(name);
    std::fs::write(&path, text).unwrap();
    path
}

fn env(pairs: &[(&str, &str)]) -> HashMap<String, String> {
    pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

/// The message for a system file with this text. Root owns what root writes, so these tests read it as a user's file otherwise.
fn message(text: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let path = file(&dir, "c.toml", text);
    Config::default()
        .with_user(Some(&path), &env(&[]))
        .unwrap_err()
        .to_string()
        .replace(&path.display().to_string(), "FILE")
}

#[test]
fn environment_over_user_over_site() {
    let dir = tempfile::tempdir().unwrap();
    let site = Config {
        site: Settings { base: Some("/site".into()), tmpdir: Some("/t".into()), ..Settings::default() },
        ..Config::default()
    };
    let user = file(&dir, "c.toml", "base = \"/user\"\nfakeroot = false");
    let both = site.clone().with_user(Some(&user), &env(&[])).unwrap();
    assert_eq!((both.base(None), both.fakeroot(None)), (Some("/user".into()), Some(false)));
    assert_eq!(both.tmpdir(), Some("/t".into()));
    let all =
        site.with_user(Some(&user), &env(&[("CONDATAINER_BASE", "/env"), ("CONDATAINER_FAKEROOT", "true")])).unwrap();
    assert_eq!((all.base(None), all.fakeroot(None)), (Some("/env".into()), Some(true)));
    assert_eq!(all.base(Some("/flag".into())), Some("/flag".into()));
}

#[test]
fn layers_that_nobody_names() {
    let dir = tempfile::tempdir().unwrap();
    let site =
        Config { site: Settings { overlay: Some(vec!["site/1".into()]), ..Settings::default() }, ..Config::default() };
    let named = |config: &Config| config.overlay().map(|(layers, origin)| (layers.concat(), origin.to_string()));
    assert_eq!(named(&Config::default()), None);
    assert_eq!(named(&site).unwrap().0, "site/1");
    let user = file(&dir, "c.toml", "overlay = [\"mine.img\"]");
    let both = site.with_user(Some(&user), &env(&[("CONDATAINER_OVERLAY", "")])).unwrap();
    assert_eq!(named(&both).unwrap(), ("mine.img".into(), format!("'overlay' in {}, line 1", user.display())));
    let all = both.with_user(None, &env(&[("CONDATAINER_OVERLAY", "a,b:ro")])).unwrap();
    assert_eq!(named(&all).unwrap(), ("a,b:ro".into(), "CONDATAINER_OVERLAY".into()));
}

#[test]
fn fixed_keys_win_over_everything() {
    let fixed = Settings { base: Some("/fixed".into()), fakeroot: Some(false), ..Settings::default() };
    let config = Config { fixed, ..Config::default() };
    let config = config.with_user(None, &env(&[("CONDATAINER_BASE", "/env")])).unwrap();
    assert_eq!((config.base(Some("/flag".into())), config.fakeroot(Some(true))), (Some("/fixed".into()), Some(false)));
    let given = |base: &'static str, fakeroot| Given { base: Some(Path::new(base)), fakeroot, ..Given::default() };
    let lines = config.overruled(&given("/flag", Some(true)));
    assert_eq!(lines[0], "base is fixed by this site to /fixed; the option is not followed");
    assert_eq!(lines[1], "fakeroot is fixed by this site to false; the option is not followed");
    assert!(
        config.overruled(&given("/fixed", None)).is_empty()
            && Config::default().overruled(&given("/flag", Some(true))).is_empty()
    );
    let fixed = Settings { tmpdir: Some("/t".into()), conda: Some("/c".into()), ..Settings::default() };
    let memory = Scratch::Memory(Some(1 << 20));
    let scratch = Config { fixed: Settings { scratch: Some(memory), ..Settings::default() }, ..Config::default() };
    let scratch = scratch.with_user(None, &env(&[("CONDATAINER_SCRATCH", "disk")])).unwrap();
    assert_eq!((scratch.scratch(Some(Scratch::Disk)), Config::default().scratch(None)), (memory, Scratch::Disk));
    let lines = scratch.overruled(&Given { scratch: Some(Scratch::Disk), ..Given::default() });
    assert_eq!(lines, ["scratch is fixed by this site to memory:1M; the option is not followed"]);
    let (tmpdir, conda) = (Some(Path::new("/x")), Some(Path::new("/c")));
    let lines = Config { fixed, ..Config::default() }.overruled(&Given { tmpdir, conda, ..Given::default() });
    assert_eq!(lines, ["tmpdir is fixed by this site to /t; the option is not followed"]);
}

#[test]
fn mistakes_name_file_line_and_key() {
    assert!(message("base = \"/b\"\nbsae = 1").starts_with("FILE: line 2: unknown field `bsae`"));
    assert!(message("base = 1").starts_with("FILE: line 1: invalid type"));
    assert_eq!(message("base = \"b.sif\""), "FILE: base = 'b.sif' is not an absolute path");
    for (text, key) in [("apptainer = \"/tmp/mine\"", "apptainer"), ("[fixed]\nbase = \"/b\"", "[fixed]")] {
        assert_eq!(message(text), format!("FILE: {key} is for the site's file only: take it out"));
    }
    assert_eq!(message("scratch = \"ram\""), "FILE: line 1: 'ram' is not one of: disk, memory, memory:SIZE");
    assert_eq!(message("image_dirs = [\"x\"]"), "FILE: image_dirs = 'x' is not an absolute path");
}

#[test]
fn variables_are_checked_too() {
    let refused = Config::default().with_user(None, &env(&[("CONDATAINER_FAKEROOT", "maybe")])).unwrap_err();
    assert_eq!(refused.to_string(), "CONDATAINER_FAKEROOT: 'maybe' is not one of: true, false");
    let refused = Config::default().with_user(None, &env(&[("CONDATAINER_SCRATCH", "ram")])).unwrap_err();
    assert_eq!(refused.to_string(), "CONDATAINER_SCRATCH: 'ram' is not one of: disk, memory, memory:SIZE");
    for (variable, key) in [("TMPDIR", "tmpdir"), ("BASE", "base"), ("IMAGE_DIRS", "image_dirs")] {
        let variable = format!("CONDATAINER_{variable}");
        let refused = Config::default().with_user(None, &env(&[(&variable, "x.sif")])).unwrap_err();
        assert_eq!(refused.to_string(), format!("{variable}: {key} = 'x.sif' is not an absolute path"));
    }
    assert_eq!(Config::default().with_user(None, &env(&[("CONDATAINER_BASE", "")])).unwrap(), Config::default());
}

#[test]
fn missing_files_are_empty_ones() {
    assert_eq!(Config::system(Path::new("/no/such/config.toml")).unwrap(), Config::default());
    assert_eq!(Config::default().with_user(Some(Path::new("/no/such")), &env(&[])).unwrap(), Config::default());
}

#[test]
fn a_site_file_that_others_can_write_is_not_trusted() {
    let dir = tempfile::tempdir().unwrap();
    let path = file(&dir, "c.toml", "base = \"/b\"");
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
    assert!(matches!(Config::system(&path), Err(ConfigError::Untrusted { .. })));
}

#[test]
fn a_directory_in_which_others_can_write_is_named() {
    if !nix::unistd::Uid::effective().is_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = file(&dir, "c.toml", "base = \"/b\"");
    assert!(Config::system(&path).is_ok());
    std::os::unix::fs::chown(dir.path(), Some(54_321), None).unwrap();
    let (file, dir) = (path.display(), dir.path().display());
    let expected = format!(
        "{file}: {dir}, which leads to it, must belong to root and be writable by nobody else: chown -h root {dir} && chmod go-w {dir}"
    );
    assert_eq!(Config::system(&path).unwrap_err().to_string(), expected);
}

#[test]
fn node_paths_are_prefixes_of_whole_components() {
    let config = Config { node_paths: vec!["/local".into()], ..Config::default() };
    assert!(config.is_node_path(Path::new("/local/x.img")) && !config.is_node_path(Path::new("/localhost/x.img")));
}

#[test]
fn the_users_file_follows_xdg() {
    assert_eq!(user_file(&env(&[("HOME", "/h")])), Some("/h/.config/condatainer/config.toml".into()));
    assert_eq!(
        user_file(&env(&[("HOME", "/h"), ("XDG_CONFIG_HOME", "/x")])),
        Some("/x/condatainer/config.toml".into())
    );
    assert_eq!(user_file(&env(&[("XDG_CONFIG_HOME", "relative")])), None);
    assert_eq!(user_file(&env(&[("HOME", "")])), None, "the working directory is nobody's home");
    let dir = tempfile::tempdir().unwrap();
    let pipe = dir.path().join("config.toml");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert!(
        read::of_user(&pipe)
            .unwrap_err()
            .to_string()
            .ends_with("is a fifo, not a file: the configuration cannot be read")
    );
}

#[test]
fn image_dirs_are_searched_from_the_nearest() {
    let dirs = |list: &[&str]| Some(list.iter().map(PathBuf::from).collect());
    let site = Config { site: Settings { image_dirs: dirs(&["/site"]), ..Settings::default() }, ..Config::default() };
    let config = site.with_user(None, &env(&[("CONDATAINER_IMAGE_DIRS", "/a:/b")])).unwrap();
    let found = |config: &Config| -> Vec<_> {
        config.image_dirs(Some("/own".into())).into_iter().map(|(dir, _)| dir).collect()
    };
    assert_eq!(found(&config), ["/a", "/b", "/own", "/site"].map(PathBuf::from));
    let fixed = Config { fixed: Settings { image_dirs: dirs(&["/only"]), ..Settings::default() }, ..config };
    assert_eq!(found(&fixed), [PathBuf::from("/only")]);
}

#[test]
fn bind_dirs_add_up_and_only_the_site_takes_the_usual_ones_away() {
    let dirs = |list: &[&str]| Some(list.iter().map(|dir| String::from(*dir)).collect());
    let user =
        |config: Config| config.with_user(None, &env(&[("CONDATAINER_BIND_DIRS", "/a:$B/c")])).unwrap().bind_dirs();
    assert_eq!(Config::default().bind_dirs(), ["$TMPDIR", "$SCRATCH"]);
    assert_eq!(user(Config::default()), ["/a", "$B/c", "$TMPDIR", "$SCRATCH"]);
    let site = Config { site: Settings { bind_dirs: dirs(&["/s"]), ..Settings::default() }, ..Config::default() };
    assert_eq!(user(site), ["/a", "$B/c", "/s"]);
    let fixed = Config { fixed: Settings { bind_dirs: dirs(&[]), ..Settings::default() }, ..Config::default() };
    assert_eq!(user(fixed), [""; 0]);
    let relative = Config::default().with_user(None, &env(&[("CONDATAINER_BIND_DIRS", "tmp")])).unwrap_err();
    assert_eq!(relative.to_string(), "CONDATAINER_BIND_DIRS: bind_dirs = 'tmp' is not an absolute path");
}

#[test]
fn every_value_says_where_it_comes_from() {
    let dir = tempfile::tempdir().unwrap();
    let user = file(&dir, "c.toml", "tmpdir = \"/user\"");
    let fixed = Settings { fakeroot: Some(false), ..Settings::default() };
    let config = Config { fixed, site_file: Some("/site.toml".into()), ..Config::default() };
    let variables = env(&[("CONDATAINER_BASE", "/b"), ("CONDATAINER_SCRATCH", "memory:2048M")]);
    let config = config.with_user(Some(&user), &variables).unwrap();
    let shown: Vec<_> = config.keys().into_iter().map(|s| format!("{} {} {}", s.key, s.value, s.source)).collect();
    let expected = [
        "base \"/b\" CONDATAINER_BASE".into(),
        "overlay null default".into(),
        format!("tmpdir \"/user\" {}", user.display()),
        "scratch \"memory:2G\" CONDATAINER_SCRATCH".into(),
        "fakeroot false /site.toml [fixed]".into(),
        "mounts null default".into(),
    ];
    assert_eq!(shown[..6], expected);
}
