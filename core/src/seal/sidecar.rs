//! The file of variables beside a layer, `LAYER.env`: lines `KEY=VALUE`, in the form of the original CondaTainer.
//!
//! A remark about a variable is a line `#ENVNOTE:KEY=…`; `$app_root` in a value stands for `/cnt/NAME/VERSION`, which is taken from
//! the layer's file name. A sealed layer has another name than the image, so the value is put in.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::libc::O_NONBLOCK;

use super::SealError;
use super::count::Count;

/// A file of variables has some lines; more is none.
const LARGEST: u64 = 1 << 20;

/// `env.sqf` → `env.sqf.env`.
pub(super) fn path_of(layer: &Path) -> PathBuf {
    let mut path = layer.as_os_str().to_owned();
    path.push(".env");
    path.into()
}

/// What is to stand beside the layer; nothing where there is nothing to say.
pub(super) fn text(image: &Path, count: &Count) -> Result<Option<String>, SealError> {
    let own = read(&path_of(image))?.map(|text| text.replace("$app_root", &app_root(image)));
    let text = compose(own.unwrap_or_default(), &conda(count));
    Ok((!text.is_empty()).then_some(text))
}

fn read(path: &Path) -> Result<Option<String>, SealError> {
    let file = match OpenOptions::new().read(true).custom_flags(O_NONBLOCK).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file.map_err(|error| SealError::image(path, error))?,
    };
    let mut text = String::new();
    let read = file.take(LARGEST + 1).read_to_string(&mut text).map_err(|error| SealError::image(path, error))?;
    match read as u64 {
        length if length > LARGEST => Err(SealError::image(path, io::ErrorKind::FileTooLarge.into())),
        _ => Ok(Some(text)),
    }
}

/// What a start sets for an image with a Conda environment; a layer has to say it.
fn conda(count: &Count) -> Vec<(&'static str, &'static str)> {
    let prefix = [("CONDA_PREFIX", "/ext3/env"), ("MAMBA_ROOT_PREFIX", "/ext3/env")];
    let python = [("RETICULATE_PYTHON", "/ext3/env/bin/python")];
    let prefix = prefix.into_iter().filter(|_| count.conda);
    prefix.chain(python.into_iter().filter(|_| count.conda && count.python)).collect()
}

/// The image's own lines win.
fn compose(mut text: String, more: &[(&str, &str)]) -> String {
    let defined: Vec<String> =
        text.lines().filter_map(|line| Some(line.split_once('=')?.0.trim().to_owned())).collect();
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    for (key, value) in more.iter().filter(|(key, _)| !defined.iter().any(|own| own == key)) {
        text.push_str(&format!("{key}={value}\n"));
    }
    text
}

/// `images/orad--2.7.0.img` → `/cnt/orad/2.7.0`.
fn app_root(image: &Path) -> String {
    let name = image.file_name().unwrap_or_default().to_string_lossy();
    let stem = name.strip_suffix(".sqf").or_else(|| name.strip_suffix(".img")).unwrap_or(&name);
    format!("/cnt/{}", stem.replace("--", "/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_images_own_lines_win() {
        let own = "#WHATIS:mine\nCONDA_PREFIX=/elsewhere\n#ENVNOTE:CONDA_PREFIX=where";
        let more = [("CONDA_PREFIX", "/ext3/env"), ("MAMBA_ROOT_PREFIX", "/ext3/env")];
        assert_eq!(compose(own.into(), &more), format!("{own}\nMAMBA_ROOT_PREFIX=/ext3/env\n"));
        assert_eq!(compose(String::new(), &[]), "");
    }

    #[test]
    fn roots_follow_the_name() {
        assert_eq!(app_root("images/orad--2.7.0.img".as_ref()), "/cnt/orad/2.7.0");
        assert_eq!(app_root("env.img".as_ref()), "/cnt/env");
        assert_eq!(path_of("a/env.sqf".as_ref()), Path::new("a/env.sqf.env"));
    }
}
