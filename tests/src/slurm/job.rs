//! A batch job and how it ended. `sbatch --wait` looks every ten seconds only; this looks often, and less so the longer it takes:
//! what asks all the time takes the processor from the jobs that it waits for.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::slurm::cluster::Cluster;

const FIRST_PAUSE: Duration = Duration::from_millis(30);
const LONGEST_PAUSE: Duration = Duration::from_millis(300);

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
        let mut pause = FIRST_PAUSE;
        loop {
            let output = self.root_exec(&["scontrol", "--oneliner", "show", "job", &id.to_string()])?.success()?;
            let job = parse(id, &output.stdout).with_context(|| format!("scontrol said {:?}", output.stdout))?;
            if !["PENDING", "CONFIGURING", "RUNNING", "COMPLETING", "SUSPENDED"].contains(&job.state.as_str()) {
                return Ok(job);
            }
            ensure!(start.elapsed() < limit, "job {id} is still {} after {} s", job.state, limit.as_secs());
            sleep(pause);
            pause = (pause * 5 / 4).min(LONGEST_PAUSE);
        }
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
    fn the_line_of_scontrol_is_read() {
        let job =
            parse(3, "JobId=3 JobName=w JobState=FAILED Reason=NonZeroExitCode ExitCode=7:0 DerivedExitCode=0:0\n");
        assert_eq!(job, Some(Job { id: 3, state: "FAILED".to_owned(), code: 7, signal: 0 }));
    }
}
