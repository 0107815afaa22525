//! A desk: a directory of a user on a cluster, and the commands typed there.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use cluster::{Cluster, Command, Job, Output, Release};

/// A command or a job that takes longer hangs. No machine is as slow as that.
const LIMIT: Duration = Duration::from_secs(240);

/// What srun says while Slurm has not yet done with the step before; by the speed of the machine it does, or does not.
const WAITING: [&str; 3] =
    ["step creation temporarily disabled, retrying", "step creation still disabled", "Step created for "];

/// See the module.
pub(crate) struct Desk<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) release: Release,
    user: &'static str,
    /// Who mounts the layers of what is started here, where that is not the site's choice.
    mounts: Option<&'static str>,
    /// The directory, as the user names it.
    pub(crate) dir: String,
}

impl<'a> Desk<'a> {
    /// A new empty directory of alice's, named after the test.
    pub(crate) fn new(cluster: &'a Cluster, release: Release, test: &str) -> Result<Self> {
        let desk = Self { cluster, release, user: "alice", mounts: None, dir: format!("/home/alice/{test}") };
        desk.make()
    }

    /// A desk of another user beside this one.
    pub(crate) fn of(&self, user: &'static str) -> Result<Self> {
        let name = self.dir.rsplit('/').next().unwrap_or_default();
        Self { user, dir: format!("/home/{user}/{name}"), ..*self }.make()
    }

    /// The same desk, where these mount the layers: `own` or `engine`.
    pub(crate) fn with_mounts(&self, mounts: &'static str) -> Self {
        Self { mounts: Some(mounts), dir: self.dir.clone(), ..*self }
    }

    /// Whether we mount the layers of what is started here: so on the newest release, where nobody says otherwise.
    pub(crate) fn we_mount(&self) -> bool {
        self.mounts.map_or(self.release == Release::Sid, |mounts| mounts == "own")
    }

    fn make(self) -> Result<Self> {
        self.cluster.make_directory(self.user, &self.dir)?;
        Ok(self)
    }

    /// A command to be typed here.
    pub(crate) fn command(&self) -> Command<'a> {
        let command = self.cluster.command(self.user).cwd(&self.dir).timeout(LIMIT);
        match self.mounts {
            Some(mounts) => command.env("CONDATAINER_MOUNTS", mounts),
            None => command,
        }
    }

    /// A command with its arguments.
    pub(crate) fn run(&self, argv: &[&str]) -> Result<Output> {
        self.command().run(argv)
    }

    /// A bash text.
    pub(crate) fn script(&self, text: &str) -> Result<Output> {
        self.command().script(text)
    }

    /// `srun` with `--condatainer-overlay=LAYERS` and a shell command.
    pub(crate) fn srun_in(&self, layers: &str, shell: &str) -> Result<Output> {
        self.srun(&[&format!("--condatainer-overlay={layers}"), "sh", "-c", shell])
    }

    /// `condatainer exec` with these options and a shell command.
    pub(crate) fn exec(&self, options: &[&str], shell: &str) -> Result<Output> {
        self.run(&[&["condatainer", "exec"], options, &["--", "sh", "-c", shell]].concat())
    }

    /// `srun` with these arguments.
    pub(crate) fn srun(&self, arguments: &[&str]) -> Result<Output> {
        self.run(&[&["srun"], arguments].concat())
    }

    /// A batch job of this text: how it ended, and what it wrote.
    pub(crate) fn batch(&self, arguments: &[&str], script: &str) -> Result<(Job, String)> {
        let id = self.submit(arguments, script)?;
        let job = self.job_ends(id)?;
        Ok((job, self.output_of(id)?))
    }

    /// Waits until a job has ended.
    pub(crate) fn job_ends(&self, id: u32) -> Result<Job> {
        self.cluster.wait_for_job(id, LIMIT)
    }

    /// Submits a batch job of this text; its output goes to `ID.out`.
    pub(crate) fn submit(&self, arguments: &[&str], script: &str) -> Result<u32> {
        self.write("job.sh", script)?;
        let output = format!("{}/%j.out", self.dir);
        let submit = [&["sbatch", "--parsable", "-o", &output], arguments, &["job.sh"]].concat();
        let output = self.run(&submit)?.success()?;
        output.stdout.trim().parse().with_context(|| format!("sbatch said {:?}", output.stdout))
    }

    /// What a batch job has written so far, without Slurm's own words about waiting.
    pub(crate) fn output_of(&self, id: u32) -> Result<String> {
        self.written(&format!("{id}.out"))
    }

    /// The same of a job whose output has another name.
    pub(crate) fn written(&self, name: &str) -> Result<String> {
        let file = self.path(name);
        let text = self.cluster.act(self.user, || Ok(fs::read(&file).unwrap_or_default()))?;
        let text = String::from_utf8_lossy(&text);
        let is_waiting = |line: &str| line.starts_with("srun: ") && WAITING.iter().any(|words| line.contains(words));
        Ok(text.split_inclusive('\n').filter(|line| !is_waiting(line)).collect())
    }

    /// Writes an executable text.
    pub(crate) fn write(&self, name: &str, text: &str) -> Result<()> {
        self.cluster.write_file(self.user, &self.path(name), text, 0o755)
    }

    /// The absolute path of a file here.
    pub(crate) fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.dir)
    }

    /// The same file, as the host names it.
    pub(crate) fn on_host(&self, name: &str) -> PathBuf {
        self.cluster.host_path(&self.path(name))
    }

    /// Runs a bash text as root, here.
    pub(crate) fn as_root(&self, text: &str) -> Result<Output> {
        self.cluster.command("root").cwd(&self.dir).timeout(LIMIT).script(text)
    }

    /// Polls a bash text of the user's until it succeeds: thirty times a second at first, five times when it takes longer. It pauses in
    /// a read of what never comes: a sleep(1) for each pause would cost more than many a question.
    pub(crate) fn wait_until(&self, text: &str) -> Result<()> {
        let waiting = format!(
            "exec 9<> <(:); ms=30; while [ $SECONDS -lt 120 ]; do {{ {text}; }} 9>&- > /dev/null 2>&1 && exit
            printf -v pause 0.%03d $ms; read -rt $pause -u 9; ms=$((ms < 200 ? ms * 5 / 4 : ms)); done; exit 1"
        );
        self.script(&waiting)?.success().with_context(|| format!("waited in vain for: {text}")).map(drop)
    }

    /// Ends what a test that failed has left running, here and at the desks of other users: it would be in the way of other tests.
    pub(crate) fn cancel_jobs(&self) {
        let name = self.dir.rsplit('/').next().unwrap_or_default();
        let jobs = format!("squeue -h -o '%i %Z' | awk '$2 ~ \"/{name}(/|$)\" {{ print $1 }}' | xargs -r scancel");
        let _the_failure_is_told_already = self.as_root(&jobs);
    }

    /// The names of all files here.
    pub(crate) fn files(&self) -> Result<Vec<String>> {
        let name = |entry: std::io::Result<fs::DirEntry>| Ok(entry?.file_name().to_string_lossy().into_owned());
        let list = || fs::read_dir(&self.dir)?.map(name).collect::<Result<Vec<_>>>();
        let mut names = self.cluster.act(self.user, list)?;
        names.sort_unstable();
        Ok(names)
    }
}
