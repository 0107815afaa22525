//! The plugin's arguments in plugstack.conf: `condatainer=PATH` (the program put in front of tasks) and `config=PATH`.

use std::path::PathBuf;

use condatainer_core::config::{DEFAULT_PROGRAM, SYSTEM_FILE};

/// What the administrator has set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    /// The program put in front of a task's command.
    pub(crate) program: PathBuf,
    /// The system configuration.
    pub(crate) config: PathBuf,
}

impl Settings {
    /// Reads the arguments.
    ///
    /// # Errors
    /// An unknown argument, or a path that is not absolute.
    pub(crate) fn parse<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let mut settings = Self { program: DEFAULT_PROGRAM.into(), config: SYSTEM_FILE.into() };
        for argument in arguments {
            match argument.split_once('=') {
                Some(("condatainer", path)) if path.starts_with('/') => settings.program = path.into(),
                Some(("config", path)) if path.starts_with('/') => settings.config = path.into(),
                _ => {
                    return Err(format!(
                        "plugstack.conf: argument '{argument}': write condatainer=/PATH (the program) or config=/PATH"
                    ));
                }
            }
        }
        Ok(settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments() {
        let parsed = Settings::parse(["condatainer=/opt/c", "config=/etc/c.toml"]).unwrap();
        assert_eq!(parsed, Settings { program: "/opt/c".into(), config: "/etc/c.toml".into() });
        assert_eq!(Settings::parse([]).unwrap().config, PathBuf::from(SYSTEM_FILE));
        for wrong in ["condatainer=bin/c", "conf=/x", "x"] {
            assert!(Settings::parse([wrong]).unwrap_err().contains(wrong));
        }
    }
}
