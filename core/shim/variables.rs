//! The environment of the command: the container's, with the layers' programs in PATH and what means nothing in there put right.

use alloc::vec::Vec;

use super::{Files, Job, Variables};

/// Where environments are kept in a workspace image.
const WORKSPACE_ENV: &str = "/ext3/env";
/// The programs of that.
const WORKSPACE_BIN: &str = "/ext3/env/bin";
/// Where the C library keeps its locales, one directory each or all in `locale-archive`.
const LOCALES: &str = "/usr/lib/locale/";
/// Variables that name files of the host, which mean nothing where there are none.
const HOST_FILES: [&[u8]; 2] = [b"CURL_CA_BUNDLE", b"SSL_CERT_FILE"];

impl Job {
    /// For this command, of which only the name matters.
    pub(crate) fn environment(&self, files: &impl Files, container: &Variables, argv: &[Vec<u8>]) -> Variables {
        let has_environment = files.exists(&[WORKSPACE_BIN, "/"].concat().into_bytes());
        let is_kept = |(name, file): &(&Vec<u8>, &Vec<u8>)| {
            !HOST_FILES.contains(&name.as_slice()) || file.is_empty() || files.exists(file)
        };
        let mut variables = Variables::new();
        variables.extend(container.iter().filter(is_kept).map(|(name, value)| (name.clone(), value.clone())));
        let mut set = |name: &str, value: &[u8]| variables.insert(name.into(), value.into());
        set("PATH", &self.search_path(container, has_environment));
        if has_environment {
            set("CONDA_PREFIX", WORKSPACE_ENV.as_bytes());
            set("CONDA_DEFAULT_ENV", b"env");
            set("MAMBA_ROOT_PREFIX", WORKSPACE_ENV.as_bytes());
            let python = [WORKSPACE_BIN, "/python"].concat();
            if files.exists(python.as_bytes()) {
                set("RETICULATE_PYTHON", python.as_bytes());
            }
        }
        if !locale_exists(files, container) {
            set("LANG", b"C.UTF-8");
            set("LC_ALL", b"C.UTF-8");
        }
        // Other shells would show what bash puts into a prompt as it is written.
        if let Some(prompt) = self.prompt.as_ref().filter(|_| is_bash(argv)) {
            set("PS1", prompt);
            if let Some(text) = prompt_command(container, prompt) {
                set("PROMPT_COMMAND", &text);
            }
        }
        variables.extend(self.set.iter().cloned());
        variables
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

fn is_bash(argv: &[Vec<u8>]) -> bool {
    argv.first().and_then(|program| program.rsplit(|byte| *byte == b'/').next()) == Some(b"bash")
}

/// Apptainer forces its own prompt on bash: its PROMPT_COMMAND ends in `PS1="Apptainer> "`, perhaps with more behind it.
fn prompt_command(container: &Variables, prompt: &[u8]) -> Option<Vec<u8>> {
    const FORCED: &[u8] = b"PS1=\"";
    let text = get(container, "PROMPT_COMMAND")?;
    let start = text.windows(FORCED.len()).rposition(|part| part == FORCED)? + FORCED.len();
    let (before, forced) = text.split_at_checked(start)?;
    let end = forced.iter().position(|byte| *byte == b'"')?;
    Some([before, prompt, forced.get(end..)?].concat())
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
