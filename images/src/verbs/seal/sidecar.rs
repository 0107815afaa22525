//! The file of variables beside a sealed layer: that of the image, and what a start would set for the image by itself. The layer
//! has another name than the image, so the place that `$app_root` stands for is put in.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;

use super::count::Count;
use super::error::SealError;
use crate::image::Image;
pub(super) use crate::module::sidecar::path_of;
use crate::module::sidecar::{app_root, read};

/// What is to stand beside the layer.
#[derive(Debug)]
pub(super) struct Variables {
    pub(super) text: String,
    /// The mode of the image's own file: it may hold secrets.
    pub(super) readers: u32,
}

/// Nothing where there is nothing to say.
///
/// # Errors
/// What stands beside the image cannot be read, or is not the work of somebody who is believed: the copy would be the caller's.
pub(super) fn variables(image: &Image, count: &Count) -> Result<Option<Variables>, SealError> {
    let beside = path_of(&image.path);
    let readers = match fs::metadata(&beside) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0o666,
        looked => looked.map_or(0o600, |meta| meta.mode()),
    };
    let own = read(&beside, image.uid).map_err(SealError::beside)?;
    let own = own.map(|text| text.replace("$app_root", &app_root(&image.path)));
    let text = compose(own.unwrap_or_default(), &conda(count));
    Ok((!text.is_empty()).then_some(Variables { text, readers }))
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
}
