//! The documents keep to what is there: every test that docs/security.md names exists, every message of docs/messages.md is one of ours,
//! every link leads somewhere, every command of make is a target, and the sample configuration has every key.

// Tests and their helpers: what does not hold, fails the test.
#![allow(clippy::unwrap_used, clippy::panic)]
#![forbid(unsafe_code)]

mod reference;

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use cluster::document::{self, Part};

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All files below a directory that end so, but for what is built.
fn files(dir: &Path, end: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap().flatten() {
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        if path.is_dir() && !name.starts_with('.') && name != "target" {
            found.extend(files(&path, end));
        } else if name.ends_with(end) {
            found.push(path);
        }
    }
    found
}

/// README.md and its like, and those in docs/.
fn documents() -> Vec<PathBuf> {
    let mut all = files(&top().join("docs"), ".md");
    all.extend(["README.md", "CONTRIBUTING.md", "CHANGELOG.md"].map(|name| top().join(name)));
    all
}

/// What stands between backticks.
fn code(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

/// Whether a text looks like `FILE::TEST`.
fn is_test(code: &str) -> bool {
    code.contains("::") && code.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':')
}

/// The tests of a virtual machine are steps of a script, and named `vm::STEP`.
fn exists(test: &str, sources: &[(PathBuf, String)]) -> bool {
    let (place, name) = test.rsplit_once("::").unwrap();
    if place == "vm" {
        return ["trial", "stacks"]
            .iter()
            .any(|part| read(&top().join("tests/vm").join(part)).contains(&format!("{name}()")));
    }
    let function = format!("fn {name}(");
    let is_there = |path: &Path| {
        let shown = path.strip_prefix(top()).unwrap().with_extension("");
        let parts: Vec<_> = shown.iter().map(|part| part.to_string_lossy().into_owned()).collect();
        let mut rest = parts.iter();
        let is = |part: &str, wanted: &str| part == wanted || part.strip_suffix("_tests") == Some(wanted);
        place.split("::").all(|wanted| rest.any(|part| is(part, wanted)))
    };
    sources.iter().any(|(path, text)| is_there(path) && text.contains(&function))
}

fn sources() -> Vec<(PathBuf, String)> {
    files(&top(), ".rs").into_iter().map(|path| (path.clone(), read(&path))).collect()
}

#[test]
fn every_promise_has_its_test() {
    let (text, sources) = (read(&top().join("docs/security.md")), sources());
    let mut wrong = Vec::new();
    let is_row = |line: &&str| line.starts_with("| ") && !line.starts_with("| promise ");
    let promises = text.split("\n## ").filter(|section| section.contains("| promise | test |"));
    for row in promises.flat_map(str::lines).filter(is_row) {
        let tests: Vec<&str> = code(row).filter(|code| is_test(code)).collect();
        if tests.is_empty() {
            wrong.push(format!("no test: {row}"));
        }
        wrong.extend(tests.iter().filter(|test| !exists(test, &sources)).map(|test| format!("no such test: {test}")));
    }
    assert!(wrong.is_empty(), "docs/security.md:\n{}", wrong.join("\n"));
}

/// Of a message, what stands between its placeholders is in the source. Rows of other programs' words say so in brackets.
#[test]
fn every_message_is_one_of_ours() {
    let ours = sources().into_iter().filter(|(path, _)| !path.starts_with(top().join("tests")));
    // A text may go on after a break of the line.
    let source: String = ours
        .flat_map(|(_, text)| text.split("\\\n").map(str::trim_start).map(str::to_owned).collect::<Vec<_>>())
        .collect();
    let text = read(&top().join("docs/messages.md"));
    let cells = text.lines().filter(|line| line.starts_with("| `")).filter_map(|line| line.split('|').nth(1));
    let ours: Vec<&str> = cells
        .filter(|cell| !cell.contains("(Slurm's words)") && !cell.contains("(from a ") && !cell.contains("(in a "))
        .collect();
    assert!(ours.len() > 50, "{}", ours.len());
    for message in ours.into_iter().flat_map(code) {
        let words: Vec<&str> = message.split(' ').collect();
        for part in words.split(|word| is_placeholder(word)).map(|part| part.join(" ")).filter(|part| part.len() > 7) {
            assert!(source.contains(&part), "docs/messages.md: {message}: '{part}' is in no message");
        }
    }
}

/// `PATH`, `N:` or `…`.
fn is_placeholder(word: &str) -> bool {
    let word = word.trim_end_matches([':', ',', ';']);
    matches!(word, "N" | "…") || word.len() > 1 && word.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
}

#[test]
fn a_test_that_is_not_there_is_noticed() {
    let sources = sources();
    assert!(exists("documents::every_promise_has_its_test", &sources));
    assert!(
        !exists("documents::no_such_test", &sources) && !exists("no_such_file::every_promise_has_its_test", &sources)
    );
    assert!(is_test("a::b_1") && !is_test("a: b") && !is_test("ab"));
}

/// The rule in CONTRIBUTING.md lists the directories.
#[test]
fn unsafe_stays_behind_its_walls() {
    let text = read(&top().join("CONTRIBUTING.md"));
    let rule = text.split_once("No `unsafe` outside ").and_then(|(_, rest)| rest.split_once("`SAFETY`")).unwrap().0;
    let walls: Vec<PathBuf> = code(rule).map(|dir| top().join(dir)).collect();
    let is_unsafe = |text: &str| {
        ["unsafe {", "unsafe fn", "unsafe extern", "unsafe impl", "unsafe(no_mangle)"].iter().any(|form| {
            text.lines().filter(|line| !line.trim_start().starts_with("//")).any(|line| line.contains(form))
        })
    };
    let own = Path::new(file!()).file_name();
    for (path, text) in sources().iter().filter(|(path, _)| path.file_name() != own) {
        let is_behind = walls.iter().any(|wall| path.starts_with(wall));
        assert!(is_behind || !is_unsafe(text), "{}: unsafe outside of {walls:?}", path.display());
    }
    assert!(walls.iter().all(|wall| wall.is_dir()) && walls.len() > 3, "{walls:?}");
}

#[test]
fn every_link_leads_somewhere() {
    let mut anchors = HashMap::new();
    let mut wrong = Vec::new();
    for document in documents() {
        let text = read(&document);
        for link in links(&text).filter(|link| !link.contains("://")) {
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if path.is_empty() { document.clone() } else { document.parent().unwrap().join(path) };
            let is_there = target.exists()
                && (anchor.is_empty()
                    || anchors
                        .entry(target.clone())
                        .or_insert_with(|| headings(&read(&target)))
                        .contains(&anchor.to_owned()));
            if !is_there {
                wrong.push(format!("{}: {link}", document.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What stands in `[…](HERE)`; lines may break within the brackets.
fn links(text: &str) -> impl Iterator<Item = &str> {
    text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link)
}

/// The anchors that a page shows: headings in small letters, without punctuation, with `-` for spaces.
fn headings(text: &str) -> Vec<String> {
    let heading = |line: &str| {
        let title = line.trim_start_matches('#').strip_prefix(' ')?;
        let kept = title.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        line.starts_with('#').then(|| kept.collect::<String>().to_lowercase().replace(' ', "-"))
    };
    text.lines().filter_map(heading).collect()
}

/// The sample and the administration guide have every key that a file can have, and no other.
#[test]
fn every_key_of_the_configuration_is_shown() {
    let settings = read(&top().join("core/src/config/settings.rs"));
    let fields = settings.lines().filter_map(|line| line.trim().strip_prefix("pub ")?.split_once(": Option<"));
    let policy = read(&top().join("core/src/config/value/policy.rs"));
    let of_policy = policy.lines().filter_map(|line| line.trim().strip_prefix("pub ")?.split_once(": "));
    let of_policy = of_policy.filter(|(key, _)| !key.contains(' '));
    let keys: BTreeSet<&str> = fields.chain(of_policy).map(|(key, _)| key).collect();
    assert!(keys.contains("base") && keys.len() > 9, "{keys:?}");
    let sample = read(&top().join("packaging/config.toml.example"));
    let guide = read(&top().join("docs/admin/configuration.md"));
    let guide = guide.split("```toml").skip(1).filter_map(|rest| rest.split_once("```")).map(|(block, _)| block);
    let guide = guide.collect::<String>();
    for (name, text) in [("packaging/config.toml.example", sample), ("docs/admin/configuration.md", guide)] {
        let shown: BTreeSet<&str> = text.lines().filter_map(shown_key).collect();
        assert_eq!(shown, keys, "{name}");
    }
}

/// The key of `#KEY = …`, `KEY = …` or `[KEY]`.
fn shown_key(line: &str) -> Option<&str> {
    let line = line.strip_prefix('#').unwrap_or(line);
    let table = line.strip_prefix('[').and_then(|rest| rest.split_once(']')).map(|(key, _)| key);
    let key = line.split_once(" = ").map(|(key, _)| key);
    let is_key = |key: &&str| key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    table.or(key).filter(is_key)
}

/// The pages that are written out know what the code does.
#[test]
fn man_pages_have_every_key_and_option() {
    let page = |name: &str| read(&top().join("cli/src/manual/pages").join(name)).replace("\\&", "");
    let config = page("condatainer-config.5");
    let sample = read(&top().join("packaging/config.toml.example"));
    let keys = sample.lines().take_while(|line| *line != "#[fixed]").filter(|line| !line.starts_with("#["));
    for key in keys.filter_map(shown_key) {
        assert!(config.contains(&format!(".It Ic {key} = ")), "condatainer-config(5) lacks {key}");
    }
    let plugin = page("spank_condatainer.8");
    let options = read(&top().join("plugin/src/options.rs"));
    let names: Vec<&str> = options.split("c\"condatainer-").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert!(names.len() > 10, "{names:?}");
    for name in names {
        assert!(
            plugin.contains(&format!("Fl Fl condatainer-{name}")),
            "spank_condatainer(8) lacks --condatainer-{name}"
        );
    }
}

#[test]
fn every_command_of_make_is_a_target() {
    let makefile: String = ["Makefile", "packaging/packages.mk"].map(|file| read(&top().join(file))).concat();
    let targets: Vec<&str> =
        makefile.lines().filter_map(|line| line.split_once(':')).map(|(target, _)| target).collect();
    for document in documents() {
        let text = read(&document);
        let typed = code(&text).chain(text.lines()).filter_map(|line| line.strip_prefix("make "));
        let words = typed.filter_map(|rest| rest.split_whitespace().next());
        for target in words.filter(|word| word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')) {
            assert!(targets.contains(&target), "{}: make {target}", document.display());
        }
    }
}

/// Everything that is typed in the pages that readers follow is run by the suite's theme `guides`, or says why it cannot be.
#[test]
fn every_command_block_is_run_or_says_why() {
    let technical =
        ["SUMMARY.md", "security.md", "design.md", "testing.md", "benchmarks.md", "CONTRIBUTING.md", "CHANGELOG.md"];
    let mut followed = Vec::new();
    let mut run = 0;
    for part in Part::ALL {
        for document in part.documents().unwrap() {
            let blocks = document::read(&document).unwrap_or_else(|error| panic!("{error:#}"));
            run += blocks.iter().filter(|block| block.is_run() && block.has_commands()).count();
            followed.push(top().join(document));
        }
    }
    assert!(run > 60, "only {run} blocks are run");
    let is_technical = |path: &Path| {
        technical.iter().any(|name| path.ends_with(name)) || path.starts_with(top().join("docs/reference"))
    };
    let forgotten: Vec<_> =
        documents().into_iter().filter(|path| !is_technical(path) && !followed.contains(path)).collect();
    assert!(forgotten.is_empty(), "nobody types what these say: {forgotten:?}");
}

/// The site has the pages of SUMMARY.md, and those alone; what leads out of docs/ would lead nowhere there.
#[test]
fn every_page_is_in_the_summary() {
    let docs = top().join("docs");
    let summary = read(&docs.join("SUMMARY.md"));
    let listed: BTreeSet<PathBuf> = links(&summary).map(|link| docs.join(link)).collect();
    let pages: BTreeSet<PathBuf> =
        files(&docs, ".md").into_iter().filter(|path| !path.ends_with("SUMMARY.md")).collect();
    assert_eq!(listed, pages);
    for page in &pages {
        let text = read(page);
        let depth = page.strip_prefix(&docs).unwrap().components().count();
        let out = links(&text).find(|link| link.matches("../").count() >= depth || link.ends_with("SUMMARY.md"));
        assert!(out.is_none(), "{}: {out:?} leads out of the site", page.display());
    }
}

/// Every figure of a chart stands in a table of the page that shows it.
#[test]
fn every_chart_is_that_of_its_table() {
    let page = read(&top().join("docs/benchmarks.md"));
    let cells: BTreeSet<&str> =
        page.lines().filter(|line| line.starts_with('|')).flat_map(|line| line.split('|').map(str::trim)).collect();
    let charts = files(&top().join("docs/charts"), ".svg");
    assert!(charts.len() > 5, "{charts:?}");
    for chart in charts {
        let name = chart.file_name().unwrap().to_string_lossy().into_owned();
        assert!(page.contains(&format!("(charts/{name})")), "docs/benchmarks.md does not show {name}");
        let text = read(&chart);
        // The size of the letters tells a figure from an axis.
        let labels: Vec<&str> = text.split("font-size=\"10.00\"").skip(1).filter_map(figure).collect();
        assert!(labels.len() > 2, "{name} has no figures");
        let old: Vec<_> = labels.iter().filter(|label| !cells.contains(**label)).collect();
        assert!(old.is_empty(), "{name} shows {old:?}, which no table has: make charts");
    }
}

/// What gnuplot writes into the next `<tspan …>HERE</tspan>`.
fn figure(svg: &str) -> Option<&str> {
    svg.split_once("<tspan")?.1.split_once('>')?.1.split_once("</tspan>").map(|(figure, _)| figure)
}
