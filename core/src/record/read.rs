//! Finds what the record says about a job or an image.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::fs::{CWD, Mode, OFlags, openat};
use serde::{Deserialize, Serialize};

use super::entry::{End, Entry, Start};
use crate::config::Log;

/// What is read of one file: its end.
const LARGEST: u64 = 64 << 20;

/// A container, from its start to its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Container {
    /// Its start.
    pub start: Start,
    /// Its end; none while it runs, and where the process that would have noted it was killed.
    pub end: Option<End>,
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// A job, or a part of an array; and perhaps one of its steps.
    Job(String, Option<String>),
    /// A base or a layer, by its path without links, and by its uuid where it has one.
    Image(PathBuf, Option<String>),
}

impl Question {
    fn is_answered_by(&self, start: &Start) -> bool {
        match self {
            Self::Job(job, step) => {
                let head = &start.head;
                let is_job = head.job.as_ref() == Some(job) || head.array.as_ref() == Some(job);
                is_job && step.as_ref().is_none_or(|step| head.step.as_ref() == Some(step))
            }
            Self::Image(path, uuid) => start.layers.iter().chain([&start.base]).any(|file| {
                let real = || file.path.canonicalize().is_ok_and(|real| real == *path);
                file.path == *path || (uuid.is_some() && file.uuid == *uuid) || real()
            }),
        }
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Lines there prove nothing.
    #[error(
        "log = syslog: anyone can write lines to the system's log, so none is read from there: search it for 'condatainer'"
    )]
    Syslog,
    /// It cannot be read.
    #[error("{what}: {source}")]
    Unreadable {
        /// Directory or program.
        what: String,
        /// The system's reason.
        source: io::Error,
    },
}

/// The containers that a question is about, oldest first: of `uid` alone, or of everybody for root.
///
/// # Errors
/// The record cannot be read.
pub fn containers(log: &Log, question: &Question, uid: u32) -> Result<Vec<Container>, RecordError> {
    let mut found = Found::new(question);
    match log {
        Log::Syslog => return Err(RecordError::Syslog),
        Log::Journal => journal(&mut found, uid)?,
        Log::Directory(directory) => of_directory(directory, &mut found, uid)?,
    }
    let mut containers: Vec<Container> = found.containers.into_values().collect();
    containers.sort_by(|a, b| (&a.start.head.time, &a.start.head.id).cmp(&(&b.start.head.time, &b.start.head.id)));
    Ok(containers)
}

struct Found<'a> {
    question: &'a Question,
    /// By user and container: nobody adds to another's.
    containers: BTreeMap<(u32, String), Container>,
}

impl<'a> Found<'a> {
    fn new(question: &'a Question) -> Self {
        Self { question, containers: BTreeMap::new() }
    }

    /// Takes a line that this user has written. One about somebody else is a lie.
    fn take(&mut self, line: &[u8], owner: u32) {
        let Ok(entry) = serde_json::from_slice::<Entry>(line) else { return };
        if entry.head().uid != owner {
            return;
        }
        let key = (owner, entry.head().id.clone());
        match entry {
            Entry::Start(start) if self.question.is_answered_by(&start) => {
                self.containers.entry(key).or_insert(Container { start, end: None });
            }
            Entry::Start(_) => {}
            Entry::End(end) => {
                if let Some(container) = self.containers.get_mut(&key) {
                    container.end.get_or_insert(end);
                }
            }
        }
    }
}

fn of_directory(path: &Path, found: &mut Found<'_>, uid: u32) -> Result<(), RecordError> {
    let unreadable = |source: io::Error| RecordError::Unreadable { what: path.display().to_string(), source };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = openat(CWD, path, flags, Mode::empty()).map_err(|errno| unreadable(errno.into()))?;
    for entry in rustix::fs::Dir::read_from(&directory).map_err(|errno| unreadable(errno.into()))?.flatten() {
        let Ok(name) = entry.file_name().to_str().map(String::from) else { continue };
        let Some(owner) = owner_of(&name).filter(|owner| uid == 0 || *owner == uid) else { continue };
        // A file that is gone, or none of his.
        let _ = of_file(&directory, &name, owner, found);
    }
    Ok(())
}

/// Whose file it is, by its name.
fn owner_of(name: &str) -> Option<u32> {
    name.strip_suffix(".jsonl")?.split_once('.')?.0.parse().ok()
}

fn of_file(directory: impl std::os::fd::AsFd, name: &str, owner: u32, found: &mut Found<'_>) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let mut file = File::from(openat(directory, name, flags, Mode::empty())?);
    let meta = file.metadata()?;
    if !meta.is_file() || meta.uid() != owner {
        return Ok(());
    }
    file.seek(SeekFrom::Start(meta.size().saturating_sub(LARGEST)))?;
    lines(file.take(LARGEST), |line| found.take(line, owner))
}

fn lines(reader: impl Read, mut each: impl FnMut(&[u8])) -> io::Result<()> {
    let mut reader = BufReader::new(reader);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line)? > 0 {
        each(&line);
        line.clear();
    }
    Ok(())
}

/// One entry of the journal: journald itself writes whose it is.
#[derive(Deserialize)]
struct Journaled {
    #[serde(rename = "MESSAGE")]
    message: String,
    #[serde(rename = "_UID")]
    uid: String,
}

fn journal(found: &mut Found<'_>, uid: u32) -> Result<(), RecordError> {
    let unreadable = |source| RecordError::Unreadable { what: "journalctl".into(), source };
    let mut command = Command::new("journalctl");
    command.args(["--quiet", "--no-pager", "--output=json", "--identifier=condatainer"]);
    if uid != 0 {
        command.arg(format!("_UID={uid}"));
    }
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().map_err(unreadable)?;
    if let Some(output) = child.stdout.take() {
        lines(output, |line| journaled(line, found)).map_err(unreadable)?;
    }
    child.wait().map_err(unreadable).map(drop)
}

fn journaled(line: &[u8], found: &mut Found<'_>) {
    if let Ok(entry) = serde_json::from_slice::<Journaled>(line)
        && let Ok(uid) = entry.uid.parse()
    {
        found.take(entry.message.as_bytes(), uid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn start(uid: u32, id: &str, job: &str) -> String {
        format!(
            r#"{{"event":"start","v":1,"id":"{id}","time":"2026-01-01T00:00:00Z","user":"u","uid":{uid},"host":"n1","job":"{job}","array":"5_3","step":"0",
            "base":{{"path":"/b.sif"}},"layers":[{{"path":"/e.img","mode":"ro","uuid":"u-1"}}],"tmp":false,"fakeroot":false,"mounts":"condatainer","engine":"/usr/bin/apptainer"}}"#
        )
        .replace('\n', "")
    }

    fn end(uid: u32, id: &str) -> String {
        format!(
            r#"{{"event":"end","v":1,"id":"{id}","time":"2026-01-01T00:01:00Z","user":"u","uid":{uid},"host":"n1","exit":7,"written":"kept"}}"#
        )
    }

    fn job(job: &str, step: Option<&str>) -> Question {
        Question::Job(job.into(), step.map(String::from))
    }

    #[test]
    fn lines_are_found_by_job_and_by_image() {
        let image = |path: &str, uuid: Option<&str>| Question::Image(path.into(), uuid.map(String::from));
        for (question, is_found) in [
            (job("7", None), true),
            (job("7", Some("0")), true),
            (job("7", Some("batch")), false),
            (job("5_3", None), true),
            (job("8", None), false),
            (image("/e.img", None), true),
            (image("/b.sif", None), true),
            (image("/moved.img", Some("u-1")), true),
            (image("/moved.img", None), false),
        ] {
            let mut found = Found::new(&question);
            for line in [start(1, "a", "7"), end(1, "a"), "{}".into(), "no JSON".into()] {
                found.take(line.as_bytes(), 1);
            }
            assert_eq!(found.containers.len(), usize::from(is_found), "{question:?}");
            assert!(found.containers.values().all(|one| one.end.as_ref().unwrap().exit == Some(7)));
        }
    }

    #[test]
    fn what_somebody_says_of_others_counts_nothing() {
        let question = job("7", None);
        let mut found = Found::new(&question);
        found.take(start(1, "a", "7").as_bytes(), 2);
        assert!(found.containers.is_empty());
        found.take(start(1, "a", "7").as_bytes(), 1);
        found.take(end(2, "a").as_bytes(), 2);
        assert_eq!(found.containers[&(1, "a".to_owned())].end, None);
        let entry = |uid: &str| serde_json::json!({"MESSAGE": start(3, "b", "7"), "_UID": uid}).to_string();
        journaled(entry("4").as_bytes(), &mut found);
        assert_eq!(found.containers.len(), 1);
        journaled(entry("3").as_bytes(), &mut found);
        assert_eq!(found.containers.len(), 2);
    }

    /// As root, for only root can make files of others.
    #[test]
    fn a_file_counts_for_its_owner() {
        let dir = tempfile::tempdir().unwrap();
        let me = nix::unistd::geteuid().as_raw();
        let log = Log::Directory(dir.path().into());
        let write = |name: String, text: String| fs::write(dir.path().join(name), text + "\n").unwrap();
        write(format!("{me}.n1.jsonl"), start(me, "a", "7"));
        write("54321.n1.jsonl".into(), start(54321, "b", "7"));
        write("notes".into(), start(me, "c", "7"));
        std::os::unix::fs::symlink("notes", dir.path().join(format!("{me}.n2.jsonl"))).unwrap();
        nix::unistd::mkfifo(&dir.path().join(format!("{me}.n3.jsonl")), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let found = containers(&log, &job("7", None), me).unwrap();
        assert_eq!(found.iter().map(|one| one.start.head.id.as_str()).collect::<Vec<_>>(), ["a"]);
        assert!(containers(&Log::Syslog, &job("7", None), me).is_err());
        let none = containers(&Log::Directory("/no/such".into()), &job("7", None), me).unwrap_err();
        assert!(none.to_string().starts_with("/no/such: "));
    }
}
