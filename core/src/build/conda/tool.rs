//! The user's own tool: micromamba, mamba or conda, where it is, how it is spoken to, and what of it has to be seen in the container.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use super::error::CondaError;
use condatainer_images::tools::programs;

/// What is looked for in PATH, the quickest first.
pub(super) const NAMES: [&str; 3] = ["micromamba", "mamba", "conda"];
/// Where `micromamba shell init` and `conda init` leave the program that their shell functions stand for.
const VARIABLES: [&str; 2] = ["MAMBA_EXE", "CONDA_EXE"];

/// Which of the two command lines it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Dialect {
    /// micromamba, and mamba since 2.0: one `create` for everything.
    Mamba,
    /// conda, and the older mamba on top of it: `env create` for environment.yml.
    Conda,
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tool {
    /// The program, by its real path.
    pub(super) program: PathBuf,
    /// How it is spoken to.
    pub(super) dialect: Dialect,
    /// The installation that it belongs to, or the program alone where it stands alone.
    pub(super) home: PathBuf,
}

impl Tool {
    /// The tool that was named, else the first that is found.
    ///
    /// # Errors
    /// There is none, or the named one cannot be run in a container.
    pub(super) fn find(named: Option<&Path>, env: &HashMap<String, String>) -> Result<Self, CondaError> {
        let program = match named {
            Some(named) => self::named(named)?,
            None => in_path().or_else(|| of_shell(env)).ok_or(CondaError::NoTool)?,
        };
        let real = fs::canonicalize(&program).map_err(|error| CondaError::NotATool {
            program: program.clone(),
            what: error.to_string(),
            origin: None,
        })?;
        let home = home(&real).map_err(|what| CondaError::NotATool {
            program: program.clone(),
            what: what.into(),
            origin: None,
        })?;
        Ok(Self { dialect: dialect(&name_of(&program), is_script(&real)), home, program: real })
    }

    /// What it is called.
    #[must_use]
    pub(super) fn name(&self) -> String {
        name_of(&self.program)
    }
}

/// With a slash a path, else a program in PATH.
fn named(named: &Path) -> Result<PathBuf, CondaError> {
    let found = match named.to_str() {
        Some(name) if !name.contains('/') => programs::find(name),
        _ => Some(named.to_owned()).filter(|path| path.is_file()),
    };
    found.ok_or_else(|| CondaError::NotATool { program: named.into(), what: "no such program".into(), origin: None })
}

fn in_path() -> Option<PathBuf> {
    NAMES.iter().find_map(|name| programs::find(name))
}

fn of_shell(env: &HashMap<String, String>) -> Option<PathBuf> {
    let named = VARIABLES.iter().filter_map(|name| env.get(*name)).map(PathBuf::from);
    named.filter(|path| path.is_absolute()).find(|path| path.is_file())
}

fn name_of(program: &Path) -> String {
    program.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// By the name; mamba is a Python script where it is the older one.
fn dialect(name: &str, is_script: bool) -> Dialect {
    let name = name.to_ascii_lowercase();
    match () {
        () if name.contains("micromamba") => Dialect::Mamba,
        () if name.contains("mamba") && is_script => Dialect::Conda,
        () if name.contains("conda") => Dialect::Conda,
        () => Dialect::Mamba,
    }
}

fn is_script(program: &Path) -> bool {
    let mut head = [0; 2];
    File::open(program).and_then(|mut file| file.read_exact(&mut head)).is_ok() && head == *b"#!"
}

/// `PREFIX` of `PREFIX/bin/conda`, which is known by its `conda-meta`, else the program itself.
fn home(real: &Path) -> Result<PathBuf, &'static str> {
    let prefix = real.parent().and_then(Path::parent);
    match prefix.filter(|prefix| prefix.join("conda-meta").is_dir()) {
        Some(prefix) if is_of_the_system(prefix) => Err("is a part of the system, which the container does not see"),
        Some(prefix) => Ok(prefix.into()),
        None => Ok(real.into()),
    }
}

/// A container has its own.
fn is_of_the_system(prefix: &Path) -> bool {
    ["/", "/usr", "/usr/local"].iter().any(|system| Path::new(system) == prefix)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn each_is_spoken_to_in_its_way() {
        assert_eq!(dialect("micromamba", true), Dialect::Mamba);
        assert_eq!((dialect("mamba", false), dialect("mamba", true)), (Dialect::Mamba, Dialect::Conda));
        assert_eq!((dialect("conda", true), dialect("conda.exe", false)), (Dialect::Conda, Dialect::Conda));
        assert_eq!(dialect("mm", false), Dialect::Mamba);
    }

    #[test]
    fn an_installation_is_shown_as_a_whole_and_a_program_alone() {
        let dir = tempfile::tempdir().unwrap();
        let make = |path: &str, text: &str| {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
            path
        };
        let (conda, alone) = (make("forge/bin/conda", "#!/x/python\n"), make("bin/micromamba", "\x7fELF"));
        fs::create_dir(dir.path().join("forge/conda-meta")).unwrap();
        let link = dir.path().join("bin/conda");
        std::os::unix::fs::symlink(&conda, &link).unwrap();
        let none = HashMap::new();
        let tool = Tool::find(Some(&link), &none).unwrap();
        assert_eq!(
            (tool.dialect, &tool.program, tool.home.as_path()),
            (Dialect::Conda, &conda, &*dir.path().join("forge"))
        );
        let tool = Tool::find(Some(&alone), &none).unwrap();
        assert_eq!((tool.dialect, tool.name(), tool.home), (Dialect::Mamba, "micromamba".into(), alone.clone()));
        assert_eq!(of_shell(&HashMap::from([("MAMBA_EXE".into(), alone.display().to_string())])), Some(alone));
        let missing = Tool::find(Some(Path::new("/nowhere/conda")), &none).unwrap_err().to_string();
        assert!(missing.starts_with("/nowhere/conda: no such program"), "{missing}");
    }
}
