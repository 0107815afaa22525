//! The plugin's arguments in plugstack.conf: `condatainer=PATH` (the program put in front of tasks), `config=PATH`, and `patience=SECONDS`
//! (how long the container of a step may take to end). The plugin and the doctor read them alike.

use std::path::PathBuf;

use crate::config::{DEFAULT_PROGRAM, SYSTEM_FILE};

/// What the administrator has set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginArguments {
    /// The program put in front of a task's command.
    pub program: PathBuf,
    /// The system configuration.
    pub config: PathBuf,
    /// How long the container of a step may take to end, in seconds: FUSE daemons write what they still have in memory.
    pub patience: u16,
}

/// With what killing takes less than Slurm's `UnkillableStepTimeout` (60 s by default), whose clock runs meanwhile where a step was
/// terminated, and which drains the node.
const PATIENCE: u16 = 45;

impl PluginArguments {
    /// Reads the arguments.
    ///
    /// # Errors
    /// An unknown argument, or a path that is not absolute.
    pub fn parse<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let mut found = Self { program: DEFAULT_PROGRAM.into(), config: SYSTEM_FILE.into(), patience: PATIENCE };
        for argument in arguments {
            match argument.split_once('=') {
                Some(("condatainer", path)) if path.starts_with('/') => found.program = path.into(),
                Some(("config", path)) if path.starts_with('/') => found.config = path.into(),
                Some(("patience", seconds)) if matches!(seconds.parse(), Ok(1_u16..=3600)) => {
                    found.patience = seconds.parse().unwrap_or(PATIENCE);
                }
                _ => {
                    return Err(format!(
                        "plugstack.conf: argument '{argument}' is wrong: as root, write condatainer=/PATH (the program), config=/PATH, or patience=SECONDS (1 to 3600)"
                    ));
                }
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments() {
        let parsed = PluginArguments::parse(["condatainer=/opt/c", "config=/etc/c.toml", "patience=120"]).unwrap();
        assert_eq!(parsed, PluginArguments { program: "/opt/c".into(), config: "/etc/c.toml".into(), patience: 120 });
        assert_eq!(PluginArguments::parse([]).unwrap().config, PathBuf::from(SYSTEM_FILE));
        for wrong in ["condatainer=bin/c", "conf=/x", "x", "patience=0", "patience=3601", "patience=1m"] {
            assert!(PluginArguments::parse([wrong]).unwrap_err().contains(wrong));
        }
    }
}
