//! The structure of the house: the map in docs/design.md is that of cargo, no file imports one that imports it, and at most a dozen
//! names stand side by side.

// Tests and their helpers: what does not hold, fails the test.
#![allow(clippy::unwrap_used, clippy::panic)]
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use syn::visit::Visit;

/// The directories whose files import each other.
const LIBRARIES: [&str; 8] =
    ["formats/src", "writer/src", "images/src", "stack/src", "core/src", "cli/src", "plugin/src", "tests/src"];
/// How many names may stand side by side, besides the file that says what the directory is.
const SIDE_BY_SIDE: usize = 12;

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// A module by the names that lead to it from the root of its library.
type Module = Vec<String>;

/// The arrows of the map: `formats ← images` is (images, formats).
fn drawn() -> BTreeSet<(String, String)> {
    let text = fs::read_to_string(top().join("docs/design.md")).unwrap();
    let map =
        text.split("```").find(|block| block.contains('←')).unwrap_or_else(|| panic!("docs/design.md draws no map"));
    let mut arrows = BTreeSet::new();
    for line in map.lines() {
        let names: Vec<&str> = line.split('←').map(str::trim).collect();
        for pair in names.windows(2) {
            for (from, to) in
                pair[1].split(',').flat_map(|from| pair[0].split(',').map(move |to| (from.trim(), to.trim())))
            {
                arrows.insert((from.to_owned(), to.to_owned()));
            }
        }
    }
    arrows
}

/// The libraries of the workspace that each one stands on, by the names of their directories, as cargo tells them.
fn built() -> BTreeSet<(String, String)> {
    let options = ["metadata", "--locked", "--no-deps", "--format-version=1"];
    let output = Command::new(env!("CARGO")).args(options).current_dir(top()).output().unwrap();
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let directory = |manifest: &str| Path::new(manifest).file_name().unwrap().to_string_lossy().into_owned();
    let mut arrows = BTreeSet::new();
    for package in packages {
        let from = directory(Path::new(package["manifest_path"].as_str().unwrap()).parent().unwrap().to_str().unwrap());
        for dependency in package["dependencies"].as_array().unwrap() {
            if let (Some(path), true) = (dependency["path"].as_str(), dependency["kind"].is_null()) {
                arrows.insert((from.clone(), directory(path)));
            }
        }
    }
    arrows
}

/// All that can be reached over one arrow or several.
fn reached(arrows: &BTreeSet<(String, String)>) -> BTreeSet<(String, String)> {
    let mut all = arrows.clone();
    loop {
        let further: Vec<_> = all
            .iter()
            .flat_map(|(from, over)| {
                arrows.iter().filter(move |(start, _)| start == over).map(move |(_, to)| (from.clone(), to.clone()))
            })
            .collect();
        let before = all.len();
        all.extend(further);
        if all.len() == before {
            return all;
        }
    }
}

#[test]
fn the_map_is_that_of_cargo() {
    let (drawn, built) = (drawn(), built());
    let (way_drawn, way_built) = (reached(&drawn), reached(&built));
    let missing: Vec<_> = built.difference(&way_drawn).collect();
    assert!(missing.is_empty(), "cargo knows arrows that docs/design.md does not draw: {missing:?}");
    let invented: Vec<_> = drawn.difference(&way_built).collect();
    assert!(invented.is_empty(), "docs/design.md draws arrows that cargo does not know: {invented:?}");
    assert!(way_drawn.iter().all(|(from, to)| from != to), "the arrows go in a circle: {way_drawn:?}");
}

/// The files of a library by the modules that they are.
fn modules(source: &Path) -> BTreeMap<Module, PathBuf> {
    let mut found = BTreeMap::new();
    for file in rust_files(source) {
        let name = file.strip_prefix(source).unwrap().with_extension("");
        let mut module: Module = name.iter().map(|part| part.to_string_lossy().into_owned()).collect();
        if module.last().is_some_and(|last| last == "mod" || (module.len() == 1 && (last == "lib" || last == "main"))) {
            module.pop();
        }
        found.insert(module, file);
    }
    found
}

fn rust_files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().flatten().map(|entry| entry.path());
    let (dirs, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    let mut files: Vec<_> = files.into_iter().filter(|path| path.extension().is_some_and(|end| end == "rs")).collect();
    files.extend(dirs.iter().flat_map(|dir| rust_files(dir)));
    files
}

/// Whether it is compiled for tests only, by its name.
fn is_of_tests(module: &[String]) -> bool {
    module.iter().any(|name| name == "tests" || name.ends_with("_tests"))
}

/// What a file names of its own library.
struct Imports<'a> {
    modules: &'a BTreeMap<Module, PathBuf>,
    /// The module that is read, with those inside of the file.
    here: Module,
    named: BTreeSet<Module>,
}

impl Imports<'_> {
    /// Notes the file in which a path begins that is written here.
    fn note(&mut self, path: &[String]) {
        let mut rest = path;
        let mut place = match path.first().map(String::as_str) {
            Some("crate") => Module::new(),
            Some("self" | "super") => self.here.clone(),
            Some(first) if self.modules.contains_key(&[&self.here[..], &[first.to_owned()]].concat()) => {
                self.here.clone()
            }
            _ => return,
        };
        while let Some(step @ ("crate" | "self" | "super")) = rest.first().map(String::as_str) {
            if step == "super" {
                place.pop();
            }
            rest = &rest[1..];
        }
        place.extend_from_slice(rest);
        while !self.modules.contains_key(&place) {
            if place.pop().is_none() {
                return;
            }
        }
        self.named.insert(place);
    }

    fn note_tree(&mut self, before: &[String], tree: &syn::UseTree) {
        let with = |name: String| [before, &[name]].concat();
        match tree {
            syn::UseTree::Path(path) => self.note_tree(&with(path.ident.to_string()), &path.tree),
            syn::UseTree::Name(name) if name.ident == "self" => self.note(before),
            syn::UseTree::Name(name) => self.note(&with(name.ident.to_string())),
            syn::UseTree::Rename(name) => self.note(&with(name.ident.to_string())),
            syn::UseTree::Glob(_) => self.note(before),
            syn::UseTree::Group(group) => group.items.iter().for_each(|tree| self.note_tree(before, tree)),
        }
    }
}

fn is_for_tests(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg") && attribute.parse_args::<syn::Ident>().is_ok_and(|name| name == "test")
    })
}

impl<'ast> Visit<'ast> for Imports<'_> {
    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        if !is_for_tests(&item.attrs) {
            self.note_tree(&[], &item.tree);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if item.content.is_some() && !is_for_tests(&item.attrs) {
            self.here.push(item.ident.to_string());
            syn::visit::visit_item_mod(self, item);
            self.here.pop();
        }
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        if !is_for_tests(&item.attrs) {
            syn::visit::visit_item_fn(self, item);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.segments.len() > 1 {
            let path: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
            self.note(&path);
        }
        syn::visit::visit_path(self, path);
    }
}

/// Which files each file of a library imports.
fn imports(source: &Path) -> BTreeMap<Module, BTreeSet<Module>> {
    let modules = modules(source);
    let mut all = BTreeMap::new();
    for (module, file) in modules.iter().filter(|(module, _)| !is_of_tests(module)) {
        let text = fs::read_to_string(file).unwrap();
        let parsed = syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let mut imports = Imports { modules: &modules, here: module.clone(), named: BTreeSet::new() };
        imports.visit_file(&parsed);
        imports.named.retain(|named| named != module && !is_of_tests(named));
        all.insert(module.clone(), imports.named);
    }
    all
}

/// The first circle that is found from `module` on, as the modules on the way.
fn circle(
    module: &Module,
    imports: &BTreeMap<Module, BTreeSet<Module>>,
    way: &mut Vec<Module>,
    done: &mut BTreeSet<Module>,
) -> Option<String> {
    if let Some(start) = way.iter().position(|passed| passed == module) {
        let names: Vec<String> = way[start..].iter().chain([module]).map(|module| module.join("::")).collect();
        return Some(names.join(" → "));
    }
    if !done.insert(module.clone()) {
        return None;
    }
    way.push(module.clone());
    let found = imports.get(module).into_iter().flatten().find_map(|next| circle(next, imports, way, done));
    way.pop();
    found
}

#[test]
fn no_file_imports_one_that_imports_it() {
    let mut circles = Vec::new();
    for library in LIBRARIES {
        let imports = imports(&top().join(library));
        assert!(
            imports.values().any(|named| !named.is_empty()),
            "{library}: no file imports another: this test reads nothing"
        );
        let mut done = BTreeSet::new();
        let found = imports.keys().filter_map(|module| circle(module, &imports, &mut Vec::new(), &mut done));
        circles.extend(found.map(|circle| format!("{library}: {circle}")));
    }
    assert!(circles.is_empty(), "files import each other in a circle:\n{}", circles.join("\n"));
}

#[test]
fn at_most_a_dozen_names_stand_side_by_side() {
    let mut crowded = Vec::new();
    let mut waiting: Vec<PathBuf> = LIBRARIES
        .into_iter()
        .chain(["programs", "images/tests", "core/tests", "tests/tests"])
        .map(|dir| top().join(dir))
        .collect();
    while let Some(dir) = waiting.pop() {
        let mut names = BTreeSet::new();
        for path in fs::read_dir(&dir).unwrap().flatten().map(|entry| entry.path()) {
            if path.is_dir() {
                waiting.push(path.clone());
            }
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if !["mod.rs", "lib.rs", "main.rs"].contains(&name.as_str()) {
                names.insert(name.trim_end_matches(".rs").to_owned());
            }
        }
        if names.len() > SIDE_BY_SIDE {
            crowded.push(format!("{}: {} names", dir.strip_prefix(top()).unwrap().display(), names.len()));
        }
    }
    assert!(crowded.is_empty(), "{}", crowded.join("\n"));
}

/// What a reader can keep in his head; CONTRIBUTING.md has the rule.
const LONGEST: usize = 400;

#[test]
fn every_file_fits_in_one_head() {
    let lines = |path: &PathBuf| fs::read_to_string(path).unwrap().lines().count();
    let entries = fs::read_dir(top()).unwrap().flatten().filter(|entry| entry.path().is_dir());
    // What is built, and caches.
    let is_source = |name: &str| name != "target" && !name.starts_with('.');
    let rooms = entries.filter(|entry| is_source(&entry.file_name().to_string_lossy()));
    let sources: Vec<PathBuf> = rooms.flat_map(|room| rust_files(&room.path())).collect();
    let long: Vec<_> = sources.iter().map(|path| (lines(path), path)).filter(|(lines, _)| *lines > LONGEST).collect();
    assert!(long.is_empty() && sources.len() > 900, "{} files, {long:?}", sources.len());
}

/// What serves only starts whose layers the engine mounts: by which words it is named, where it lies, and the files that may know of it. It
/// could be deleted together with these words in them.
const OF_THE_ENGINES_MOUNTS: [(&str, &str, &[&str]); 4] = [
    (
        "engine_mounts::",
        "core/src/run/engine_mounts",
        &["core/src/run/container.rs", "core/src/run/engine/child.rs", "cli/src/main.rs", "cli/src/start/container.rs"],
    ),
    (
        "whiteout::",
        "images/src/overlay/whiteout",
        &[
            "core/src/machine/survey/whiteouts.rs",
            "core/src/run/engine_mounts/after_write.rs",
            "core/src/run/engine_mounts/scan_cache.rs",
            "core/src/run/engine_mounts/second_look.rs",
            "images/src/verbs/check/error.rs",
            "images/src/verbs/check/ext/whiteouts.rs",
            "images/src/verbs/info/ext.rs",
        ],
    ),
    (
        "interposers::",
        "core/src/machine/interposers.rs",
        &[
            "core/src/doctor/engine/read.rs",
            "core/src/machine/survey/engine.rs",
            "core/src/machine/survey/hard_links.rs",
            "core/src/run/engine_mounts/abandoned.rs",
            "core/src/run/engine_mounts/daemons.rs",
        ],
    ),
    (
        "machine::hard_links::",
        "core/src/machine/hard_links.rs",
        &[
            "core/src/doctor/engine/fuse.rs",
            "core/src/machine/facts.rs",
            "core/src/machine/survey/hard_links.rs",
            "core/src/plan/mod.rs",
        ],
    ),
];

#[test]
fn few_know_what_serves_the_engines_mounts() {
    let sources: Vec<PathBuf> = LIBRARIES.iter().flat_map(|library| rust_files(&top().join(library))).collect();
    for (words, home, joints) in OF_THE_ENGINES_MOUNTS {
        let mut found = BTreeSet::new();
        for path in &sources {
            let name = path.strip_prefix(top()).unwrap();
            let is_of_tests = is_of_tests(
                &name.with_extension("").iter().map(|part| part.to_string_lossy().into_owned()).collect::<Module>(),
            );
            if name.starts_with(home) || is_of_tests || name.starts_with("tests") {
                continue;
            }
            let text = fs::read_to_string(path).unwrap();
            if text.lines().any(|line| !line.trim_start().starts_with("//") && line.contains(words)) {
                found.insert(name.to_string_lossy().into_owned());
            }
        }
        let expected: BTreeSet<String> = joints.iter().map(|joint| (*joint).to_owned()).collect();
        assert_eq!(found, expected, "{words}: {home} is known to other files than to these");
    }
}
