//! The environment of the command: the container's, with the layers' programs in PATH and what means nothing in there put right.

use alloc::vec::Vec;

use super::{Files, Job, Variables, shell};

/// Where environments are kept in a workspace image.
const WORKSPACE_ENV: &str = "/ext3/env";
/// The programs of that.
const WORKSPACE_BIN: &str = "/ext3/env/bin";
/// Where the C library keeps its locales, one directory each or all in `locale-archive`.
const LOCALES: &str = "/usr/lib/locale/";
/// Variables that name files of the host, which mean nothing where there are none.
const HOST_FILES: [&[u8]; 5] = [b"CURL_CA_BUNDLE", b"SSL_CERT_FILE", b"CONDA_EXE", b"CONDA_PYTHON_EXE", b"MAMBA_EXE"];
/// What an environment that was activated outside has set; an environment in the container takes its place.
const OF_ANOTHER: [&[u8]; 8] = [
    b"CONDA_DEFAULT_ENV",
    b"CONDA_PREFIX",
    b"CONDA_PROMPT_MODIFIER",
    b"CONDA_SHLVL",
    // Where another Python has its library, without which none starts.
    b"PYTHONHOME",
    b"PYTHONEXECUTABLE",
    b"VIRTUAL_ENV",
    b"VIRTUAL_ENV_PROMPT",
];
/// The same, with a number behind it.
const OF_OTHERS: [&[u8]; 2] = [b"CONDA_PREFIX_", b"CONDA_STACKED_"];
/// The same of another R.
const OF_ANOTHER_R: [&str; 2] = ["R_HOME", "R_LIBS_SITE"];
/// Directories of packages that were installed for one Python.
const PACKAGES: [&[u8]; 2] = [b"site-packages", b"dist-packages"];
/// Where layers have theirs.
const LAYERS: [&[u8]; 2] = [b"/ext3/", b"/cnt/"];

const TMPDIR: &[u8] = b"TMPDIR";

impl Job {
    /// The environment of the command.
    pub fn environment(&self, files: &impl Files, container: &Variables) -> Variables {
        let has_environment = files.exists(&[WORKSPACE_BIN, "/"].concat().into_bytes());
        let is_kept = |(name, file): &(&Vec<u8>, &Vec<u8>)| match name.as_slice() {
            TMPDIR => !self.lacks_tmpdir(files, container),
            name => !HOST_FILES.contains(&name) || file.is_empty() || files.exists(file),
        };
        let mut variables = Variables::new();
        variables.extend(container.iter().filter(is_kept).map(|(name, value)| (name.clone(), value.clone())));
        if has_environment || self.path.iter().any(|programs| is_of_conda(files, programs)) {
            leave_other_environments(&mut variables);
        }
        set(&mut variables, "PATH", &self.search_path(container, has_environment));
        if has_environment {
            activate(files, &mut variables);
        }
        if !locale_exists(files, container) {
            set(&mut variables, "LANG", b"C.UTF-8");
            set(&mut variables, "LC_ALL", b"C.UTF-8");
        }
        if let Some(prompt) = &self.prompt {
            set(&mut variables, shell::PROMPT, prompt);
        }
        if let Some(directory) = &self.entered {
            set(&mut variables, "PWD", directory);
        }
        variables.extend(self.set.iter().cloned());
        if !self.set.iter().any(|(name, _)| name == b"PROMPT_COMMAND") {
            let command = shell::prompt_command(get(container, "PROMPT_COMMAND"), &variables);
            set(&mut variables, "PROMPT_COMMAND", &command);
        }
        if let Some(path) = get(&variables, "PATH").map(Vec::from) {
            set(&mut variables, shell::PATH, &path);
        }
        variables
    }

    /// Whether temporary files would go to a directory that is not there.
    pub fn lacks_tmpdir(&self, files: &impl Files, container: &Variables) -> bool {
        let is_set = self.set.iter().any(|(name, _)| name == TMPDIR);
        container
            .get(TMPDIR)
            .is_some_and(|dir| !is_set && !dir.is_empty() && !files.exists(&[dir, b"/".as_slice()].concat()))
    }

    /// The programs of the topmost layer first, then those below, then the container's own.
    fn search_path(&self, container: &Variables, has_environment: bool) -> Vec<u8> {
        let workspace = (self.workspace || has_environment).then_some(WORKSPACE_BIN.as_bytes());
        let layers = self.path.iter().rev().map(Vec::as_slice);
        let dirs: Vec<&[u8]> = workspace.into_iter().chain(layers).chain(get(container, "PATH")).collect();
        dirs.join(&b':')
    }
}

/// A variable that is not empty.
fn get<'a>(variables: &'a Variables, name: &str) -> Option<&'a [u8]> {
    variables.get(name.as_bytes()).map(Vec::as_slice).filter(|value| !value.is_empty())
}

fn set(variables: &mut Variables, name: &str, value: &[u8]) {
    variables.insert(name.into(), value.into());
}

/// Sets it unless it is set, perhaps to nothing.
fn default(variables: &mut Variables, name: &str, value: &[u8]) {
    variables.entry(name.into()).or_insert_with(|| value.into());
}

/// As conda does it with the environment in `/ext3/env`.
fn activate(files: &impl Files, variables: &mut Variables) {
    set(variables, "CONDA_PREFIX", WORKSPACE_ENV.as_bytes());
    set(variables, "CONDA_DEFAULT_ENV", b"env");
    set(variables, "CONDA_SHLVL", b"1");
    set(variables, "MAMBA_ROOT_PREFIX", WORKSPACE_ENV.as_bytes());
    let python = [WORKSPACE_BIN, "/python"].concat();
    if files.exists(python.as_bytes()) {
        set(variables, "RETICULATE_PYTHON", python.as_bytes());
    }
    if files.exists([WORKSPACE_BIN, "/R"].concat().as_bytes()) {
        leave_other_r(variables);
    }
}

/// Whether these are the programs of a conda environment.
fn is_of_conda(files: &impl Files, programs: &[u8]) -> bool {
    let place = programs.strip_suffix(b"/bin").unwrap_or(programs);
    files.exists(&[place, b"/conda-meta/"].concat())
}

/// What is in the container comes first: other environments are not active, and what was installed for another Python is not
/// found. All else in PYTHONPATH is the user's own sources, and stays.
fn leave_other_environments(variables: &mut Variables) {
    let is_numbered = |name: &Vec<u8>| OF_OTHERS.iter().any(|other| name.starts_with(other));
    variables.retain(|name, _| !OF_ANOTHER.contains(&name.as_slice()) && !is_numbered(name));
    default(variables, "PYTHONNOUSERSITE", b"1");
    // conda takes both names for the same setting, and not both at once.
    if get(variables, "CONDA_AUTO_ACTIVATE").is_none() {
        default(variables, "CONDA_AUTO_ACTIVATE_BASE", b"false");
    }
    keep_in_list(variables, "PYTHONPATH", |directory| !are_packages(directory));
}

/// R's personal library is for one R on one machine. R takes it also where nothing names it; `NULL` is its word for none.
fn leave_other_r(variables: &mut Variables) {
    OF_ANOTHER_R.iter().for_each(|name| drop(variables.remove(name.as_bytes())));
    let is_personal = |directory: &[u8]| directory.split(|byte| *byte == b'/').any(|name| name.ends_with(b"-library"));
    keep_in_list(variables, "R_LIBS_USER", |directory| !is_personal(directory));
    default(variables, "R_LIBS_USER", b"NULL");
}

/// Directories that installers of packages make on the host, such as `/usr/lib/python3/dist-packages`.
fn are_packages(directory: &[u8]) -> bool {
    let last = directory.rsplit(|byte| *byte == b'/').find(|name| !name.is_empty());
    let is_of_layers = LAYERS.iter().any(|place| directory.starts_with(place));
    !is_of_layers && last.is_some_and(|last| PACKAGES.contains(&last))
}

/// Of a list as in PATH; what becomes of it may be nothing.
fn keep_in_list(variables: &mut Variables, name: &str, is_kept: impl Fn(&[u8]) -> bool) {
    let Some(list) = get(variables, name) else { return };
    let kept: Vec<&[u8]> = list.split(|byte| *byte == b':').filter(|entry| is_kept(entry)).collect();
    match kept.join(&b':') {
        list if list.is_empty() => drop(variables.remove(name.as_bytes())),
        list => set(variables, name, &list),
    }
}

/// Whether the container has the language that the host is set to: else every program warns.
fn locale_exists(files: &impl Files, container: &Variables) -> bool {
    let Some(name) = get(container, "LC_ALL").or_else(|| get(container, "LANG")) else { return true };
    let language = name.split(|byte| *byte == b'.').next().unwrap_or_default();
    let is_there = |parts: &[&[u8]]| files.exists(&[LOCALES.as_bytes(), &parts.concat()].concat());
    matches!(language, b"C" | b"POSIX")
        || is_there(&[b"locale-archive"])
        || is_there(&[name])
        || is_there(&[language, b".utf8"])
}
