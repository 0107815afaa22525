//! The page of the reference that has every command and option, made from the definitions of [`Cli`](crate::cli::Cli). `make reference`
//! writes it; without that, this test says that it is out of date.

use clap::builder::StyledStr;
use clap::{Arg, Command, CommandFactory};

use crate::cli::Cli;

const PLACE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reference/commands.md");
const HEAD: &str =
    "# Commands\n\n<!-- Made from the code by 'make reference'. -->\n\n`condatainer COMMAND --help` prints the same.\n";

#[test]
fn the_page_is_that_of_the_code() -> std::io::Result<()> {
    let mut cli = Cli::command().disable_help_subcommand(true);
    cli.build();
    let page =
        format!("{HEAD}\n## Options of every command\n\n{}{}", table(cli.get_arguments().collect()), below(&cli));
    if std::env::var_os("CONDATAINER_WRITE_REFERENCE").is_some() {
        std::fs::write(PLACE, &page)?;
    }
    let written = std::fs::read_to_string(PLACE).unwrap_or_default();
    assert!(written == page, "docs/reference/commands.md is not that of the code: make reference");
    Ok(())
}

/// The commands below this one that are shown, and those below them.
fn below(command: &Command) -> String {
    command
        .get_subcommands()
        .filter(|command| !command.is_hide_set())
        .map(|command| section(command) + &below(command))
        .collect()
}

fn section(command: &Command) -> String {
    let mut command = command.clone();
    let name = command.get_bin_name().unwrap_or_default().to_owned();
    let about = text(command.get_long_about().or(command.get_about()));
    let usage = command.render_usage().to_string();
    let mut section =
        format!("\n## `{name}`\n\n{about}\n\n```text\n{}\n```\n", usage.trim_start_matches("Usage: ").trim());
    let own = |arg: &&Arg| !arg.is_hide_set() && !arg.is_global_set();
    let (named, rest): (Vec<&Arg>, Vec<&Arg>) =
        command.get_arguments().filter(own).filter(|arg| arg.get_id() != "help").partition(|arg| !arg.is_positional());
    for arguments in [rest, named].into_iter().filter(|arguments| !arguments.is_empty()) {
        section += &format!("\n{}", table(arguments));
    }
    let after = text(command.get_after_help());
    if !after.is_empty() {
        section += &format!("\n```text\n{after}\n```\n");
    }
    section
}

fn table(arguments: Vec<&Arg>) -> String {
    let cell = |text: String| text.replace('|', "\\|").replace('\n', " ");
    let row = |arg: &Arg| format!("| `{}` | {} |\n", cell(spelled(arg)), cell(meaning(arg)));
    format!("| | |\n|---|---|\n{}", arguments.into_iter().filter(|arg| !arg.is_hide_set()).map(row).collect::<String>())
}

/// `-o, --overlay <LAYER>`, or what a positional is called.
fn spelled(arg: &Arg) -> String {
    let long = arg.get_long().map(|long| format!("--{long}"));
    let names: Vec<String> = arg.get_short().map(|short| format!("-{short}")).into_iter().chain(long).collect();
    let shown = arg.to_string();
    match names.first() {
        Some(first) if names.len() > 1 => format!("{first}, {shown}"),
        _ => shown,
    }
}

fn meaning(arg: &Arg) -> String {
    let mut meaning = text(arg.get_long_help().or(arg.get_help()));
    let values: Vec<String> = arg
        .get_possible_values()
        .iter()
        .filter(|value| !value.is_hide_set())
        .map(|value| value.get_name().to_owned())
        .collect();
    if !values.is_empty() && arg.get_action().takes_values() && values != ["true", "false"] {
        meaning += &format!(" ({})", values.join(", "));
    }
    let defaults: Vec<_> = arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    if !defaults.is_empty() && arg.get_action().takes_values() && !arg.is_hide_default_value_set() {
        meaning += &format!(" (default: {})", defaults.join(", "));
    }
    meaning
}

fn text(styled: Option<&StyledStr>) -> String {
    styled.map(ToString::to_string).unwrap_or_default()
}
