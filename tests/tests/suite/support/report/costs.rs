//! What the tests cost: by theme on the screen and by test in a file, so that whoever finds the suite slow sees where. Seconds by the clock
//! say who waits; processor seconds say who works, and can be told from each other's only where one trial runs at a time
//! (`--test-threads=1`).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use cluster::processor_time;

/// How many themes are told on the screen.
const DEAREST: usize = 12;

/// What one trial took.
struct Cost {
    trial: String,
    clock: Duration,
    /// Of its processes and those of the shared clusters meanwhile; known where no other trial ran.
    processor: Duration,
}

/// See the module.
pub(crate) struct Costs {
    trials: Mutex<Vec<Cost>>,
    one_at_a_time: bool,
}

impl Costs {
    pub(crate) fn new(one_at_a_time: bool) -> Self {
        Self { trials: Mutex::default(), one_at_a_time }
    }

    /// Does this, and notes what the trial of this name (`RELEASE::THEME::test`) took.
    pub(crate) fn of<T>(&self, trial: &str, run: impl FnOnce() -> T) -> T {
        let used = || if self.one_at_a_time { processor_time() } else { Duration::ZERO };
        let (start, before) = (Instant::now(), used());
        let result = run();
        let cost = Cost { trial: trial.into(), clock: start.elapsed(), processor: used().saturating_sub(before) };
        self.trials.lock().unwrap_or_else(PoisonError::into_inner).push(cost);
        result
    }

    /// Prints the dearest themes; by the clock several trials run at once.
    pub(crate) fn report(&self) {
        let mut trials = self.trials.lock().unwrap_or_else(PoisonError::into_inner);
        let what = |cost: &Cost| if self.one_at_a_time { cost.processor } else { cost.clock };
        trials.sort_by_key(|cost| std::cmp::Reverse(what(cost)));
        let mut by_theme: BTreeMap<&str, Duration> = BTreeMap::new();
        let mut by_test = String::from("seconds, processor seconds (where one trial ran at a time), trial\n");
        for cost in &*trials {
            *by_theme.entry(cost.trial.split("::").nth(1).unwrap_or_default()).or_default() += what(cost);
            let (clock, processor) = (cost.clock.as_secs_f64(), cost.processor.as_secs_f64());
            let _ = writeln!(by_test, "{clock:7.1} {processor:7.2} {}", cost.trial);
        }
        let all: Duration = by_theme.values().sum();
        let mut themes: Vec<(&str, Duration)> = by_theme.into_iter().collect();
        themes.sort_by_key(|(_, cost)| std::cmp::Reverse(*cost));
        let told: Vec<String> =
            themes.iter().take(DEAREST).map(|(theme, cost)| format!("{theme} {}", cost.as_secs())).collect();
        let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("costs.txt");
        let place = fs::write(&file, by_test).map_or_else(|error| error.to_string(), |()| file.display().to_string());
        println!(
            "\nprocessor seconds of this run: {}; {}seconds of all trials together: {}; the dearest themes: {}; each test: {place}",
            processor_time().as_secs(),
            if self.one_at_a_time { "processor " } else { "" },
            all.as_secs(),
            told.join(", ")
        );
    }
}
