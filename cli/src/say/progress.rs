//! What is going on, how far it is and how long it will take: a line on a terminal; nothing when stderr is piped, and with `-q`.
//!
//! A bar stands where the amount of work is known. Where it is not, and for what comes after the last byte (a tool's own rest, a slow
//! disk), a spinner says what is waited for and for how long.

use std::cell::{Cell, OnceCell};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::lines::is_quiet;
use condatainer_images::system::escape::one_line;

/// One piece of long work.
#[derive(Debug)]
pub(crate) struct Progress {
    what: String,
    unit: Unit,
    /// What is still done when nothing is left to be counted.
    rest: &'static str,
    bar: OnceCell<ProgressBar>,
    is_measured: Cell<bool>,
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    Bytes,
    Percent,
    Files,
}

/// How often a spinner turns.
const TICK: Duration = Duration::from_millis(100);

impl Progress {
    /// Nothing is drawn until there is something to say of it.
    pub(crate) fn new(what: impl Into<String>, unit: Unit, rest: &'static str) -> Self {
        Self { what: one_line(&what.into()), unit, rest, bar: OnceCell::new(), is_measured: Cell::new(false) }
    }

    /// `done` of `total` units.
    pub(crate) fn at(&self, done: u64, total: u64) {
        if done >= total {
            return self.spin(self.rest);
        }
        let bar = self.bar();
        if !self.is_measured.replace(true) {
            bar.disable_steady_tick();
            bar.set_length(total);
            bar.set_prefix(self.what.clone());
            bar.set_style(measured(self.unit));
            bar.reset();
        }
        bar.set_length(total);
        bar.set_position(done);
    }

    /// Work of an unknown amount: a spinner with what is being done.
    pub(crate) fn spin(&self, doing: &str) {
        let bar = self.bar();
        if self.is_measured.replace(false) || bar.prefix().is_empty() {
            bar.set_prefix(self.what.clone());
            bar.set_message(one_line(doing));
            bar.set_style(spinner());
            bar.enable_steady_tick(TICK);
        }
        bar.set_message(one_line(doing));
        bar.tick();
    }

    /// Takes it away; what was done is said in words.
    pub(crate) fn finish(&self) {
        if let Some(bar) = self.bar.get() {
            bar.finish_and_clear();
        }
    }

    fn bar(&self) -> &ProgressBar {
        self.bar.get_or_init(|| {
            let target = if is_quiet() { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
            ProgressBar::with_draw_target(Some(0), target)
        })
    }
}

fn measured(unit: Unit) -> ProgressStyle {
    let count = match unit {
        Unit::Bytes => "{binary_bytes} of {binary_total_bytes}",
        Unit::Percent => "{percent} %",
        Unit::Files => "{human_pos} of {human_len} files",
    };
    style(&format!("{{prefix}} {{wide_bar}} {count}, {{eta}} left"))
}

fn spinner() -> ProgressStyle {
    style("{spinner} {prefix}: {wide_msg} {elapsed}")
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
