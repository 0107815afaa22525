//! A progress bar on a terminal; nothing when stderr is piped, and with `-q`.

use std::cell::OnceCell;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::say;

/// One piece of long work.
#[derive(Debug)]
pub(crate) struct Progress {
    unit: &'static str,
    bar: OnceCell<ProgressBar>,
}

impl Progress {
    /// Nothing is drawn until the amount of work is known.
    pub(crate) fn new(unit: &'static str) -> Self {
        Self { unit, bar: OnceCell::new() }
    }

    /// `done` of `total` units.
    pub(crate) fn at(&self, done: u64, total: u64) {
        let bar = self.bar.get_or_init(|| self.bar(total));
        bar.set_length(total);
        bar.set_position(done);
    }

    /// Takes the bar away; what was done is said in words.
    pub(crate) fn finish(&self) {
        if let Some(bar) = self.bar.get() {
            bar.finish_and_clear();
        }
    }

    fn bar(&self, total: u64) -> ProgressBar {
        let target = if say::is_quiet() { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let bar = ProgressBar::with_draw_target(Some(total), target);
        let template = format!("{{wide_bar}} {{human_pos}}/{{human_len}} {}", self.unit);
        bar.set_style(ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar
    }
}
