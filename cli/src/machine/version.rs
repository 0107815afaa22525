//! `condatainer --version`: which condatainer this is, which configuration it reads, and which engine it starts.

use std::path::Path;

use condatainer_core::config::{Config, SYSTEM_FILE};
use condatainer_core::doctor;
use condatainer_images::system::escape::one_line;

use crate::say::failure::Failure;
use crate::say::print;

/// Prints it. A machine without an engine, or with a bad configuration, has a version all the same.
pub(crate) fn print() -> Result<(), Failure> {
    let config = Config::system(Path::new(SYSTEM_FILE)).unwrap_or_default();
    let engine = one_line(&doctor::engine_in_words(&config));
    print::text(&format!(
        "condatainer {} (commit {})\nconfiguration: {SYSTEM_FILE}\nengine: {engine}",
        env!("CARGO_PKG_VERSION"),
        env!("CONDATAINER_COMMIT")
    ))
}
