//! A batch job and how it ended. `sbatch --wait` looks every ten seconds only. This asks when slurmctld has written about the job to its
//! log, which costs nothing to look at, and now and then without that: what asks all the time takes the processor from the jobs that it
//! waits for.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::slurm::cluster::Cluster;

/// Between two looks at the log.
const PAUSE: Duration = Duration::from_millis(20);
/// After a word about the job: what it says may come true a little later.
const SOON: Duration = Duration::from_millis(150);
/// Without a word about it.
const LATE: Duration = Duration::from_millis(1000);

/// A batch job that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Slurm's number.
    pub id: u32,
    /// Slurm's word for how it ended: `COMPLETED`, `FAILED`, `CANCELLED`, `TIMEOUT`, …
    pub state: String,
    /// The exit code of the batch script.
    pub code: i32,
    /// The signal that ended the batch script, or 0.
    pub signal: i32,
}

impl Cluster {
    /// Submits with sbatch, from the user's home, and waits until the job has ended, at most two minutes.
    ///
    /// # Errors
    /// When sbatch fails (with what it said) or the job does not end.
    pub fn sbatch(&self, user: &str, arguments: &[&str]) -> Result<Job> {
        let output = self.exec(user, &[&["sbatch", "--parsable"], arguments].concat())?.success()?;
        let id = output.stdout.trim().parse().with_context(|| format!("sbatch said {:?}", output.stdout))?;
        self.wait_for_job(id, Duration::from_secs(120))
    }

    /// Waits until a job has ended.
    ///
    /// # Errors
    /// When there is no such job or the time is up.
    pub fn wait_for_job(&self, id: u32, limit: Duration) -> Result<Job> {
        let start = Instant::now();
        let mut log = LogTail::of(self.controller_log(), &format!("JobId={id}"));
        loop {
            let output = self.root_exec(&["scontrol", "--oneliner", "show", "job", &id.to_string()])?.success()?;
            let job = parse(id, &output.stdout).with_context(|| format!("scontrol said {:?}", output.stdout))?;
            if !["PENDING", "CONFIGURING", "RUNNING", "COMPLETING", "SUSPENDED"].contains(&job.state.as_str()) {
                return Ok(job);
            }
            ensure!(start.elapsed() < limit, "job {id} is still {} after {} s", job.state, limit.as_secs());
            log.wait_for_a_word();
        }
    }
}

/// The end of a log that grows, read for a word about something.
struct LogTail {
    file: PathBuf,
    word: String,
    read: u64,
    /// Whether it had one when it was asked last.
    had_one: bool,
}

impl LogTail {
    /// From here on.
    fn of(file: PathBuf, word: &str) -> Self {
        let read = file.metadata().map_or(0, |meta| meta.len());
        Self { file, word: word.to_owned(), read, had_one: true }
    }

    /// Waits until there is a word about it, or for as long as nobody should wait without having asked.
    fn wait_for_a_word(&mut self) {
        let start = Instant::now();
        let longest = if self.had_one { SOON } else { LATE };
        self.had_one = false;
        while !self.had_one && start.elapsed() < longest {
            sleep(PAUSE);
            self.had_one = self.has_one();
        }
    }

    fn has_one(&mut self) -> bool {
        let mut text = Vec::new();
        let read = File::open(&self.file).and_then(|mut file| {
            file.seek(SeekFrom::Start(self.read))?;
            file.read_to_end(&mut text)
        });
        // Half a line is read once more with its other half.
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        self.read += whole as u64;
        let is_about_it =
            |word: &str| word.strip_prefix(&self.word).is_some_and(|rest| !rest.starts_with(char::is_numeric));
        read.is_ok() && String::from_utf8_lossy(&text[..whole]).split_whitespace().any(is_about_it)
    }
}

fn parse(id: u32, text: &str) -> Option<Job> {
    let field = |name: &str| text.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
    let (code, signal) = field("ExitCode")?.split_once(':')?;
    Some(Job { id, state: field("JobState")?.to_owned(), code: code.parse().ok()?, signal: signal.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_in_the_log_ends_the_wait() {
        let file = std::env::temp_dir().join(format!("cluster-log-test-{}", std::process::id()));
        std::fs::write(&file, "JobId=3 of before\n").unwrap();
        let mut log = LogTail::of(file.clone(), "JobId=3");
        let mut say = |text: &str| {
            let before = std::fs::read_to_string(&file).unwrap();
            std::fs::write(&file, before + text).unwrap();
            log.has_one()
        };
        assert!(!say("JobId=33 done\n"));
        assert!(!say("_job_complete: JobId="));
        assert!(say("3 done\nmore"));
        assert!(!say("\n"));
        std::fs::remove_file(&file).unwrap();
    }

    #[test]
    fn the_line_of_scontrol_is_read() {
        let job =
            parse(3, "JobId=3 JobName=w JobState=FAILED Reason=NonZeroExitCode ExitCode=7:0 DerivedExitCode=0:0\n");
        assert_eq!(job, Some(Job { id: 3, state: "FAILED".to_owned(), code: 7, signal: 0 }));
    }
}
