//! What failed, said once more as the last thing: whoever reads the end of a long log finds it there.

use std::sync::{Mutex, PoisonError};

/// See the module.
#[derive(Default)]
pub(crate) struct Failures(Mutex<Vec<String>>);

impl Failures {
    /// Keeps an error for the end; it is handed on as the text of the test's own report.
    pub(crate) fn note(&self, test: &str, error: &anyhow::Error) -> String {
        let text = format!("{error:#}");
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{test}: {text}"));
        text
    }

    /// Prints them.
    pub(crate) fn report(&self) {
        for failure in &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            println!("failed: {failure}\n");
        }
    }
}
