//! Proofs of what becomes the command and in which environment, in containers that are made up.

use std::cell::RefCell;

use super::*;

#[path = "shell_tests.rs"]
mod shells;

/// A container: what is in it, and what the kernel says of the files that it does not execute.
#[derive(Default)]
struct Container {
    exists: &'static [&'static str],
    refuses: &'static [(&'static str, i32)],
    /// Its directories, by their inodes.
    directories: &'static [(&'static str, u64)],
    /// What was asked for: files, and whether they exist.
    asked: RefCell<Vec<String>>,
    /// How it was asked to execute the last one.
    last: RefCell<(Vec<Vec<u8>>, Variables)>,
    has_terminal: bool,
    /// How its files begin.
    heads: &'static [(&'static str, &'static str)],
    /// A path to the files that a zsh is to read.
    startup: Option<&'static str>,
    /// The text of the last file that it was asked for.
    document: RefCell<String>,
}

/// What stands for an exec that has not returned.
const EXECUTED: i32 = 0;
/// Of a file that was asked for.
const DESCRIPTOR: usize = 5;
/// What every command has for the shells that it may start.
const OF_SHELLS: [&[u8]; 2] = [b"CONDATAINER_PATH", b"PROMPT_COMMAND"];

impl Files for Container {
    fn exists(&self, path: &[u8]) -> bool {
        let path = str::from_utf8(path).unwrap();
        self.asked.borrow_mut().push(format!("{path}?"));
        self.exists.contains(&path)
    }
}

impl System for Container {
    fn enter(&self, directory: &[u8]) -> Result<Identity, i32> {
        let found = self.directories.iter().find(|(path, _)| path.as_bytes() == directory);
        found.map(|(_, inode)| (1, *inode)).ok_or(ENOENT)
    }

    fn ready(&self, arguments: &[Vec<u8>], variables: &Variables) -> impl Fn(&[u8]) -> i32 {
        self.last.replace((arguments.to_vec(), variables.clone()));
        |file| {
            let file = str::from_utf8(file).unwrap();
            self.asked.borrow_mut().push(file.into());
            let refusal = self.refuses.iter().find(|(refused, _)| *refused == file).map(|(_, errno)| *errno);
            refusal.unwrap_or(if self.exists.contains(&file) { EXECUTED } else { ENOENT })
        }
    }

    fn head(&self, path: &[u8]) -> Vec<u8> {
        let head = self.heads.iter().find(|(file, _)| file.as_bytes() == path);
        head.map(|(_, head)| head.as_bytes().to_vec()).unwrap_or_default()
    }

    fn has_terminal(&self) -> bool {
        self.has_terminal
    }

    fn document(&self, text: impl FnOnce(usize) -> Vec<u8>) -> Option<Vec<u8>> {
        self.document.replace(String::from_utf8(text(DESCRIPTOR)).unwrap());
        Some(b"/fd".to_vec())
    }

    fn startup(&self) -> Option<Vec<u8>> {
        self.startup.map(Vec::from)
    }
}

fn container(exists: &'static [&'static str], refuses: &'static [(&'static str, i32)]) -> Container {
    Container { exists, refuses, ..Container::default() }
}

fn job(words: &[&str]) -> Job {
    Job::parse(words.iter().map(|word| word.as_bytes().to_vec())).unwrap()
}

fn variables(assignments: &[&str]) -> Variables {
    assignments.iter().filter_map(|text| assignment(text.as_bytes())).collect()
}

/// What comes of a command in a container with this PATH, and the files that were tried.
fn outcome(container: &Container, path: &str, words: &[&str]) -> (i32, Vec<String>) {
    let errno = job(words).become_command(container, &variables(&[&format!("PATH={path}")]));
    let asked = container.asked.borrow();
    (errno, asked.iter().filter(|asked| !asked.ends_with('?')).cloned().collect())
}

/// The environment that a command gets, without what is for shells.
fn environment(container: &Container, words: &[&str], own: &[&str]) -> Variables {
    job(words).become_command(container, &variables(own));
    let mut environment = container.last.borrow().1.clone();
    assert_eq!(environment.get(OF_SHELLS[0]), environment.get(b"PATH".as_slice()).filter(|path| !path.is_empty()));
    environment.retain(|name, _| !OF_SHELLS.contains(&name.as_slice()));
    environment
}

#[test]
fn a_name_is_looked_for_in_every_directory_in_order() {
    let there = container(&["/b/true", "/c/true"], &[]);
    assert_eq!(outcome(&there, "/a:/b:/c", &["--", "true"]), (EXECUTED, vec!["/a/true".into(), "/b/true".into()]));
    assert_eq!(there.last.borrow().0, [b"true"]);
    let odd = container(&["/c/true"], &[("/a/true", ENOTDIR), ("./true", ESTALE)]);
    assert_eq!(outcome(&odd, "/a::/c", &["--", "true"]).1, ["/a/true", "./true", "/c/true"]);
    let nowhere = container(&[], &[]);
    assert_eq!(outcome(&nowhere, "/a:/b", &["--", "true"]).0, ENOENT);
    assert_eq!(outcome(&nowhere, "/a:/b", &["--", ""]).0, ENOENT);
}

#[test]
fn a_path_is_not_looked_for() {
    let there = container(&["/a/bin/true", "bin/true"], &[]);
    assert_eq!(outcome(&there, "/a", &["--", "bin/true", "x"]), (EXECUTED, vec!["bin/true".into()]));
    assert_eq!(there.last.borrow().0, [b"bin/true".as_slice(), b"x"]);
    let file = container(&[], &[("/etc/passwd/x", ENOTDIR)]);
    assert_eq!(outcome(&file, "/a", &["--", "/etc/passwd/x"]).0, ENOTDIR);
}

#[test]
fn a_refusal_is_only_the_answer_where_nothing_follows() {
    const NOT_MINE: &[(&str, i32)] = &[("/a/true", EACCES)];
    let (errno, tried) = outcome(&container(&["/a/true", "/b/true"], NOT_MINE), "/a:/b", &["--", "true"]);
    assert_eq!((errno, tried.len()), (EXECUTED, 2));
    assert_eq!(outcome(&container(&["/a/true"], NOT_MINE), "/a:/b", &["--", "true"]).0, EACCES);
    const TOO_LONG: i32 = 7;
    let (errno, tried) = outcome(&container(&["/b/true"], &[("/a/true", TOO_LONG)]), "/a:/b", &["--", "true"]);
    assert_eq!((errno, tried.len()), (TOO_LONG, 1));
}

#[test]
fn a_missing_interpreter_is_told_from_a_missing_file() {
    const BAD: &[(&str, i32)] = &[("/a/tool", ENOENT)];
    assert_eq!(outcome(&container(&["/a/tool"], BAD), "/x", &["--", "/a/tool"]).0, ELIBBAD);
    assert_eq!(outcome(&container(&["/a/tool"], BAD), "/a:/b", &["--", "tool"]).0, ELIBBAD);
    assert_eq!(outcome(&container(&["/a/tool", "/b/tool"], BAD), "/a:/b", &["--", "tool"]).0, EXECUTED);
}

#[test]
fn the_first_shell_that_is_there() {
    let both = container(&["/bin/bash", "/bin/sh"], &[]);
    assert_eq!(outcome(&both, "", &["--shell", "/bin/zsh", "--"]).1, ["/bin/zsh", "/bin/bash"]);
    assert_eq!(
        outcome(&container(&["/bin/sh"], &[]), "", &["--"]),
        (EXECUTED, vec!["/bin/bash".into(), "/bin/sh".into()])
    );
    assert_eq!(outcome(&container(&[], &[]), "", &["--"]).0, ENOENT);
}

#[test]
fn layers_come_before_the_container_in_the_path() {
    const WORKSPACE: &[&str] = &["/ext3/env/bin/", "/ext3/env/bin/python"];
    let words = ["--path", "/low", "--path", "/high", "--", "x"];
    let own = ["PATH=/usr/bin"];
    let with = container(WORKSPACE, &[]);
    let environment_of = |container: &Container| environment(container, &words, &own);
    let found = environment_of(&with);
    assert_eq!(found[b"PATH".as_slice()], b"/ext3/env/bin:/high:/low:/usr/bin");
    assert_eq!(found[b"CONDA_PREFIX".as_slice()], b"/ext3/env");
    assert_eq!(found[b"RETICULATE_PYTHON".as_slice()], b"/ext3/env/bin/python");
    assert_eq!(with.asked.borrow().iter().filter(|asked| *asked == "/ext3/env/bin/?").count(), 1);
    assert_eq!(environment_of(&container(&WORKSPACE[..1], &[])).get(b"RETICULATE_PYTHON".as_slice()), None);
    assert_eq!(environment_of(&container(&[], &[])), variables(&["PATH=/high:/low:/usr/bin"]));
    let announced = environment(&container(&[], &[]), &["--workspace", "--", "x"], &own);
    assert_eq!(announced, variables(&["PATH=/ext3/env/bin:/usr/bin"]));
}

#[test]
fn a_language_that_the_container_lacks() {
    let lang = |exists: &'static [&'static str], own: &[&str]| {
        environment(&container(exists, &[]), &["--", "x"], own).get(b"LC_ALL".as_slice()).cloned()
    };
    assert_eq!(lang(&[], &["LANG=de_DE.UTF-8"]), Some(b"C.UTF-8".to_vec()));
    assert_eq!(lang(&["/usr/lib/locale/de_DE.utf8"], &["LANG=de_DE.UTF-8"]), None);
    assert_eq!(lang(&["/usr/lib/locale/locale-archive"], &["LANG=de_DE.UTF-8"]), None);
    assert_eq!(lang(&["/usr/lib/locale/de_DE"], &["LANG=de_DE", "LC_ALL="]), Some(Vec::new()));
    assert_eq!((lang(&[], &["LANG=C.UTF-8"]), lang(&[], &["LANG=POSIX"]), lang(&[], &[])), (None, None, None));
}

#[test]
fn files_of_the_host_that_the_container_lacks() {
    let own = ["CURL_CA_BUNDLE=/host/ca", "SSL_CERT_FILE=/both/ca", "PATH="];
    let found = environment(&container(&["/both/ca"], &[]), &["--", "x/y"], &own);
    assert_eq!(found, variables(&["SSL_CERT_FILE=/both/ca", "PATH="]));
}

const ENVIRONMENT: &[&str] = &["/ext3/env/bin/", "/ext3/env/bin/R", "/home/conda", "/bin/bash", "/bin/sh", "/bin/fish"];

#[test]
fn the_working_directory_is_the_right_one() {
    let container = Container {
        directories: &[("/home/a/p", 7), ("/s/p", 8), ("/other", 9)],
        exists: &["/bin/true"],
        ..Container::default()
    };
    let entered = |words: &[&str]| {
        let mut job = job(&[words, &["--", "/bin/true"]].concat());
        job.enter(&container)?;
        job.become_command(&container, &variables(&["PWD=/wrong"]));
        Ok(container.last.borrow().1[b"PWD".as_slice()].clone())
    };
    assert_eq!(
        entered(&["--identity", "1:8", "--directory", "/home/a/p", "--directory", "/s/p"]),
        Ok(b"/s/p".to_vec())
    );
    assert_eq!(
        entered(&["--identity", "1:7", "--directory", "/home/a/p", "--directory", "/x"]),
        Ok(b"/home/a/p".to_vec())
    );
    assert_eq!(entered(&["--directory", "/other"]), Ok(b"/other".to_vec()));
    assert_eq!(entered(&[]), Ok(b"/wrong".to_vec()));
    assert_eq!(entered(&["--identity", "1:8", "--directory", "/s/p", "--directory", "/other"]), Ok(b"/s/p".to_vec()));
    assert_eq!(entered(&["--identity", "2:8", "--directory", "/x", "--directory", "/s/p"]), Err(ANOTHER));
    assert_eq!(entered(&["--identity", "1:8", "--directory", "/s", "--directory", "/x"]), Err(ENOENT));
}

#[test]
fn a_directory_for_temporary_files_that_is_not_there() {
    let container = container(&["/here/"], &[]);
    let kept = |words: &[&str], own: &str| {
        let missing = job(words).lacks_tmpdir(&container, &variables(&[own]));
        (environment(&container, words, &["PATH=", own]).contains_key(b"TMPDIR".as_slice()), missing)
    };
    assert_eq!(kept(&["--", "x/y"], "TMPDIR=/here"), (true, false));
    assert_eq!(kept(&["--", "x/y"], "TMPDIR=/gone"), (false, true));
    assert_eq!(kept(&["--", "x/y"], "TMPDIR="), (true, false));
    assert_eq!(kept(&["--", "x/y"], "A=/gone"), (false, false));
    assert_eq!(kept(&["--set", "TMPDIR=/mine", "--", "x/y"], "TMPDIR=/gone"), (true, false));
}

#[test]
fn an_environment_takes_the_place_of_others() {
    let own = [
        "PATH=/bin",
        "CONDA_PREFIX=/home/miniconda3",
        "CONDA_PREFIX_1=/home/other",
        "CONDA_SHLVL=2",
        "CONDA_PROMPT_MODIFIER=(base)",
        "CONDA_EXE=/gone/conda",
        "MAMBA_EXE=/home/conda",
        "VIRTUAL_ENV=/home/venv",
        "PYTHONHOME=/apps/python",
        "PYTHONPATH=/home/src:/usr/lib/python3/dist-packages:/ext3/x/site-packages:/apps/site-packages/:/home/more",
        "R_LIBS_USER=/home/R/x86_64-pc-linux-gnu-library/4.3:/home/mine",
        "R_LIBS=/home/r",
        "R_HOME=/usr/lib/R",
        "PERL5LIB=/home/perl",
    ];
    let left = [
        "CONDA_AUTO_ACTIVATE_BASE=false",
        "MAMBA_EXE=/home/conda",
        "PERL5LIB=/home/perl",
        "PYTHONNOUSERSITE=1",
        "PYTHONPATH=/home/src:/ext3/x/site-packages:/home/more",
        "R_LIBS=/home/r",
    ];
    let of_env = [
        "PATH=/ext3/env/bin:/bin",
        "CONDA_PREFIX=/ext3/env",
        "CONDA_DEFAULT_ENV=env",
        "CONDA_SHLVL=1",
        "MAMBA_ROOT_PREFIX=/ext3/env",
        "R_LIBS_USER=/home/mine",
    ];
    let found = environment(&container(ENVIRONMENT, &[]), &["--", "x"], &own);
    assert_eq!(found, variables(&[&left[..], &of_env].concat()));
    // A conda module is one too, of which this R is not.
    const MODULE: &[&str] = &["/cnt/py/3/conda-meta/", "/home/conda"];
    let found = environment(&container(MODULE, &[]), &["--path", "/cnt/py/3/bin", "--", "x"], &own);
    let rest = ["PATH=/cnt/py/3/bin:/bin", own[10], own[12]];
    assert_eq!(found, variables(&[&left[..], &rest].concat()));
    // Without one everything is the user's own business.
    let found = environment(&container(&["/home/conda", "/gone/conda"], &[]), &["--", "x"], &own);
    assert_eq!(found, variables(&own));
}

#[test]
fn what_the_user_has_decided_about_environments_stays() {
    let own = ["PATH=", "PYTHONNOUSERSITE=", "CONDA_AUTO_ACTIVATE=true", "PYTHONPATH=/x/site-packages"];
    let words = ["--set", "PYTHONHOME=/mine", "--set", "CONDA_PREFIX=/mine", "--set", "R_LIBS_USER=/r", "--", "x"];
    let found = environment(&container(ENVIRONMENT, &[]), &words, &own);
    let has = |name: &str| found.get(name.as_bytes()).map(|value| str::from_utf8(value).unwrap());
    assert_eq!((has("PYTHONNOUSERSITE"), has("CONDA_AUTO_ACTIVATE_BASE")), (Some(""), None));
    assert_eq!(
        (has("PYTHONHOME"), has("CONDA_PREFIX"), has("R_LIBS_USER")),
        (Some("/mine"), Some("/mine"), Some("/r"))
    );
    assert_eq!(has("PYTHONPATH"), None);
    let nothing = environment(&container(ENVIRONMENT, &[]), &["--", "x"], &["PATH="]);
    assert_eq!(nothing[b"R_LIBS_USER".as_slice()], b"NULL");
}

#[test]
fn what_is_set_wins_and_the_last_of_a_name() {
    let words = ["--path", "/low", "--set", "PATH=/mine", "--set", "A=1", "--set", "A=b=c", "--", "x"];
    let container = container(&["/mine/x"], &[]);
    let found = environment(&container, &words, &["A=0", "=odd=1", "none", "B="]);
    assert_eq!(found, variables(&["PATH=/mine", "A=b=c", "=odd=1", "B="]));
}

#[test]
fn words_that_are_no_job() {
    let parse = |words: &[&str]| Job::parse(words.iter().map(|word| word.as_bytes().to_vec())).map(|_| ());
    let bad: [&[&str]; 5] = [&[], &["--path"], &["--set", "A", "--"], &["--identity", "1", "--"], &["x", "--"]];
    assert_eq!(bad.map(parse), [None; 5]);
    assert_eq!(parse(&["--", "--path"]), Some(()));
}
