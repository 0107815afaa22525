//! What a layer says about itself: its place, and the variables that it sets.

use serde::Serialize;

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
    /// Sets a variable, in place of an earlier value.
    pub(super) fn set(&mut self, name: &str, value: &str) {
        match self.variables.iter_mut().find(|variable| variable.name == name) {
            Some(variable) => variable.value = value.into(),
            None => self.variables.push(Variable { name: name.into(), value: value.into(), note: None }),
        }
    }

    /// Adds a remark to a variable that is set.
    pub(super) fn remark(&mut self, name: &str, note: &str) {
        if let Some(variable) = self.variables.iter_mut().find(|variable| variable.name == name && !note.is_empty()) {
            variable.note = Some(note.into());
        }
    }
}

/// `KEY=VALUE`, with blanks around both taken away; a name that no environment can hold is none.
pub(super) fn assignment(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.split_once('=')?;
    let (name, value) = (name.trim(), value.trim());
    (!name.is_empty() && !line.contains('\0')).then_some((name, value))
}
