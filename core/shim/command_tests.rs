//! Proofs of what becomes the command and in which environment, in containers that are made up.

use std::cell::RefCell;

use super::*;

/// A container: what is in it, and what the kernel says of the files that it does not execute.
#[derive(Default)]
struct Container {
    exists: &'static [&'static str],
    refuses: &'static [(&'static str, i32)],
    /// What was asked for: files, and whether they exist.
    asked: RefCell<Vec<String>>,
    /// How it was asked to execute the last one.
    last: RefCell<(Vec<Vec<u8>>, Variables)>,
}

/// What stands for an exec that has not returned.
const EXECUTED: i32 = 0;

impl Files for Container {
    fn exists(&self, path: &[u8]) -> bool {
        let path = str::from_utf8(path).unwrap();
        self.asked.borrow_mut().push(format!("{path}?"));
        self.exists.contains(&path)
    }
}

impl System for Container {
    fn ready(&self, arguments: &[Vec<u8>], variables: &Variables) -> impl Fn(&[u8]) -> i32 {
        self.last.replace((arguments.to_vec(), variables.clone()));
        |file| {
            let file = str::from_utf8(file).unwrap();
            self.asked.borrow_mut().push(file.into());
            let refusal = self.refuses.iter().find(|(refused, _)| *refused == file).map(|(_, errno)| *errno);
            refusal.unwrap_or(if self.exists.contains(&file) { EXECUTED } else { ENOENT })
        }
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

/// The environment that a command gets.
fn environment(container: &Container, words: &[&str], own: &[&str]) -> Variables {
    job(words).become_command(container, &variables(own));
    container.last.borrow().1.clone()
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

#[test]
fn bash_alone_shows_the_prompt() {
    let own = ["PATH=/a", "PROMPT_COMMAND=x; PS1=\"Apptainer> \"; unset y"];
    let of = |shell| {
        environment(&container(&["/bin/bash", "/bin/zsh"], &[]), &["--prompt", "me> ", "--shell", shell, "--"], &own)
    };
    let bash = variables(&["PATH=/a", "PROMPT_COMMAND=x; PS1=\"me> \"; unset y", "PS1=me> "]);
    assert_eq!((of("/bin/bash"), of("/bin/zsh")), (bash, variables(&own)));
}

#[test]
fn what_is_set_wins_and_the_last_of_a_name() {
    let words = ["--path", "/low", "--set", "PATH=/mine", "--set", "A=1", "--set", "A=b=c", "--", "x"];
    let own = variables(&["A=0", "=odd=1", "none", "B="]);
    let container = container(&["/mine/x"], &[]);
    assert_eq!(job(&words).become_command(&container, &own), EXECUTED);
    assert_eq!(container.last.borrow().1, variables(&["PATH=/mine", "A=b=c", "=odd=1", "B="]));
    assert_eq!(own.len(), 3);
}

#[test]
fn words_that_are_no_job() {
    let parse = |words: &[&str]| Job::parse(words.iter().map(|word| word.as_bytes().to_vec())).map(|_| ());
    let bad: [&[&str]; 4] = [&[], &["--path"], &["--set", "A", "--"], &["x", "--"]];
    assert_eq!(bad.map(parse), [None; 4]);
    assert_eq!(parse(&["--", "--path"]), Some(()));
}
