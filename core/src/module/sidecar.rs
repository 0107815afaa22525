//! The file of variables beside a layer, `LAYER.env`: lines `KEY=VALUE`, in the form of the original CondaTainer.
//!
//! A remark about a variable is a line `#ENVNOTE:KEY=…`, one about the layer `#WHATIS:…`; `$app_root` in a value stands for the
//! place of the module.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::libc::O_NONBLOCK;

use super::{Module, assignment};

/// A file of variables has some lines; more is none.
const LARGEST: u64 = 1 << 20;

/// `env.sqf` → `env.sqf.env`.
pub(crate) fn path_of(layer: &Path) -> PathBuf {
    let mut path = layer.as_os_str().to_owned();
    path.push(".env");
    path.into()
}

/// The text of such a file, where there is one.
pub(crate) fn read(path: &Path) -> io::Result<Option<String>> {
    let file = match OpenOptions::new().read(true).custom_flags(O_NONBLOCK).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let mut text = String::new();
    match file.take(LARGEST + 1).read_to_string(&mut text)? as u64 {
        length if length > LARGEST => Err(io::ErrorKind::FileTooLarge.into()),
        _ => Ok(Some(text)),
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
    fn roots_follow_the_name() {
        assert_eq!(app_root("images/orad--2.7.0.img".as_ref()), "/cnt/orad/2.7.0");
        assert_eq!(app_root("env.img".as_ref()), "/cnt/env");
        assert_eq!(path_of("a/env.sqf".as_ref()), Path::new("a/env.sqf.env"));
    }
}
