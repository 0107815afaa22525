//! The page of one verb, from its definition: what `--help` shows is sorted into the sections of a man page.

use clap::{Arg, ArgAction, Command};
use clap_mangen::roff::{Inline, Roff, bold, italic, roman};

/// When the pages changed last.
const DATE: &str = "2026-11-30";

/// Verbs that start a command and end as it does.
const STARTS: [&str; 5] = ["exec", "e", "run", "join", "with-root"];
/// Verbs whose reports have colours.
const COLOURED: [&str; 6] = ["list", "info", "ps", "explain", "config", "doctor"];

const OF_STARTS: [(&str, &str); 6] = [
    ("N", "The command's own."),
    ("128+N", "The command was ended by signal N."),
    ("2", "The command line makes no sense."),
    ("125", "The command could not be started; a line says why, and what to type."),
    ("126", "The command is in the container and cannot be executed."),
    ("127", "There is no such command in the container."),
];
const OF_OTHERS: [(&str, &str); 3] = [
    ("0", "It is done."),
    ("1", "It failed; a line says why, and what to type."),
    ("2", "The command line makes no sense."),
];

const FILES: [(&str, &str); 4] = [
    ("/etc/condatainer/config.toml", "The site's configuration, see condatainer-config(5)."),
    ("~/.config/condatainer/config.toml", "Your own."),
    ("~/.local/share/condatainer/images", "Your layers, which have names."),
    ("env.img", "The image of a workspace, which 'condatainer e' finds."),
];

/// What the page of a verb is called.
pub(super) fn name(verb: &Command) -> String {
    verb.get_bin_name().unwrap_or(verb.get_name()).replace(' ', "-")
}

/// The page; `parent` is what the verb belongs to.
pub(super) fn page(verb: &Command, parent: Option<&Command>) -> String {
    let mut page = Roff::new();
    let version = format!("condatainer {}", env!("CARGO_PKG_VERSION"));
    page.control("TH", [name(verb).to_uppercase().as_str(), "1", DATE, &version, "User Commands"]);
    let about = verb.get_about().map(ToString::to_string).unwrap_or_default();
    section(&mut page, "NAME").text([roman(format!("{} - {}", name(verb), about.trim_end_matches('.')))]);
    section(&mut page, "SYNOPSIS").text(synopsis(verb));
    let long = verb.get_long_about().map_or(about, ToString::to_string);
    let (first, more) = long.split_once("\n\n").unwrap_or((&long, ""));
    section(&mut page, "DESCRIPTION").text([roman(first.replace('\n', " "))]);
    paragraphs(&mut page, more);
    let parts = parts(verb);
    parts.iter().filter(|part| part.heading.is_none()).for_each(|part| paragraphs(&mut page, &part.text));
    verbs(&mut page, verb);
    options(&mut page, verb);
    environment(&mut page, verb);
    list(section(&mut page, "FILES"), &FILES);
    exit_status(&mut page, verb, &parts);
    for part in &parts {
        match part.heading.as_deref() {
            None | Some("Exit code" | "Files") => {}
            Some(heading) => literal(section(&mut page, &heading.to_uppercase()), &part.text),
        }
    }
    see_also(&mut page, verb, parent);
    page.to_roff()
}

/// What stands below the options in `--help`, cut at its headings.
struct Part {
    heading: Option<String>,
    text: String,
}

fn parts(verb: &Command) -> Vec<Part> {
    let text = verb.get_after_help().map(ToString::to_string).unwrap_or_default();
    let part = |text: &str| match text.split_once(':') {
        Some((heading, rest)) if rest.starts_with('\n') || matches!(heading, "Exit code" | "Files") => {
            Part { heading: Some(heading.into()), text: rest.trim_start_matches('\n').trim_end().into() }
        }
        _ => Part { heading: None, text: text.into() },
    };
    text.split("\n\n").filter(|text| !text.trim().is_empty()).map(part).collect()
}

fn section<'a>(page: &'a mut Roff, heading: &str) -> &'a mut Roff {
    page.control("SH", [heading])
}

fn paragraphs(page: &mut Roff, text: &str) {
    for paragraph in text.split("\n\n").filter(|text| !text.trim().is_empty()) {
        page.control("PP", []);
        page.text([roman(paragraph.replace('\n', " "))]);
    }
}

/// Lines as they are.
fn literal(page: &mut Roff, text: &str) {
    page.control("nf", []);
    for line in text.lines() {
        page.text([roman(line)]);
    }
    page.control("fi", []);
}

fn list(page: &mut Roff, entries: &[(&str, &str)]) {
    for (term, text) in entries {
        page.control("TP", []);
        page.text([bold(*term)]);
        page.text([roman(*text)]);
    }
}

/// Options of every verb are left out, and those that are for other tools' users.
fn own(verb: &Command) -> impl Iterator<Item = &Arg> {
    verb.get_arguments().filter(|arg| !arg.is_hide_set() && !is_common(arg))
}

fn is_common(arg: &Arg) -> bool {
    arg.is_global_set() || matches!(arg.get_action(), ArgAction::Help | ArgAction::Version)
}

fn synopsis(verb: &Command) -> Vec<Inline> {
    let mut line = vec![bold(verb.get_bin_name().unwrap_or(verb.get_name()))];
    let (positional, options): (Vec<&Arg>, Vec<&Arg>) = own(verb).partition(|arg| arg.is_positional());
    for option in options {
        line.push(roman(if option.is_required_set() { " " } else { " [" }));
        line.extend(written(option, false));
        let end = if option.is_required_set() { "" } else { "]" };
        let again = if matches!(option.get_action(), ArgAction::Append) { "..." } else { "" };
        line.push(roman(format!("{end}{again}")));
    }
    for argument in positional {
        let (is_many, name) = (argument.get_num_args().is_some_and(|range| range.max_values() > 1), value(argument));
        let many = if is_many || matches!(argument.get_action(), ArgAction::Append) { "..." } else { "" };
        line.extend(match (argument.is_last_set(), argument.is_required_set()) {
            (true, _) => vec![roman(" ["), bold("--"), roman(" "), italic(name), roman(format!("{many}]"))],
            (false, true) => vec![roman(" "), italic(name), roman(many)],
            (false, false) => vec![roman(" ["), italic(name), roman(format!("]{many}"))],
        });
    }
    if verb.has_subcommands() {
        line.extend([roman(" "), italic("VERB"), roman(" [...]")]);
    }
    line
}

/// The option, with what it takes; in its short form, or in all forms.
fn written(option: &Arg, in_full: bool) -> Vec<Inline> {
    let short = option.get_short().map(|short| format!("-{short}"));
    let long = option.get_long().map(|long| format!("--{long}"));
    let forms: Vec<String> = match in_full {
        true => short.into_iter().chain(long).collect(),
        false => short.or(long).into_iter().collect(),
    };
    let mut inlines = vec![bold(forms.join(", "))];
    if option.get_action().takes_values() {
        let name = value(option);
        let is_optional = option.get_num_args().is_some_and(|range| range.min_values() == 0);
        inlines.extend(match is_optional {
            true => vec![roman("[="), italic(name), roman("]")],
            false => vec![roman(" "), italic(name)],
        });
    }
    inlines
}

fn value(arg: &Arg) -> String {
    let named = arg.get_value_names().map(|names| names.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "));
    named.unwrap_or_else(|| arg.get_id().to_string().to_uppercase())
}

fn verbs(page: &mut Roff, verb: &Command) {
    if !verb.has_subcommands() {
        return;
    }
    section(page, "VERBS");
    let visible = |verb: &&Command| !verb.is_hide_set() && verb.get_name() != "help";
    for one in verb.get_subcommands().filter(visible) {
        page.control("TP", []);
        page.text([bold(name(one)), roman("(1)")]);
        page.text([roman(one.get_about().map(ToString::to_string).unwrap_or_default())]);
    }
}

fn options(page: &mut Roff, verb: &Command) {
    section(page, "OPTIONS");
    let mut heading = None;
    for arg in own(verb).chain(verb.get_arguments().filter(|arg| is_common(arg) && !arg.is_hide_set())) {
        if arg.get_help_heading() != heading {
            heading = arg.get_help_heading();
            page.control("SS", [heading.unwrap_or("Arguments")]);
        }
        page.control("TP", []);
        page.text(if arg.is_positional() { vec![italic(value(arg))] } else { written(arg, true) });
        page.text([roman(help(arg))]);
        let described = arg.get_possible_values().into_iter().filter(|value| !value.is_hide_set());
        let described: Vec<String> =
            described.filter_map(|value| Some(format!("{}: {}", value.get_name(), value.get_help()?))).collect();
        if !described.is_empty() {
            page.text([roman(format!("({})", described.join("; ")))]);
        }
        let default: Vec<_> = arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
        if arg.get_action().takes_values() && !default.is_empty() {
            page.text([roman(format!("The default is {}.", default.join(" ")))]);
        }
    }
}

fn help(arg: &Arg) -> String {
    arg.get_help().map(ToString::to_string).unwrap_or_default().replace('\n', " ")
}

fn exit_status(page: &mut Roff, verb: &Command, parts: &[Part]) {
    let is_start = STARTS.contains(&verb.get_name());
    section(page, "EXIT STATUS");
    list(page, if is_start { &OF_STARTS } else { &OF_OTHERS });
    let own = parts.iter().filter(|part| !is_start && part.heading.as_deref() == Some("Exit code"));
    own.for_each(|part| paragraphs(page, &format!("Here: {}", part.text.trim())));
}

fn environment(page: &mut Roff, verb: &Command) {
    section(page, "ENVIRONMENT");
    for arg in own(verb) {
        let help = help(arg);
        if let Some((_, name)) = help.split_once("[env: ") {
            let name = name.trim_end_matches(']');
            let option = arg.get_long().unwrap_or_default();
            list(page, &[(name, &format!("Stands for --{option} where that is not given."))]);
        }
    }
    if ["exec", "e", "run"].contains(&verb.get_name()) {
        list(page, &[("CONDATAINER_OVERLAY", "The layers where none are named, as a list with commas.")]);
    }
    if COLOURED.contains(&verb.get_name()) {
        list(page, &[("NO_COLOR, CLICOLOR_FORCE", "No colours, or colours also where the output is no terminal.")]);
    }
    list(page, &[("CONDATAINER_IMAGE_DIRS", "Directories in which layers are found by name, with ':' between them.")]);
    paragraphs(page, "All variables are in condatainer-config(5).");
}

fn see_also(page: &mut Roff, verb: &Command, parent: Option<&Command>) {
    section(page, "SEE ALSO");
    let (this, parent) = (name(verb), parent.map(name));
    let near = parent.filter(|parent| parent != "condatainer");
    let others = if STARTS.contains(&verb.get_name()) { &["apptainer(1)", "srun(1)"][..] } else { &["apptainer(1)"] };
    let mut first = vec!["condatainer(1)".to_owned()];
    first.extend(near.map(|near| format!("{near}(1)")));
    first.extend(others.iter().map(ToString::to_string));
    first.retain(|page| *page != format!("{this}(1)"));
    first.sort();
    first.extend(["condatainer-config(5)", "condatainer(7)", "spank_condatainer(8)"].map(String::from));
    page.text([roman(first.join(", "))]);
}
