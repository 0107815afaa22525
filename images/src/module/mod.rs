//! What a layer brings to the environment: its programs, its variables, and remarks about them.
//!
//! A module of the original CondaTainer lies at `/cnt/NAME/VERSION` in its squashfs. Its variables stand in the script that built
//! it, which is inside, and in a file of variables beside the layer, which wins. Values are literal: `$app_root` is replaced by
//! the module's place, and nothing is ever evaluated by a shell.

mod payload;
mod script;
pub(crate) mod sidecar;

use std::path::Path;

use serde::Serialize;

use crate::image::{Kind, Opened};
use crate::trust::TrustError;

/// What is known about a layer as a module.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Module {
    /// Where it lies in the container, such as `/cnt/samtools/1.16`; `None` where the layer holds no module.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root: Option<String>,
    /// Whether it has programs, in `bin`.
    pub has_bin: bool,
    /// One line about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub whatis: Option<String>,
    /// Its variables.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub variables: Vec<Variable>,
    /// Why what stands beside the layer could not be read, or is not believed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// Whether it is not believed: then nothing starts, because it is somebody's attempt or somebody's mistake.
    #[serde(skip)]
    pub is_distrusted: bool,
}

/// A variable that a layer sets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Its value, literally.
    pub value: String,
    /// A remark for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

impl Module {
    /// Reads what a layer brings along. What cannot be read inside a layer is left to whoever mounts it.
    #[must_use]
    pub fn read(path: &Path, opened: &Opened) -> Self {
        let mut module = inside(path, opened);
        match sidecar::read(&sidecar::path_of(path), opened.image.uid) {
            Ok(None) => {}
            Ok(Some(text)) => sidecar::merge(&mut module, &text),
            Err(error) => module.complain(&error),
        }
        let root = module.root.clone().unwrap_or_else(|| sidecar::app_root(path));
        for variable in &mut module.variables {
            variable.value = variable.value.replace("$app_root", &root);
        }
        module
    }

    /// Only whether what stands beside a layer is believed: all that counts where a job is submitted.
    #[must_use]
    pub fn believed(path: &Path, opened: &Opened) -> Self {
        let mut module = Self::default();
        match sidecar::read(&sidecar::path_of(path), opened.image.uid) {
            Err(error) if error.is_distrust() => module.complain(&error),
            _ => {}
        }
        module
    }

    fn complain(&mut self, error: &TrustError) {
        self.is_distrusted = error.is_distrust();
        self.problem = Some(if self.is_distrusted { sidecar::distrust(error) } else { error.to_string() });
    }

    fn set(&mut self, name: &str, value: &str) {
        match self.variables.iter_mut().find(|variable| variable.name == name) {
            Some(variable) => variable.value = value.into(),
            None => self.variables.push(Variable { name: name.into(), value: value.into(), note: None }),
        }
    }

    fn remark(&mut self, name: &str, note: &str) {
        if let Some(variable) = self.variables.iter_mut().find(|variable| variable.name == name && !note.is_empty()) {
            variable.note = Some(note.into());
        }
    }
}

fn inside(path: &Path, opened: &Opened) -> Module {
    match opened.image.kind {
        Kind::Squashfs => payload::read(path, opened).unwrap_or_default(),
        Kind::Ext(_) | Kind::Sif(_) | Kind::Directory => Module::default(),
    }
}

/// `KEY=VALUE`, with blanks around both taken away; a name that no environment can hold is none.
fn assignment(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.split_once('=')?;
    let (name, value) = (name.trim(), value.trim());
    (!name.is_empty() && !line.contains('\0')).then_some((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_text_is_read(text in "(#(ENV|ENVNOTE|WHATIS):)?[A-Z=# a\\PC\n$]{0,40}(\n#ENV(NOTE)?:A=\\PC{0,9}){0,3}") {
            let mut module = Module::default();
            script::merge(&mut module, &text);
            sidecar::merge(&mut module, &text);
            for variable in &module.variables {
                prop_assert!(!variable.name.is_empty() && !variable.name.contains(['=', '\0', '\n']));
                prop_assert!(!variable.value.contains(['\0', '\n']));
            }
        }
    }
}
