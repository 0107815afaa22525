//! Tests of interactive shells, on the container of `command_tests.rs`.

use super::*;

/// The words, variables and file of a shell that is started at a terminal, or not.
fn shell(has_terminal: bool, words: &[&str], own: &[&str]) -> (Vec<String>, Variables, String) {
    let container = Container { has_terminal, ..container(ENVIRONMENT, &[]) };
    job(words).become_command(&container, &variables(own));
    let (argv, variables) = container.last.take();
    let argv = argv.into_iter().map(|word| String::from_utf8(word).unwrap()).collect();
    (argv, variables, container.document.take())
}

#[test]
fn a_repair_follows_what_a_shell_reads() {
    let own = ["PATH=/bin", "ENV=$HOME/it's"];
    for words in [&["--", "bash"][..], &["--shell", "/bin/bash", "--"]] {
        let (argv, _, read) = shell(true, words, &own);
        assert_eq!(argv[1..], ["--rcfile", "/fd"]);
        let order = ["exec 5<&-\n", ". ~/.bashrc\n", "PATH=$CONDATAINER_PATH", "CONDA_PREFIX=/ext3/env", "PS1="];
        let places = order.map(|part| read.find(part).unwrap());
        assert!(places.is_sorted(), "{read}");
    }
    assert_eq!(shell(false, &["--", "bash", "-i"], &own).0, ["bash", "--rcfile", "/fd", "-i"]);
    let runs: [&[&str]; 3] = [&["bash", "-ic", "x", "-l"], &["bash", "-i", "x"], &["bash", "-e", "-ci", "x"]];
    for words in runs {
        let (argv, ..) = shell(false, &[&["--"], words].concat(), &own);
        assert_eq!(argv, [&["bash", "--rcfile", "/fd"], &words[1..]].concat());
    }
    let (argv, variables, read) = shell(true, &["--", "/bin/sh"], &own);
    assert_eq!((argv, variables[b"ENV".as_slice()].as_slice()), (vec!["/bin/sh".into()], b"/fd".as_slice()));
    assert!(
        read.contains("export ENV='$HOME/it'\\''s'\n") && read.find("unset ENV") < read.find("export ENV"),
        "{read}"
    );
    assert_eq!(shell(true, &["--", "/bin/fish"], &own).0[1], "--init-command");
}

#[test]
fn a_repair_follows_what_a_login_shell_reads_for_a_script() {
    const HEADS: &[(&str, &str)] = &[
        ("./login", "#!/bin/bash -l\n#SBATCH -n1"),
        ("./long", "#! /bin/bash --login"),
        ("./env", "#!/usr/bin/env -S bash -el\n"),
        ("./plain", "#!/bin/bash -e\n# -l"),
        ("./other", "#!/usr/bin/perl -l\n"),
        ("./binary", "\u{7f}ELF"),
    ];
    let started = |has_terminal: bool, words: &[&str]| {
        let container = Container { has_terminal, heads: HEADS, ..container(ENVIRONMENT, &[]) };
        let own = variables(&["PATH=/bin", "BASH_ENV=/lmod"]);
        job(&[&["--"], words].concat()).become_command(&container, &own);
        let (argv, variables) = container.last.take();
        assert_eq!(argv.len(), words.len());
        let read = container.document.take();
        assert_eq!(read.is_empty(), variables[b"BASH_ENV".as_slice()] == b"/lmod");
        assert!(read.is_empty() || (read.contains("export BASH_ENV='/lmod'\n") && !read.contains("PS1=")), "{read}");
        !read.is_empty()
    };
    let logins: [&[&str]; 9] = [
        &["./login", "x"],
        &["./long"],
        &["./env"],
        &["bash", "-lc", "x"],
        &["/bin/bash", "-l", "-c", "x"],
        &["bash", "--login", "x"],
        &["bash", "-e", "-l", "x"],
        &["bash", "-lec", "x"],
        &["bash", "-l", "./plain"],
    ];
    for words in logins {
        assert!(started(true, words), "{words:?}");
    }
    let others: [&[&str]; 9] = [
        &["./plain"],
        &["./other"],
        &["./binary"],
        &["./none"],
        &["bash", "-c", "x", "-l"],
        &["bash", "-lic", "x"],
        &["bash", "-l"],
        &["bash", "x", "-l"],
        &["sh", "-lc", "x"],
    ];
    for words in others {
        assert!(!started(true, words), "{words:?}");
    }
    assert!(started(false, &["bash", "-l"]), "it reads its standard input");
}

#[test]
fn a_shell_that_nobody_types_into_is_started_as_it_is() {
    let own = ["PATH=/bin", "ENV=mine"];
    let started = |has_terminal: bool, words: &[&str]| {
        let (argv, variables, read) = shell(has_terminal, words, &own);
        assert_eq!((variables[b"ENV".as_slice()].as_slice(), read.as_str()), (b"mine".as_slice(), ""));
        argv
    };
    for words in [&["bash"][..], &["sh"], &["/bin/fish"], &["cat"]] {
        assert_eq!(started(false, &[&["--"], words].concat()), words);
    }
    for words in [&["bash", "-c", "x"][..], &["bash", "-l"], &["bash", "--norc", "-i"], &["sh", "x"], &["/bin/none"]] {
        assert_eq!(started(true, &[&["--"], words].concat()), words);
    }
}

#[test]
fn the_users_own_prompt_command_stays() {
    let ours = |own: &[&str]| {
        let found = shell(false, &["--", "x"], own).1;
        String::from_utf8(found[b"PROMPT_COMMAND".as_slice()].clone()).unwrap()
    };
    let alone = ours(&["PATH=/bin"]);
    assert!(alone.starts_with("[ \"${__condatainer-}\" = $$ ] || {") && alone.contains("PS1='"), "{alone}");
    let forced = "PROMPT_COMMAND=PS1=\"Apptainer> \"; unset PROMPT_COMMAND";
    assert_eq!(ours(&["PATH=/bin", forced]), alone);
    let behind = "PROMPT_COMMAND=\"${PROMPT_COMMAND%%; PROMPT_COMMAND=*}\"; PS1=\"Apptainer> \"";
    let own = format!("PROMPT_COMMAND=history -a; x; {behind}");
    assert_eq!(ours(&["PATH=/bin", &own]), format!("history -a; x; {alone}"));
    let nested = format!("PROMPT_COMMAND=history -a; {alone}; {behind}");
    assert_eq!(ours(&["PATH=/bin", &nested]), format!("history -a; {alone}"));
    assert_eq!(
        shell(false, &["--set", "PROMPT_COMMAND=mine", "--", "x"], &[]).1[b"PROMPT_COMMAND".as_slice()],
        b"mine"
    );
}

#[test]
fn a_zsh_reads_our_files_in_the_place_of_the_users() {
    const HEADS: &[(&str, &str)] = &[
        ("./script", "#!/bin/zsh\n"),
        ("./login", "#!/usr/bin/env -S zsh -l\n"),
        ("./none", "#!/bin/zsh -f\n"),
        ("./other", "#!/bin/bash\n# zsh"),
    ];
    const THERE: &[&str] = &["/bin/zsh", "/fd9/.zshenv"];
    let of = |exists, startup, words: &[&str], own: &[&str]| {
        let container = Container { heads: HEADS, startup, ..container(exists, &[]) };
        job(words).become_command(&container, &variables(own));
        let (argv, variables) = container.last.take();
        let text = |name: &str| variables.get(name.as_bytes()).map(|value| String::from_utf8(value.clone()).unwrap());
        (argv.len(), text("ZDOTDIR"), text("CONDATAINER_ZDOTDIR"))
    };
    let ours = || Some("/fd9".to_owned());
    let starts: [&[&str]; 10] = [
        &["zsh"],
        &["zsh", "-o", "pipefail", "x", "-f"],
        &["/bin/zsh", "-l"],
        &["zsh", "-i"],
        &["zsh", "-lc", "x", "-f"],
        &["zsh", "--login", "x"],
        &["zsh", "-e", "x", "-o"],
        &["zsh", "-", "-f"],
        &["./script", "-f"],
        &["./login"],
    ];
    for words in starts {
        let words = [&["--"], words].concat();
        assert_eq!(of(THERE, Some("/fd9"), &words, &[]), (words.len() - 1, ours(), None), "{words:?}");
    }
    let own = of(THERE, Some("/fd9"), &["--shell", "/bin/zsh", "--"], &["ZDOTDIR=/mine"]);
    assert_eq!(own, (1, ours(), Some("/mine".into())));
    let others: [&[&str]; 11] = [
        &["zsh", "-f"],
        &["zsh", "-o", "NO_rcs"],
        &["zsh", "-o"],
        &["zsh", "-df"],
        &["zsh", "--no-rcs"],
        &["zsh", "-o", "norcs"],
        &["zsh", "+o", "rcs"],
        &["/opt/zsh"],
        &["./none"],
        &["./other"],
        &["bash", "-c", "zsh"],
    ];
    for words in others {
        let words = [&["--"], words].concat();
        assert_eq!(of(THERE, Some("/fd9"), &words, &["ZDOTDIR=/mine"]).1, Some("/mine".into()), "{words:?}");
    }
    // Only the program was copied; or the container has no /proc.
    assert_eq!(of(THERE, None, &["--", "zsh"], &[]).1, None);
    assert_eq!(of(&["/bin/zsh"], Some("/fd9"), &["--", "zsh"], &[]).1, None);
}
