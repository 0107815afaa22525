//! The plugin's arguments in plugstack.conf: `condatainer=PATH` (the program put in front of tasks), `config=PATH`, and `patience=SECONDS`
//! (how long the container of a step may take to end).

use std::path::PathBuf;

use condatainer_core::config::{DEFAULT_PROGRAM, SYSTEM_FILE};

/// What the administrator has set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    /// The program put in front of a task's command.
    pub(crate) program: PathBuf,
    /// The system configuration.
    pub(crate) config: PathBuf,
    /// How long the container of a step may take to end, in seconds: FUSE daemons write what they still have in memory.
    pub(crate) patience: u16,
}

/// With what killing takes less than Slurm's `UnkillableStepTimeout` (60 s by default), whose clock runs meanwhile where a step was
/// terminated, and which drains the node.
const PATIENCE: u16 = 45;

impl Settings {
    /// Reads the arguments.
    ///
    /// # Errors
    /// An unknown argument, or a path that is not absolute.
    pub(crate) fn parse<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let mut settings = Self { program: DEFAULT_PROGRAM.into(), config: SYSTEM_FILE.into(), patience: PATIENCE };
        for argument in arguments {
            match argument.split_once('=') {
                Some(("condatainer", path)) if path.starts_with('/') => settings.program = path.into(),
                Some(("config", path)) if path.starts_with('/') => settings.config = path.into(),
                Some(("patience", seconds)) if matches!(seconds.parse(), Ok(1_u16..=3600)) => {
                    settings.patience = seconds.parse().unwrap_or(PATIENCE);
                }
                _ => {
                    return Err(format!(
                        "plugstack.conf: argument '{argument}': write condatainer=/PATH (the program), config=/PATH, or patience=SECONDS (1 to 3600)"
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
        let parsed = Settings::parse(["condatainer=/opt/c", "config=/etc/c.toml", "patience=120"]).unwrap();
        assert_eq!(parsed, Settings { program: "/opt/c".into(), config: "/etc/c.toml".into(), patience: 120 });
        assert_eq!(Settings::parse([]).unwrap().config, PathBuf::from(SYSTEM_FILE));
        for wrong in ["condatainer=bin/c", "conf=/x", "x", "patience=0", "patience=3601", "patience=1m"] {
            assert!(Settings::parse([wrong]).unwrap_err().contains(wrong));
        }
    }
}
