//! Where `create` puts a layer: at the path that was named, or under its name in the user's image directory.

use std::fs;
use std::path::{Path, PathBuf};

use condatainer_core::request::names::{Name, user_directory};

use super::args::BuildArgs;
use crate::say::failure::Failure;
use crate::surroundings::Surroundings;

const ENDINGS: [&str; 5] = ["sqf", "sqsh", "squashfs", "sif", "img"];

/// The path that `-p`, `-n` or, where neither is given, the name of the definition means.
pub(crate) fn of_layer(args: &BuildArgs, around: &Surroundings) -> Result<PathBuf, Failure> {
    match (&args.prefix, &args.name, &args.file) {
        (Some(path), ..) => {
            with_ending(path).ok_or_else(|| Failure::failed(format!("{}: name a file", path.display())))
        }
        (_, Some(name), _) => in_images(name, around),
        (_, _, Some(file)) if file.extension().is_some() => Ok(file.with_extension("sqf")),
        _ if args.packages.len() == 1 => in_images(&module(&args.packages.concat()), around),
        _ => Err(Failure::usage("it needs a name: -n NAME puts it into your image directory, -p PATH anywhere")),
    }
}

/// A package by itself names the module too: `bioconda::star=2.7` is `star/2.7`.
fn module(package: &str) -> String {
    package.rsplit("::").next().unwrap_or(package).into()
}

fn with_ending(path: &Path) -> Option<PathBuf> {
    let extension = path.extension().map(|extension| extension.to_string_lossy().into_owned());
    let mut name = path.file_name()?.to_owned();
    if !extension.is_some_and(|extension| ENDINGS.contains(&extension.as_str())) {
        name.push(".sqf");
    }
    Some(path.with_file_name(name))
}

/// `name/version` → `name--version.sqf` in a directory that is made if needed.
fn in_images(name: &str, around: &Surroundings) -> Result<PathBuf, Failure> {
    let file = file_name(name)?;
    let directory = user_directory(&around.env).ok_or_else(|| {
        Failure::failed("there is no image directory of yours: HOME is not set; name the file with -p")
    })?;
    fs::create_dir_all(&directory)
        .map_err(|error| Failure::failed(format!("{}: cannot be made: {error}", directory.display())))?;
    Ok(directory.join(file))
}

/// A new name must be one that can be written in a list of layers.
fn file_name(written: &str) -> Result<String, Failure> {
    let name = Name::parse(written).map_err(Failure::failed)?;
    if written.contains(|c: char| c.is_whitespace() || ",:<>\\".contains(c)) {
        return Err(Failure::failed(format!("-n {written}: a name has no spaces and none of , : < > \\")));
    }
    Ok(format!("{}.sqf", name.file_stem()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert_eq!(file_name("samtools/1.16").unwrap(), "samtools--1.16.sqf");
        assert_eq!(file_name("build-essential").unwrap(), "build-essential.sqf");
        for name in ["", "a/", "../a", "a b", "a>=1", "a,b", "a:ro"] {
            assert!(file_name(name).is_err(), "{name}");
        }
    }

    #[test]
    fn endings() {
        let with = |path: &str| with_ending(Path::new(path)).unwrap().display().to_string();
        assert_eq!(with("a/debian"), "a/debian.sqf");
        assert_eq!(with("r--4.3"), "r--4.3.sqf");
        assert_eq!(
            (with("a.sqf"), with("a.squashfs"), with("a.img")),
            ("a.sqf".into(), "a.squashfs".into(), "a.img".into())
        );
    }
}
