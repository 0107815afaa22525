//! Images whose environment is switched on by a script of their own, `/ext3/env.sh`, as those that NYU's computing centre hands out
//! (`overlay-15GB-500K.ext3` with `/ext3/miniconda3`). Here nothing runs it by itself: a start needs no shell, and sources nothing
//! that an image brings along. At a terminal it says how it is done.

use std::path::{Path, PathBuf};

use condatainer_images::image::{self, Kind};
use condatainer_images::overlay::lower::Lower;
use condatainer_images::system::escape::shell_word;

const SCRIPT: &str = "ext3/env.sh";
/// Where our own environments lie: their programs are found without a script.
const ENVIRONMENT: &str = "ext3/env";
/// What the installers of Conda call their directory.
const CONDA: [&str; 4] = ["miniconda3", "miniforge3", "mambaforge", "anaconda3"];

/// How to come to the programs of such an image, where one is among `layers`; `None` where there is none, or where the user knows.
/// `path` is what is put in front of PATH, `command` what runs, unless that is a shell.
#[must_use]
pub fn advice<'a>(
    layers: impl Iterator<Item = &'a PathBuf>,
    path: &[String],
    command: Option<&[String]>,
) -> Option<String> {
    let mentions_script = command.is_some_and(|words| words.iter().any(|word| word.contains("env.sh")));
    if mentions_script || path.iter().any(|dir| dir.starts_with("/ext3/")) {
        return None;
    }
    let mut images = layers.filter(|path| image::identify(path).is_ok_and(|image| matches!(image.kind, Kind::Ext(_))));
    let image = images.find_map(Image::open)?;
    let by_script = match command {
        None => "type '. /ext3/env.sh'".into(),
        Some(words) => {
            let program = shell_word(words.first().map(String::as_str).unwrap_or_default());
            format!("run bash -c {}", shell_word(&format!(". /ext3/env.sh; {program} ...")))
        }
    };
    let path = image.path.display();
    let beside = shell_word(&format!("{path}.env"));
    let for_good =
        image.conda.map(|dir| format!(", or have them found in every start: echo PATH=/ext3/{dir}/bin >> {beside}"));
    Some(format!(
        "{path}: its programs are switched on by its /ext3/env.sh: {by_script}{}",
        for_good.unwrap_or_default()
    ))
}

struct Image<'a> {
    path: &'a Path,
    conda: Option<&'static str>,
}

impl<'a> Image<'a> {
    fn open(path: &'a PathBuf) -> Option<Self> {
        let lower = Lower::open(std::slice::from_ref(path)).ok()?;
        let has = |name: &str| matches!(lower.get(name.as_bytes()), Ok(Some(_)));
        if !has(SCRIPT) || has(ENVIRONMENT) {
            return None;
        }
        Some(Self { path, conda: CONDA.into_iter().find(|dir| has(&format!("ext3/{dir}/bin"))) })
    }
}
