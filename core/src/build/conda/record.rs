//! What an environment says about itself: the packages that are in it, and what we write down of how it was made.
//!
//! `conda-meta` is the tools' own record, which they read again (`env export`, and the original CondaTainer's `info` and `export`).
//! Beside it we keep what was asked for and the exact packages, so that a module can be made again without any channel's newest.

use std::fs;
use std::io;
use std::path::Path;

use serde::Deserialize;

use super::spec::{Format, Spec, SpecFile};
use super::yaml;
use crate::build::error::BuildError;
use crate::build::packed::Packed;
use condatainer_images::image;
use condatainer_images::module::Module;

/// What was asked for, with one of the endings below.
const ASKED: &str = ".cnt-environment";
/// By its name, too, a tool tells a file of conda-lock.
const ENDINGS: [&str; 3] = [".yml", "-lock.yml", ".txt"];
/// The channels of the command line beside a file, one per line; those beside packages are in what was asked for.
const CHANNELS: &str = ".cnt-channels";
/// The exact packages, as every tool of the family takes them with `--file`.
const EXPLICIT: &str = ".cnt-explicit.txt";
/// Where the tools record installed packages.
const META: &str = "conda-meta";
/// Scripts that `conda activate` runs; a module is not activated.
const ACTIVATION: &str = "etc/conda/activate.d";

/// One installed package, from its file in `conda-meta`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Package {
    #[serde(default)]
    name: String,
    #[serde(default)]
    url: String,
    #[serde(default)]
    md5: Option<String>,
    #[serde(default)]
    subdir: String,
}

/// The packages of an environment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Packages(Vec<Package>);

impl Packages {
    /// Those that the tool has recorded in the environment at `prefix`; none where it is empty.
    pub(super) fn of(prefix: &Path) -> io::Result<Self> {
        let entries = match fs::read_dir(prefix.join(META)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            entries => entries?,
        };
        let mut packages = Vec::new();
        for entry in entries {
            let path = entry?.path();
            if path.extension().is_some_and(|ending| ending == "json")
                && let Ok(package) = serde_json::from_slice::<Package>(&fs::read(&path)?)
                && !package.name.is_empty()
            {
                packages.push(package);
            }
        }
        packages.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(Self(packages))
    }

    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// The list that makes the same environment again.
    fn explicit(&self) -> String {
        let platform = self.0.iter().map(|package| package.subdir.as_str()).find(|dir| !matches!(*dir, "" | "noarch"));
        let platform = platform.map(|platform| format!("# platform: {platform}\n")).unwrap_or_default();
        let line = |package: &Package| {
            let sum = package.md5.as_ref().map(|md5| format!("#{md5}")).unwrap_or_default();
            format!("{}{sum}\n", package.url)
        };
        let lines: String = self.0.iter().filter(|package| !package.url.is_empty()).map(line).collect();
        format!("{platform}@EXPLICIT\n{lines}")
    }
}

/// Writes down in the environment at `prefix` what it was made from.
pub(super) fn write(prefix: &Path, spec: &Spec, channels: &[String], packages: &Packages) -> io::Result<()> {
    let (ending, text) = match spec {
        Spec::File(file) => (ending(file), file.text.clone()),
        Spec::Packages(packages) => (".yml", environment(packages, channels)),
    };
    fs::write(prefix.join(format!("{ASKED}{ending}")), text)?;
    if matches!(spec, Spec::File(_)) && !channels.is_empty() {
        fs::write(prefix.join(CHANNELS), channels.join("\n") + "\n")?;
    }
    fs::write(prefix.join(EXPLICIT), packages.explicit())
}

fn ending(file: &SpecFile) -> &'static str {
    match file.format {
        Format::Yaml if yaml::is_lock_file(&file.path) => "-lock.yml",
        Format::Yaml => ".yml",
        Format::Text => ".txt",
    }
}

/// An environment.yml of packages that were named one by one. JSON's texts are YAML's too.
fn environment(packages: &[String], channels: &[String]) -> String {
    let list = |key: &str, items: &[String]| {
        let items: String =
            items.iter().map(|item| format!("  - {}\n", serde_json::Value::from(item.as_str()))).collect();
        if items.is_empty() { items } else { format!("{key}:\n{items}") }
    };
    [list("channels", channels), list("dependencies", packages)].concat()
}

/// What the module in `layer` was made from, if it was made by us; under whatever name, for its file may have got another since.
pub(super) fn asked(layer: &Path) -> Result<Option<Spec>, BuildError> {
    let Some(root) = Module::read(layer, &image::open(layer)?).root else { return Ok(None) };
    let packed = Packed::open(layer)?;
    let text = |file: &str| packed.text(layer, &format!("{root}/{file}"));
    for ending in ENDINGS {
        let file = format!("{ASKED}{ending}");
        if let Some(asked) = text(&file)? {
            let channels = text(CHANNELS)?.unwrap_or_default();
            let beside = String::from_utf8_lossy(&channels).lines().map(String::from).collect();
            let spec = Spec::of_text(file.as_ref(), String::from_utf8_lossy(&asked).into_owned())?;
            return Ok(Some(spec.with(beside)));
        }
    }
    Ok(None)
}

/// The scripts that an activation would run, by name.
pub(super) fn activation(prefix: &Path) -> Vec<String> {
    let entries = fs::read_dir(prefix.join(ACTIVATION)).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.retain(|name| name.ends_with(".sh"));
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::super::pack::Packing;
    use super::*;
    use condatainer_images::verbs::seal::Compression;

    #[test]
    fn what_is_in_it() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Packages::of(dir.path()).unwrap().count(), 0);
        let meta = dir.path().join(META);
        fs::create_dir(&meta).unwrap();
        let write = |name: &str, text: &str| fs::write(meta.join(name), text).unwrap();
        write("history", "==> today <==\n");
        write("b.json", r#"{"name":"b","url":"https://c/noarch/b-1-0.conda","md5":"ff","subdir":"noarch","files":[]}"#);
        write("a.json", r#"{"name":"a","url":"file:///c/linux-64/a-2-0.conda","subdir":"linux-64"}"#);
        write("odd.json", "[]");
        let packages = Packages::of(dir.path()).unwrap();
        let expected =
            "# platform: linux-64\n@EXPLICIT\nfile:///c/linux-64/a-2-0.conda\nhttps://c/noarch/b-1-0.conda#ff\n";
        assert_eq!((packages.count(), packages.explicit().as_str()), (2, expected));
    }

    #[test]
    fn what_was_asked_for_is_written_down() {
        let dir = tempfile::tempdir().unwrap();
        let spec = Spec::Packages(vec!["a=1".into(), "b >=2".into()]);
        super::write(dir.path(), &spec, &["file:///c".into()], &Packages::default()).unwrap();
        let text = fs::read_to_string(dir.path().join(".cnt-environment.yml")).unwrap();
        assert_eq!(text, "channels:\n  - \"file:///c\"\ndependencies:\n  - \"a=1\"\n  - \"b >=2\"\n");
        assert_eq!(fs::read_to_string(dir.path().join(EXPLICIT)).unwrap(), "@EXPLICIT\n");
        assert_eq!(environment(&["a".into()], &[]), "dependencies:\n  - \"a\"\n");
    }
    #[test]
    fn a_file_is_found_again_with_its_channels_and_as_what_it_was() {
        let lock = "/d/conda-lock.yml";
        for (path, text, kept) in [
            ("/d/e.yaml", "dependencies: [a]\n", ".cnt-environment.yml"),
            (lock, "package: []\n", ".cnt-environment-lock.yml"),
            ("/d/list.txt", "a=1\n", ".cnt-environment.txt"),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let (root, layer) = (dir.path().join("root"), dir.path().join("another--2.sqf"));
            let prefix = root.join("cnt/x/1");
            fs::create_dir_all(&prefix).unwrap();
            let spec = Spec::of_text(path.as_ref(), text.into()).unwrap();
            super::write(&prefix, &spec, &["file:///c".into(), "d".into()], &Packages::default()).unwrap();
            let out = fs::File::create_new(&layer).unwrap();
            let packing = Packing { root: &root, out: &out, compression: Compression::Gzip, path: &layer };
            packing.run(&mut |_| std::ops::ControlFlow::Continue(())).unwrap();
            let expected =
                Spec::of_text(kept.as_ref(), text.into()).unwrap().with(vec!["file:///c".into(), "d".into()]);
            assert_eq!(asked(&layer).unwrap(), Some(expected));
        }
    }
}
