//! The man pages: one of each verb, made from the definitions of [`Cli`] ([`verb`]), and those that are written out: condatainer(7),
//! condatainer-config(5) and spank_condatainer(8).

mod verb;

use std::fs;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use clap::{Command, CommandFactory};

use crate::cli::Cli;
use crate::say::failure::Failure;

/// Pages that are written out: their name, section and text.
const WRITTEN: [(&str, char, &str); 3] = [
    ("condatainer", '7', include_str!("pages/condatainer.7")),
    ("condatainer-config", '5', include_str!("pages/condatainer-config.5")),
    ("spank_condatainer", '8', include_str!("pages/spank_condatainer.8")),
];

/// Writes all pages below this directory, as `man` looks for them (`man1/condatainer-exec.1`), for `make install`.
pub(crate) fn write(dir: &Path) -> Result<ExitCode, Failure> {
    pages()
        .into_iter()
        .try_for_each(|(name, section, text)| put(dir, &name, section, &text))
        .map_err(|error| Failure::failed(format!("{}: the man pages cannot be written: {error}", dir.display())))?;
    Ok(ExitCode::SUCCESS)
}

fn put(dir: &Path, name: &str, section: char, text: &str) -> io::Result<()> {
    let dir = dir.join(format!("man{section}"));
    fs::create_dir_all(&dir)?;
    fs::write(dir.join(format!("{name}.{section}")), text)
}

fn pages() -> Vec<(String, char, String)> {
    let mut cli = Cli::command();
    cli.build();
    let mut all = vec![("condatainer".into(), '1', verb::page(&cli, None))];
    of_verbs(&cli, &mut all);
    all.extend(WRITTEN.iter().map(|(name, section, text)| ((*name).into(), *section, (*text).into())));
    all
}

fn of_verbs(parent: &Command, all: &mut Vec<(String, char, String)>) {
    let visible = |verb: &&Command| !verb.is_hide_set() && verb.get_name() != "help";
    for verb in parent.get_subcommands().filter(visible) {
        all.push((verb::name(verb), '1', verb::page(verb, Some(parent))));
        of_verbs(verb, all);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command as Process;

    #[test]
    fn every_verb_has_the_sections_that_people_look_for() {
        let pages = pages();
        assert!(pages.iter().any(|(name, ..)| name == "condatainer-overlay-with-root"), "verbs of overlay too");
        for (name, section, text) in &pages {
            for wanted in
                ["NAME", "SYNOPSIS", "DESCRIPTION", "EXAMPLES", "EXIT STATUS", "ENVIRONMENT", "FILES", "SEE ALSO"]
            {
                let is_there = |macro_: &str| {
                    text.contains(&format!(".{macro_} {wanted}\n"))
                        || text.contains(&format!(".{macro_} \"{wanted}\"\n"))
                };
                let is_needed = match section {
                    '5' => !matches!(wanted, "SYNOPSIS" | "EXIT STATUS"),
                    '7' => !matches!(wanted, "SYNOPSIS"),
                    _ if text.contains(".SH VERBS\n") => wanted != "EXAMPLES",
                    _ => true,
                };
                assert!(!is_needed || is_there("SH") || is_there("Sh"), "{name}({section}) has no {wanted}:\n{text}");
            }
        }
    }

    #[test]
    fn a_synopsis_has_values_and_dashes() {
        let of = |wanted: &str| {
            let page = pages().into_iter().find(|(name, ..)| name == wanted).unwrap().2;
            let synopsis = page.split(".SH SYNOPSIS\n").nth(1).unwrap().split(".SH").next().unwrap().to_owned();
            synopsis.replace("\\fB", "").replace("\\fI", "").replace("\\fR", "").replace("\\-", "-").replace('\n', " ")
        };
        let exec = of("condatainer-exec");
        for part in ["condatainer exec", "[-o LAYER]...", "[-b IMAGE]", "[--wait[=TIME]]", "[COMMAND]..."] {
            assert!(exec.contains(part), "{part}: {exec}");
        }
        assert!(
            of("condatainer-e").contains("[LAYER]... [options] [-- COMMAND...]")
                || of("condatainer-e").contains("[-- COMMAND...]")
        );
        assert!(of("condatainer-overlay-seal").ends_with("IMG [OUT.sqf] "), "{}", of("condatainer-overlay-seal"));
        assert!(!exec.contains("--quiet") && !exec.contains("writable-img"), "{exec}");
    }

    /// What mandoc(1) has to say, where it is installed; `make unit` installs it.
    #[test]
    fn nothing_is_wrong_with_the_pages() {
        let dir = tempfile::tempdir().unwrap();
        pages().iter().for_each(|(name, section, text)| put(dir.path(), name, *section, text).unwrap());
        for section in ["man1", "man5", "man7", "man8"] {
            let files: Vec<_> =
                fs::read_dir(dir.path().join(section)).unwrap().map(|file| file.unwrap().path()).collect();
            let Ok(output) = Process::new("mandoc").args(["-T", "lint", "-W", "warning"]).args(&files).output() else {
                println!("mandoc is not installed: the man pages are not checked");
                return;
            };
            let said = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success() && said.trim().is_empty(), "{said}");
        }
    }
}
