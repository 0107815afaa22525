//! What people type who come from Apptainer, conda, pyxis or an earlier tool, and what it is called here.

use std::ffi::OsString;
use std::path::Path;

use clap::FromArgMatches;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use condatainer_core::config::SYSTEM_FILE;
use condatainer_images::system::escape::shell_words;

use crate::cli::Cli;
use crate::machine::version;
use crate::say::failure::Failure;
use crate::surroundings::Surroundings;

/// Verbs of others.
const VERBS: [(&[&str], &str); 9] = [
    (
        &["shell", "bash", "sh"],
        "'condatainer e' opens a shell in an image, 'condatainer exec -o LAYER' in a stack of layers",
    ),
    (&["pull"], "'condatainer create -s docker://IMAGE -n NAME' makes a layer of an image from a registry"),
    (&["build"], "'condatainer create -f FILE.def' builds a layer from a definition"),
    (&["inspect"], "'condatainer info LAYER' says what a layer is"),
    (&["instance", "start"], "a job or 'condatainer e' holds a container, and 'condatainer join' enters it"),
    (
        &["activate", "env"],
        "nothing is activated: 'condatainer e' opens a shell in ./env.img, and what is in /ext3/env/bin is found first",
    ),
    (
        &["install", "pip", "conda", "mamba", "micromamba"],
        "'condatainer e -- pip install PACKAGE' installs into ./env.img, 'condatainer o env.img -- PACKAGE' makes one with conda packages",
    ),
    (&["avail", "search"], "'condatainer list' shows the layers that you have"),
    (&["import"], "'condatainer create -s FILE -n NAME' makes a layer of an archive or an image"),
];

/// Options of Apptainer's exec and of pyxis.
const OPTIONS: [(&[&str], &str); 12] = [
    (&["--cleanenv", "-e"], "set APPTAINER_CLEANENV=1 for it"),
    (&["--contain", "-c"], "set APPTAINER_CONTAIN=1 for it"),
    (&["--containall", "-C"], "set APPTAINER_CONTAINALL=1 for it"),
    (&["--home", "-H"], "set APPTAINER_HOME for it"),
    (&["--no-home"], "set APPTAINER_NO_HOME=1 for it"),
    (&["--no-mount"], "set APPTAINER_NO_MOUNT for it"),
    (&["--writable-tmpfs"], "--tmp makes everything writable for one run"),
    (&["--cwd", "--container-workdir"], "it is --pwd DIR here"),
    (&["--mount", "--container-mounts"], "it is --bind SOURCE[:DEST[:ro]] here"),
    (&["--env-file"], "write the variables into LAYER.env beside the layer, or use --env"),
    (&["--container-image", "--image"], "it is --base IMAGE here, and -o LAYER for what lies on it"),
    (&["--net", "--network", "--pid", "--ipc"], "a container shares the network and the processes of the machine"),
];

/// The arguments, as [`Cli`] understands them, or our word for what it does not. For `--help`, `--version` and all other slips
/// this ends the program.
pub(crate) fn parse(arguments: Vec<OsString>) -> Result<Cli, Failure> {
    read(&arguments).map_err(|error| {
        let answered = answer(&error).or_else(|| late_command(&error, &arguments));
        match (answered, error.kind()) {
            (Some(line), _) => Failure::usage(line),
            (None, ErrorKind::DisplayVersion) => {
                version::print().map_or_else(|failure| failure, |()| std::process::exit(0))
            }
            (None, _) => error.exit(),
        }
    })
}

fn read(arguments: &[OsString]) -> Result<Cli, clap::Error> {
    let mut cli = Cli::grouped();
    let matches = cli.try_get_matches_from_mut(arguments)?;
    Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut cli))
}

/// `e LAYER R --version`: the option belongs to a command, which comes after `--`.
fn late_command(error: &clap::Error, arguments: &[OsString]) -> Option<String> {
    let Some(ContextValue::String(option)) = error.get(ContextKind::InvalidArg) else { return None };
    let words: Vec<&str> = arguments.iter().map(|word| word.to_str()).collect::<Option<_>>()?;
    let (layers, rest) = words.strip_prefix(&[*words.first()?, "e"])?.split_at_checked(
        words.iter().position(|word| word.split('=').next() == option.split('=').next())?.checked_sub(2)?,
    )?;
    if layers.iter().any(|word| word.starts_with('-')) {
        return None;
    }
    let around = Surroundings::look(Path::new(SYSTEM_FILE)).ok()?;
    let is_layer = |word: &&str| around.layers(&[(*word).to_owned()]).is_ok();
    // Where not even the first is a layer, it is a misspelt one, and the command is the last word before its option.
    let begins = match layers.iter().position(|word| !is_layer(word))? {
        0 => layers.len().checked_sub(1).filter(|last| *last > 0)?,
        other => other,
    };
    let (layers, command) = layers.split_at(begins);
    let command = shell_words(&[command, rest].concat());
    let line = format!("condatainer e {} -- {command}", shell_words(layers));
    Some(format!("{option}: no option of 'condatainer e'; a command comes after '--': '{line}'"))
}

fn answer(error: &clap::Error) -> Option<String> {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    let (word, habits) = match error.kind() {
        ErrorKind::InvalidSubcommand => (text(ContextKind::InvalidSubcommand)?, &VERBS[..]),
        ErrorKind::UnknownArgument => (text(ContextKind::InvalidArg)?, &OPTIONS[..]),
        _ => return None,
    };
    let name = word.split('=').next()?;
    let (_, ours) = habits.iter().find(|(theirs, _)| theirs.contains(&name))?;
    Some(format!("{name}: no such {}: {ours}", if name.starts_with('-') { "option" } else { "verb" }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_with_options_comes_after_two_dashes() {
        let said = |line: &str| {
            let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            late_command(&read(&words).unwrap_err(), &words)
        };
        let expected =
            "--version: no option of 'condatainer e'; a command comes after '--': 'condatainer e a.img -- R --version'";
        assert_eq!(said("condatainer e a.img R --version").as_deref(), Some(expected));
        assert!(said("condatainer e no-layer R --slave").unwrap().ends_with("'condatainer e no-layer -- R --slave'"));
        for other in ["condatainer e a.img --nonsense", "condatainer e --nonsense", "condatainer exec --nonsense true"]
        {
            assert_eq!(said(other), None, "{other}");
        }
    }

    fn tried(line: &str) -> Result<Cli, clap::Error> {
        read(&line.split(' ').map(OsString::from).collect::<Vec<_>>())
    }

    fn said(line: &str) -> Option<String> {
        answer(&tried(line).err()?)
    }

    #[test]
    fn words_of_others_are_answered_with_ours() {
        assert!(said("condatainer shell env.img").unwrap().starts_with("shell: no such verb: 'condatainer e' opens"));
        assert_eq!(
            said("condatainer exec --writable-tmpfs -o a.img true").unwrap(),
            "--writable-tmpfs: no such option: --tmp makes everything writable for one run"
        );
        assert!(said("condatainer e --home=/x").unwrap().contains("APPTAINER_HOME"));
        assert_eq!((said("condatainer nonsense"), said("condatainer exec --nonsense true")), (None, None));
    }

    /// A word that becomes one of ours must leave the list.
    #[test]
    fn none_of_them_is_a_word_of_ours() {
        for verb in VERBS.iter().flat_map(|(theirs, _)| *theirs) {
            assert!(said(&format!("condatainer {verb}")).is_some(), "{verb}");
        }
        for option in OPTIONS.iter().flat_map(|(theirs, _)| *theirs) {
            assert!(said(&format!("condatainer exec {option}")).is_some(), "{option}");
        }
    }

    #[test]
    fn gpus_and_binds_are_asked_for_as_by_apptainer() {
        for line in
            ["condatainer exec --nv --rocm -B /data:/data true", "condatainer e --nv", "condatainer run -B /a job.sh"]
        {
            assert!(tried(line).is_ok(), "{line}");
        }
    }
}
