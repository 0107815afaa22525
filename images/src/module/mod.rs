//! What a layer brings to the environment: its programs, its variables, and remarks about them.
//!
//! A module of the original CondaTainer lies at `/cnt/NAME/VERSION` in its squashfs. Its variables stand in the script that built
//! it, which is inside, and in a file of variables beside the layer, which wins. Values are literal: `$app_root` is replaced by
//! the module's place, and nothing is ever evaluated by a shell.

mod payload;
mod script;
pub(crate) mod sidecar;
mod variables;

use std::path::Path;

use crate::image::{Kind, Opened};
use crate::trust::TrustError;

pub use variables::{Module, Variable};

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
}

fn inside(path: &Path, opened: &Opened) -> Module {
    match opened.image.kind {
        Kind::Squashfs => payload::read(path, opened).unwrap_or_default(),
        Kind::Ext(_) | Kind::Sif(_) | Kind::Directory => Module::default(),
    }
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
