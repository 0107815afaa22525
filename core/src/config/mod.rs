//! The configuration: `/etc/condatainer/config.toml` of the site, then the user's own, then `CONDATAINER_…` variables.
//!
//! Unknown keys are errors, so that a misspelt key never silently does nothing. Keys of the site's `[fixed]` table win over
//! everything; where a program is found is decided by the site alone, since the plugin starts it for every user.
//!
//! `read` reads a file into `settings`. [`Config`] keeps the settings of each source and decides. [`Origin`] tells messages which source
//! decided. [`Key`] serves `condatainer config`, and `value` has those values that are words.

mod error;
mod in_force;
mod keys;
mod lines;
mod origin;
mod read;
mod settings;
mod source;
mod user_dirs;
mod value;

pub use error::ConfigError;
pub use in_force::{Config, Given};
pub use keys::Key;
pub use origin::Origin;
pub(crate) use origin::drop_option;
pub use settings::OVERLAY_VARIABLE;
pub use source::Source;
pub use user_dirs::user_file;
pub(crate) use user_dirs::xdg_dir;
pub use value::log::Log;
pub use value::mounts::Mounts;
pub use value::policy::Policy;
pub use value::scratch::{Scratch, parse_size};
pub use value::wait::Wait;

/// Where the site's configuration lies unless plugstack.conf says otherwise: `make SYSCONFDIR=DIR` names another directory.
pub const SYSTEM_FILE: &str = match option_env!("CONDATAINER_SYSTEM_FILE") {
    Some(file) => file,
    None => "/etc/condatainer/config.toml",
};
/// The program that is put in front of tasks unless plugstack.conf names another.
pub const DEFAULT_PROGRAM: &str = "/usr/local/bin/condatainer";
