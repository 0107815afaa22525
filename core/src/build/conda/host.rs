//! What of the host the tool may need besides itself: configuration, certificates and caches that variables or the site name, and
//! channels that are written as paths.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::command::directory_of;
use super::error::CondaError;
use crate::request::bind::Bind;

/// Variables that name a file or a directory which the tool reads.
const READ: [&str; 9] = [
    "CONDARC",
    "MAMBARC",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "CONDA_SSL_VERIFY",
    "MAMBA_SSL_VERIFY",
    "PIP_CONFIG_FILE",
];
/// Variables that name directories, separated by commas, to which it writes.
const WRITTEN: [&str; 3] = ["CONDA_PKGS_DIRS", "MAMBA_PKGS_DIRS", "MAMBA_ROOT_PREFIX"];
/// The site's configuration of conda.
const SITE: [&str; 2] = ["/etc/conda", "/var/lib/conda"];
/// Where certificates lie: Debian's place, and Red Hat's. The first is where every tool looks.
const CERTIFICATES: [&str; 2] = ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"];

/// The binds for it, those that exist.
pub(super) fn binds(env: &HashMap<String, String>) -> Vec<Bind> {
    let values = |names: &'static [&str]| names.iter().filter_map(|name| env.get(*name));
    let same = |path: &Path, read_only| Bind { source: path.into(), destination: path.into(), read_only };
    let there = |path: &PathBuf| path.is_absolute() && path.exists();
    let mut binds: Vec<Bind> = Vec::new();
    let written = values(&WRITTEN).flat_map(|list| list.split(',')).map(PathBuf::from).filter(there);
    binds.extend(written.map(|path| same(&path, false)));
    let read = values(&READ).map(PathBuf::from).chain(SITE.map(PathBuf::from)).filter(there);
    binds.extend(read.map(|path| same(&path, true)));
    // Small bases have none, and the site's own may be needed.
    if let Some(path) = CERTIFICATES.iter().map(PathBuf::from).find(|path| path.is_file()) {
        let source = std::fs::canonicalize(&path).unwrap_or(path);
        binds.push(Bind { source, destination: CERTIFICATES[0].into(), read_only: true });
    }
    binds
}

/// A channel as it has to be written in the container: one that is a path must be absolute, and there.
pub(super) fn channel(written: &str, cwd: &Path, home: Option<&Path>) -> Result<String, CondaError> {
    let refused = |what: &str| CondaError::Channel { channel: written.escape_debug().to_string(), what: what.into() };
    if written.is_empty() || written.starts_with('-') || written.contains(|c: char| c.is_control() || c == ',') {
        return Err(refused("is no channel; write a name, a URL or a directory"));
    }
    let absolute = match (written.strip_prefix("~/"), home) {
        (Some(rest), Some(home)) => home.join(rest).display().to_string(),
        _ if written.starts_with("./") || written.starts_with("../") => cwd.join(written).display().to_string(),
        _ => written.into(),
    };
    let Some(directory) = directory_of(&absolute) else { return Ok(absolute) };
    let real = std::fs::canonicalize(&directory).map_err(|error| refused(&error.to_string()))?;
    if real.is_dir() { Ok(format!("file://{}", real.display())) } else { Err(refused("is no directory")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels() {
        let dir = tempfile::tempdir().unwrap();
        let at = std::fs::canonicalize(dir.path()).unwrap();
        std::fs::create_dir(at.join("c")).unwrap();
        let of = |text: &str| channel(text, &at, Some(&at)).map_err(|error| error.to_string());
        let here = Ok(format!("file://{}/c", at.display()));
        assert_eq!(
            (of("./c"), of("~/c"), of(&format!("file://{}/c", at.display()))),
            (here.clone(), here.clone(), here)
        );
        assert_eq!((of("conda-forge"), of("https://x/y")), (Ok("conda-forge".into()), Ok("https://x/y".into())));
        assert!(of("./d").unwrap_err().contains("No such file"));
        assert!(of("").is_err() && of("--x").is_err() && of("a,b").is_err());
    }

    #[test]
    fn what_variables_name_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let text = |name: &str| dir.path().join(name).display().to_string();
        std::fs::write(dir.path().join("rc"), "").unwrap();
        std::fs::create_dir(dir.path().join("pkgs")).unwrap();
        let list = format!("{},{}", text("pkgs"), text("missing"));
        let env = HashMap::from([("CONDARC".into(), text("rc")), ("CONDA_PKGS_DIRS".into(), list)]);
        let binds = binds(&env);
        let has = |name: &str, read_only| {
            binds.iter().any(|bind| bind.destination == dir.path().join(name) && bind.read_only == read_only)
        };
        assert!(has("rc", true) && has("pkgs", false) && !has("missing", false));
    }
}
