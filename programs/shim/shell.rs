//! An interactive shell: what it reads of the user's own files must not hide the container's programs, and its prompt names the image.
//!
//! `~/.bashrc` is the host's as often as not, and puts the host's conda in front of PATH. So a repair follows all that the shell
//! reads. What differs from start to start travels in variables, never in the text of a script: a shell evaluates no variable's
//! value, so no image's name can be a command.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::{System, Variables};

/// What PATH is when the command starts: a shell puts it in front again.
pub(crate) const PATH: &str = "CONDATAINER_PATH";
/// What the prompt says in brackets.
pub(crate) const PROMPT: &str = "CONDATAINER_PROMPT";

/// What else was in PATH stays, behind.
const PATH_AGAIN: &str = r#"[ -z "${CONDATAINER_PATH-}" ] || case $PATH in "$CONDATAINER_PATH"|"$CONDATAINER_PATH":*) ;; *:"$CONDATAINER_PATH") PATH=$CONDATAINER_PATH:${PATH%":$CONDATAINER_PATH"} ;; *) PATH=$CONDATAINER_PATH:$PATH ;; esac; "#;
/// As if no other environment had been activated.
const ENVIRONMENT_AGAIN: &str = "export CONDA_PREFIX=/ext3/env CONDA_DEFAULT_ENV=env CONDA_SHLVL=1; ";
/// What such ones leave behind.
const LEFT_BEHIND: [&str; 4] = ["CONDA_PREFIX_1", "CONDA_PROMPT_MODIFIER", "VIRTUAL_ENV", "PYTHONHOME"];
const BASH_PROMPT: &str = r"unset PS1; PS1='($CONDATAINER_PROMPT) \w \$ '";
/// These shells know no `\w`, and some no `\$`.
const SH_PROMPT: &str = r#"unset PS1; case ${BASH_VERSION-}$(id -u 2>/dev/null) in *.*) PS1='($CONDATAINER_PROMPT) \w \$ ' ;; 0) PS1='($CONDATAINER_PROMPT) $PWD # ' ;; *) PS1='($CONDATAINER_PROMPT) $PWD $ ' ;; esac"#;
/// fish evaluates no prompt.
const FISH: &str = "set -q CONDATAINER_PATH; and set -gx PATH (string split : -- $CONDATAINER_PATH) (for d in $PATH; contains -- $d (string split : -- $CONDATAINER_PATH); or echo $d; end); function fish_prompt; echo -n \"($CONDATAINER_PROMPT) \"(prompt_pwd); fish_is_root_user; and echo -n ' # '; or echo -n ' $ '; end";
const FISH_ENVIRONMENT: &str = "; set -gx CONDA_PREFIX /ext3/env; set -gx CONDA_DEFAULT_ENV env; set -gx CONDA_SHLVL 1";

/// Once in each shell, at its first prompt.
const ONCE: (&str, &str) = ("[ \"${__condatainer-}\" = $$ ] || { __condatainer=$$; ", "; }");

/// The repair of the shells that are like sh, in an environment.
fn repair(variables: &Variables, prompt: &str) -> Vec<u8> {
    let environment = if is_active(variables) { ENVIRONMENT_AGAIN } else { "" };
    [PATH_AGAIN, environment, &forget("unset", variables), prompt].concat().into_bytes()
}

/// Whether `/ext3/env` is the environment.
fn is_active(variables: &Variables) -> bool {
    variables.get(b"CONDA_PREFIX".as_slice()).is_some_and(|prefix| prefix == b"/ext3/env")
}

/// The command that unsets what another environment leaves behind, but not what the layers and `--env` have set.
fn forget(unset: &str, variables: &Variables) -> String {
    let left = LEFT_BEHIND.iter().filter(|name| is_active(variables) && !variables.contains_key(name.as_bytes()));
    left.map(|name| format!("{unset} {name}; ")).collect()
}

/// bash's PROMPT_COMMAND, for all that are not started by [`started`]: login shells, those of tmux or Jupyter, one in another.
/// `of_engine` is what Apptainer has made of the user's own, to force its prompt on bash.
pub(super) fn prompt_command(of_engine: Option<&[u8]>, variables: &Variables) -> Vec<u8> {
    let (once, end) = ONCE;
    let ours = [once.as_bytes(), &repair(variables, BASH_PROMPT), end.as_bytes()].concat();
    match of_engine.map(|text| users_own(text, once.as_bytes())) {
        Some(own) if !own.is_empty() => [own, b"; ", &ours].concat(),
        _ => ours,
    }
}

/// What the user's PROMPT_COMMAND was before Apptainer, or a container of ours around this one, has put something behind.
fn users_own<'a>(text: &'a [u8], ours: &[u8]) -> &'a [u8] {
    let forced: [&[u8]; 3] = [b"PS1=\"", b"PROMPT_COMMAND=\"", ours];
    let begins = |at: &usize| {
        let starts = *at == 0 || text[..*at].ends_with(b"; ");
        starts && forced.iter().any(|words| text[*at..].starts_with(words))
    };
    let end = (0..text.len()).find(begins).unwrap_or(text.len());
    text[..end].strip_suffix(b"; ").unwrap_or(&text[..end])
}

/// The shells whose files can be followed by a repair.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shell {
    Bash,
    /// A login shell that runs a script. It reads the file that `BASH_ENV` names after all others.
    BashLogin,
    /// What reads the file that `ENV` names.
    Sh,
    Fish,
}

/// The arguments of a command, changed if it is a shell that reads the user's files: then the repair follows these.
pub(super) fn started(system: &impl System, argv: &[Vec<u8>], variables: &mut Variables) -> Vec<Vec<u8>> {
    let mut argv = argv.to_vec();
    let login = || runs_as_login(system, &argv).then_some(Shell::BashLogin);
    let runs = || runs_as_interactive(&argv).then_some(Shell::Bash);
    match interactive(system, &argv).or_else(login).or_else(runs) {
        Some(Shell::Bash) => {
            let read =
                ["[ ! -f ~/.bashrc ] || . ~/.bashrc\n__condatainer=$$; ".as_bytes(), &repair(variables, BASH_PROMPT)];
            if let Some(file) = document(system, &read.concat(), usize::MAX) {
                argv.splice(1..1, [b"--rcfile".to_vec(), file]);
            }
        }
        // dash takes one digit only.
        Some(Shell::Sh) => read_last(system, variables, "ENV", SH_PROMPT, 9),
        Some(Shell::BashLogin) => read_last(system, variables, "BASH_ENV", ":", usize::MAX),
        Some(Shell::Fish) => {
            let environment = if is_active(variables) { FISH_ENVIRONMENT } else { "" };
            let text = [&forget("set -e", variables), FISH, environment].concat();
            argv.extend([b"--init-command".to_vec(), text.into_bytes()]);
        }
        None => {}
    }
    argv
}

/// The shell, if this command is one that reads commands from a terminal and does nothing else.
fn interactive(system: &impl System, argv: &[Vec<u8>]) -> Option<Shell> {
    let (program, options) = argv.split_first()?;
    let is = |option: &Vec<u8>, of: &[&[u8]]| of.contains(&option.as_slice());
    let is_login = options.iter().any(|option| is(option, &[b"-l", b"--login", b"-il", b"-li"]));
    let shell = match program.rsplit(|byte| *byte == b'/').next()? {
        // A login shell reads no other file.
        b"bash" if !is_login => Shell::Bash,
        b"sh" | b"dash" | b"ash" | b"ksh" | b"ksh93" | b"mksh" => Shell::Sh,
        b"fish" => Shell::Fish,
        _ => return None,
    };
    let known: [&[u8]; 5] = [b"-i", b"-l", b"--login", b"-il", b"-li"];
    let does_nothing_else = options.iter().all(|option| is(option, &known));
    let asks = || options.iter().any(|option| is(option, &[b"-i", b"-il", b"-li"])) || system.has_terminal();
    let is_there = || !program.contains(&b'/') || system.exists(program);
    (does_nothing_else && asks() && is_there()).then_some(shell)
}

/// Whether this runs a script, or a command, in a bash that reads what an interactive shell reads; as a login shell it reads no file
/// that could be ours.
fn runs_as_interactive(argv: &[Vec<u8>]) -> bool {
    let Some((program, options)) = argv.split_first() else { return false };
    let mut is_interactive = false;
    for option in options {
        match option.strip_prefix(b"-") {
            Some([b'-', ..]) => return false,
            Some(letters) if letters.contains(&b'l') => return false,
            Some(letters) => {
                is_interactive |= letters.contains(&b'i');
                if letters.contains(&b'c') {
                    break;
                }
            }
            None => break,
        }
    }
    is_bash(program) && is_interactive
}

/// Whether this runs a script, or a command, in a bash that reads what a login shell reads.
fn runs_as_login(system: &impl System, argv: &[Vec<u8>]) -> bool {
    let Some((program, options)) = argv.split_first() else { return false };
    if is_bash(program) {
        let (is_login, has_script) = login(options.iter().map(Vec::as_slice));
        return is_login && (has_script || !system.has_terminal());
    }
    let line = interpreter(system, program);
    login(line.iter().map(Vec::as_slice).skip_while(|word| !is_bash(word)).skip(1)).0
}

/// What a script is run by: the words of its first line, as in `#!/bin/bash -l`, `#!/usr/bin/env -S bash -l`. None of another file.
pub(super) fn interpreter(system: &impl System, program: &[u8]) -> Vec<Vec<u8>> {
    let head = if program.contains(&b'/') { system.head(program) } else { Vec::new() };
    let line = head.strip_prefix(b"#!").and_then(|rest| rest.split(|byte| *byte == b'\n').next()).unwrap_or_default();
    line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).map(<[u8]>::to_vec).collect()
}

fn is_bash(program: &[u8]) -> bool {
    program.rsplit(|byte| *byte == b'/').next() == Some(b"bash")
}

/// Whether these options of bash make it a login shell that is not interactive; and whether there is something that it runs.
fn login<'a>(options: impl Iterator<Item = &'a [u8]>) -> (bool, bool) {
    let mut is_login = false;
    for option in options {
        match option.strip_prefix(b"-") {
            Some(b"-login") => is_login = true,
            // Options with long names may have a value.
            Some([b'-', _, ..]) => return (false, true),
            Some(letters) if letters.contains(&b'i') => return (false, true),
            Some(letters) => {
                is_login |= letters.contains(&b'l');
                if letters.contains(&b'c') {
                    return (is_login, true);
                }
            }
            None => return (is_login, true),
        }
    }
    (is_login, false)
}

/// Has a shell read the repair where this variable would have it read the user's own file, which it reads before.
fn read_last(system: &impl System, variables: &mut Variables, name: &str, prompt: &str, most: usize) {
    let own = variables.get(name.as_bytes()).map(|own| read_own(name, own)).unwrap_or_default();
    let read = [format!("unset {name}\n").as_bytes(), &own, &repair(variables, prompt)].concat();
    if let Some(file) = document(system, &read, most) {
        variables.insert(name.into(), file);
    }
}

/// Sets the variable to the user's own value again and does what the shell would have done with it.
fn read_own(name: &str, own: &[u8]) -> Vec<u8> {
    let quoted = own.split(|byte| *byte == b'\'').collect::<Vec<_>>().join(b"'\\''".as_slice());
    let then =
        format!("'\neval \"__condatainer=\\\"${name}\\\"\"; [ ! -r \"$__condatainer\" ] || . \"$__condatainer\"\n");
    [b"export ", name.as_bytes(), b"='", &quoted, then.as_bytes()].concat()
}

/// A file of this text by a name that the shell can open. It is closed first, if its number is not above what the shell can close.
fn document(system: &impl System, text: &[u8], most: usize) -> Option<Vec<u8>> {
    system.document(|descriptor| {
        let close = [b"exec ", descriptor.to_string().as_bytes(), b"<&-\n"].concat();
        [if descriptor <= most { close.as_slice() } else { b"" }, text, b"\n"].concat()
    })
}
