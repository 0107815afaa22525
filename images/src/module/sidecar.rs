//! The file of variables beside a layer, `LAYER.env`: lines `KEY=VALUE`, in the form of the original CondaTainer.
//!
//! A remark about a variable is a line `#ENVNOTE:KEY=…`, one about the layer `#WHATIS:…`; `$app_root` in a value stands for the
//! place of the module.

use std::path::{Path, PathBuf};

use super::variables::{Module, assignment};
use crate::trust::{self, Links, Owners, TrustError};

/// A file of variables has some lines; more is none.
const LARGEST: u64 = 1 << 20;

/// `env.sqf` → `env.sqf.env`.
pub(crate) fn path_of(layer: &Path) -> PathBuf {
    let mut path = layer.as_os_str().to_owned();
    path.push(".env");
    path.into()
}

/// The text of such a file, where there is one. Its variables can make a program run anything (LD_PRELOAD, functions for bash), so
/// it must belong to root, the caller or whoever owns the layer, and nobody else may be able to write it.
///
/// # Errors
/// It is not believed ([`TrustError::is_distrust`]), or cannot be read.
pub(crate) fn read(path: &Path, owner_of_layer: u32) -> Result<Option<String>, TrustError> {
    let owners = Owners::root_and_caller().and(owner_of_layer);
    let file = match trust::open(path, Links::Of(&owners)) {
        Err(error) if error.is_not_found() => return Ok(None),
        file => file?,
    };
    file.require_of(&owners)?;
    file.read_text(LARGEST).map(Some)
}

/// Why a file of variables is not believed, and what to do.
pub(crate) fn distrust(error: &TrustError) -> String {
    let path = error.path().display();
    match error {
        TrustError::Writable { .. } => format!("{error}: its variables could run anything as you: chmod go-w {path}"),
        _ => format!(
            "{error}: its variables could run anything as you: have it removed, or copy the layer to a directory of yours"
        ),
    }
}

/// Adds what the file says; it wins over what is inside the layer.
pub(super) fn merge(module: &mut Module, text: &str) {
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
        if let Some((name, value)) = assignment(line) {
            module.set(name, value);
        }
    }
    for line in text.lines().map(str::trim) {
        if let Some(whatis) = line.strip_prefix("#WHATIS:") {
            module.whatis = Some(whatis.trim().into());
        } else if let Some((name, note)) = line.strip_prefix("#ENVNOTE:").and_then(assignment) {
            module.remark(name, note);
        }
    }
}

/// `images/orad--2.7.0.sqf` → `/cnt/orad/2.7.0`.
pub(crate) fn app_root(layer: &Path) -> String {
    let name = layer.file_name().unwrap_or_default().to_string_lossy();
    let stem = ["sqf", "sqsh", "squashfs", "img", "ext3"].iter().find_map(|e| name.strip_suffix(e)?.strip_suffix('.'));
    format!("/cnt/{}", stem.unwrap_or(&name).replace("--", "/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_beside_wins() {
        let mut module = Module::default();
        module.set("A", "inside");
        merge(
            &mut module,
            "\n#WHATIS: mine\n#ENVNOTE:A=a remark\n#comment=1\nA=beside $HOME `x`\nB= 1,2 \nnothing\n=x\n",
        );
        let told: Vec<_> =
            module.variables.iter().map(|v| (v.name.as_str(), v.value.as_str(), v.note.as_deref())).collect();
        assert_eq!(told, [("A", "beside $HOME `x`", Some("a remark")), ("B", "1,2", None)]);
        assert_eq!(module.whatis.as_deref(), Some("mine"));
    }

    #[test]
    fn whose_variables_are_believed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.sqf.env");
        assert_eq!(read(&path, 0).unwrap(), None);
        std::fs::write(&path, "A=1").unwrap();
        assert_eq!(read(&path, 54_321).unwrap().unwrap(), "A=1", "one's own");
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
        let said = distrust(&read(&path, 0).unwrap_err());
        assert!(said.ends_with(&format!("could run anything as you: chmod go-w {}", path.display())), "{said}");
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
        if std::os::unix::fs::chown(&path, Some(54_321), None).is_ok() {
            let error = read(&path, 54_322).unwrap_err();
            assert!(error.is_distrust() && distrust(&error).contains("a.sqf.env: belongs to uid 54321, and must"));
            assert!(read(&path, 54_321).is_ok(), "the layer's owner");
        }
    }

    #[test]
    fn roots_follow_the_name() {
        assert_eq!(app_root("images/orad--2.7.0.img".as_ref()), "/cnt/orad/2.7.0");
        assert_eq!(app_root("env.img".as_ref()), "/cnt/env");
        assert_eq!(path_of("a/env.sqf".as_ref()), Path::new("a/env.sqf.env"));
    }
}
