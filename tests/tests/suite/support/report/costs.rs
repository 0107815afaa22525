//! What the tests cost: seconds, by theme on the screen and by test in a file, so that whoever finds the suite slow sees where.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How many themes are told on the screen.
const DEAREST: usize = 12;

/// See the module.
#[derive(Default)]
pub(crate) struct Costs(Mutex<Vec<(String, Duration)>>);

impl Costs {
    /// Does this, and notes how long the trial of this name (`RELEASE::THEME::test`) took.
    pub(crate) fn of<T>(&self, trial: &str, run: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = run();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((trial.into(), start.elapsed()));
        result
    }

    /// Prints the dearest themes, the seconds of all their trials together; several trials run at once.
    pub(crate) fn report(&self) {
        let mut trials = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        trials.sort_by_key(|(_, cost)| std::cmp::Reverse(*cost));
        let mut by_theme: BTreeMap<&str, Duration> = BTreeMap::new();
        let mut by_test = String::new();
        for (trial, cost) in &*trials {
            *by_theme.entry(trial.split("::").nth(1).unwrap_or_default()).or_default() += *cost;
            let _ = writeln!(by_test, "{:7.1} {trial}", cost.as_secs_f64());
        }
        let all: Duration = by_theme.values().sum();
        let mut themes: Vec<(&str, Duration)> = by_theme.into_iter().collect();
        themes.sort_by_key(|(_, cost)| std::cmp::Reverse(*cost));
        let told: Vec<String> =
            themes.iter().take(DEAREST).map(|(theme, cost)| format!("{theme} {}", cost.as_secs())).collect();
        let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("costs.txt");
        let place = fs::write(&file, by_test).map_or_else(|error| error.to_string(), |()| file.display().to_string());
        println!(
            "\nseconds of all trials together: {}; the dearest themes: {}; each test: {place}",
            all.as_secs(),
            told.join(", ")
        );
    }
}
