//! A progress bar on a terminal; nothing when stderr is piped, and with `-q`.

use std::cell::OnceCell;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::lines::is_quiet;
use condatainer_images::system::escape::one_line;

/// One piece of long work.
#[derive(Debug)]
pub(crate) struct Progress {
    template: String,
    bar: OnceCell<ProgressBar>,
}

/// How often a spinner turns.
const TICK: Duration = Duration::from_millis(100);

impl Progress {
    /// Nothing is drawn until the amount of work is known.
    pub(crate) fn new(unit: &'static str) -> Self {
        Self { template: format!("{{wide_bar}} {{human_pos}}/{{human_len}} {unit}"), bar: OnceCell::new() }
    }

    /// As [`Self::new`], for bytes.
    pub(crate) fn bytes() -> Self {
        Self { template: "{wide_bar} {binary_bytes}/{binary_total_bytes}".into(), bar: OnceCell::new() }
    }

    /// `done` of `total` units.
    pub(crate) fn at(&self, done: u64, total: u64) {
        let bar = self.bar.get_or_init(|| self.bar(total));
        bar.set_length(total);
        bar.set_position(done);
    }

    /// Work of an unknown amount: a spinner with what is being done.
    pub(crate) fn spin(&self, what: &str) {
        let bar = self.bar.get_or_init(|| {
            let bar = self.bar(0);
            bar.set_style(spinner());
            bar.enable_steady_tick(TICK);
            bar
        });
        bar.set_message(one_line(what));
    }

    /// Takes the bar away; what was done is said in words.
    pub(crate) fn finish(&self) {
        if let Some(bar) = self.bar.get() {
            bar.finish_and_clear();
        }
    }

    /// From a spinner to a bar, when the amount is known.
    pub(crate) fn measure(&self) {
        if let Some(bar) = self.bar.get() {
            bar.disable_steady_tick();
            bar.set_style(self.style());
        }
    }

    fn style(&self) -> ProgressStyle {
        ProgressStyle::with_template(&self.template).unwrap_or_else(|_| ProgressStyle::default_bar())
    }

    fn bar(&self, total: u64) -> ProgressBar {
        let target = if is_quiet() { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let bar = ProgressBar::with_draw_target(Some(total), target);
        bar.set_style(self.style());
        bar
    }
}

fn spinner() -> ProgressStyle {
    ProgressStyle::with_template("{spinner} {wide_msg}").unwrap_or_else(|_| ProgressStyle::default_spinner())
}
