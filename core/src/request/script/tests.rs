//! Tests of reading scripts.

use super::*;
use crate::request::layer::{Layer, Mode};
use proptest::prelude::*;

fn parse(text: &str) -> Result<Script, ScriptError> {
    Script::parse(Path::new("job.sh"), text.as_bytes(), false)
}

fn layers(script: &Script) -> Vec<(usize, String, Option<Mode>)> {
    let layer = |d: &Dependency| (d.line, d.layer.path.display().to_string(), d.layer.mode);
    script.dependencies.iter().map(layer).collect()
}

fn names(text: &str, modules: bool) -> Vec<String> {
    let script = Script::parse(Path::new("job.sh"), text.as_bytes(), modules).unwrap();
    layers(&script).into_iter().map(|(_, name, _)| name).collect()
}

fn why(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

#[test]
fn dependencies_as_the_original_reads_them() {
    let text =
        "#!/bin/bash\n#DEP: samtools/1.22 # sorts\n#DEP:bcftools=1.21\n  #DEP: indented\n# DEP: no\n#DEP:\n#DEP: # none
#DEP: src/env.img:rw\r\n#DEP: samtools--1.22\necho '#DEP: quoted'\n#DEP: a/1.21>=1.16\n#DEP: late.sqf";
    let expected = [
        (2, "samtools/1.22".into(), None),
        (3, "bcftools/1.21".into(), None),
        (8, "src/env.img".into(), Some(Mode::Rw)),
        (11, "a/1.21>=1.16".into(), None),
        (12, "late.sqf".into(), None),
    ];
    assert_eq!(layers(&parse(text).unwrap()), expected);
}

#[test]
fn modules_count_where_they_are_asked_for() {
    let text = "module load a/1 b=2 # c\n  ml d\nml load e; ml f\nml purge g\nml unload x\nmlflow run\nmodule list h
module  load i && j\nml -q k 2> log\nmodule unload l";
    assert!(names(text, false).is_empty());
    assert_eq!(names(text, true), ["a/1", "b/2", "d", "e", "i", "k"]);
}

#[test]
fn options_are_words_of_a_shell() {
    let text =
        "#CNT --writable -f\n\t#CNT --env 'A=b c' --env=D=e=f # why\n#CNT -b base.sif --pwd /w\n#CNTRL is a key\n#CNT
#CNT--bind /a:/b -o 'x y.sqf'\n#CNT --no-fakeroot --tmp";
    let expected = Settings {
        write: true,
        tmp: true,
        fakeroot: Some(false),
        base: Some("base.sif".into()),
        overlays: vec!["x y.sqf".into()],
        bind: vec!["/a:/b".into()],
        env: vec![("A".into(), "b c".into()), ("D".into(), "e=f".into())],
        pwd: Some("/w".into()),
    };
    let script = parse(text).unwrap();
    assert_eq!(script.settings, expected);
    assert!(script.asks_for_something() && !parse("#CNT\necho\n").unwrap().asks_for_something());
}

#[test]
fn mistakes_name_their_line() {
    let unknown = why("#!/bin/sh\n#CNT --nv");
    assert!(unknown.starts_with("job.sh: line 2: #CNT does not know '--nv': write -w, "), "{unknown}");
    assert_eq!(why("#CNT --env"), "job.sh: line 1: #CNT --env needs a value");
    assert_eq!(why("\n\n#CNT -w=1"), "job.sh: line 3: #CNT -w takes no value");
    assert_eq!(why("#CNT --env 'A=b"), "job.sh: line 1: a quote is not closed");
    assert!(why("#CNT --env A").contains("line 1: environment setting 'A'"));
    assert!(why("#DEP: env.img:wr").contains("line 1: layer 'env.img:wr': unknown mode"));
    assert!(why("#DEP: a//b").contains("line 1: "));
    let bytes = Script::parse(Path::new("x"), b"#DEP: a\xff", false).unwrap_err().to_string();
    assert_eq!(bytes, "x: line 1: it is not UTF-8");
}

#[test]
fn an_archive_in_a_script_is_no_text() {
    let mut text = b"#!/bin/sh\n#DEP: a\nexit\n\xff\xfe#CNT --x\n".to_vec();
    text.extend(b"#CNT \x00--nonsense\n#DEP: \x00b\n");
    assert_eq!(Script::parse(Path::new("x"), &text, true).unwrap().dependencies.len(), 1);
}

#[test]
fn the_header_ends_at_the_first_command() {
    let text = "#!/usr/bin/env -S condatainer run\n#SBATCH -n2 --chdir='/a b'\n\n # note\n #SBATCH no\n#BB x\nset -e\n#SBATCH late";
    let header = parse(text).unwrap().header;
    assert!(header.starts_us() && header.is_for_slurm());
    assert_eq!(header.directives, ["#SBATCH -n2 --chdir='/a b'", "#BB x"]);
    assert_eq!(header.sbatch_words().collect::<Vec<_>>(), ["-n2", "--chdir=/a b"]);
    assert_eq!(header.chdir(&[]), Some("/a b".into()));
    assert_eq!(header.chdir(&["-D".into(), "x".into()]), Some("x".into()));
    let plain = parse("#!/bin/bash\n##SBATCH no\n").unwrap().header;
    assert!(!plain.starts_us() && !plain.is_for_slurm() && plain.chdir(&[]).is_none());
    assert_eq!(parse("echo").unwrap().header.interpreter, None);
}

#[test]
fn a_glance_finds_lines() {
    let dir = tempfile::tempdir().unwrap();
    let glance = |text: &str| {
        let path = dir.path().join("script");
        std::fs::write(&path, text).unwrap();
        has_lines(&path)
    };
    assert!(glance("#!/bin/sh\n#DEP: a\n") && glance("#!/bin/sh\n#CNT -w"));
    assert!(!glance("#!/bin/sh\n#CNT is the count\n#CNT - values\n#CNT=3"), "comments of strangers");
    assert!(glance("#!/bin/sh\n#CNT --nv"), "a mistake is left to whoever can tell it");
    assert!(!glance("#!/bin/sh\n#DEP: # none\n#CNT\n"));
    assert!(!glance("#!/bin/sh\necho\n") && !glance("#DEP: a\n") && !glance(""));
    assert!(!glance("#!/usr/bin/env -S condatainer run\n#DEP: a\n"));
    assert!(!has_lines(dir.path()) && !has_lines(&dir.path().join("none")));
}

#[test]
fn what_is_no_file_is_said() {
    let missing = Script::read(Path::new("/no/such.sh"), false).unwrap_err().to_string();
    assert!(missing.starts_with("/no/such.sh: cannot be read as a script: No such file"), "{missing}");
    let fifo = Script::read(Path::new("/dev/null"), false).unwrap_err().to_string();
    assert!(fifo.ends_with("a script must be a regular file"), "{fifo}");
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(text in prop::collection::vec(any::<u8>(), 0..200), modules: bool) {
        let _ = Script::parse(Path::new("x"), &text, modules);
    }

    #[test]
    fn any_lines_are_read_or_refused(
        lines in prop::collection::vec("(#DEP:|#CNT|ml|module load|#SBATCH|#!)[ -~]{0,20}", 0..6),
        modules: bool,
    ) {
        let text = lines.join("\n");
        if let Ok(script) = Script::parse(Path::new("x"), text.as_bytes(), modules) {
            let all: Vec<_> = script.dependencies.iter().map(|d| &d.layer).collect();
            prop_assert!((1..all.len()).all(|at| !all[..at].contains(&all[at])));
        }
    }

    #[test]
    fn a_quoted_value_survives(value in "[ -~]{0,20}") {
        let quoted = shlex::try_quote(&value).unwrap();
        let script = parse(&format!("#CNT --env A={quoted}")).unwrap();
        prop_assert_eq!(script.settings.env, [("A".to_string(), value)]);
    }

    #[test]
    fn every_dependency_is_found(paths in prop::collection::hash_set("[a-z]{1,6}\\.(sqf|img)", 1..5)) {
        let paths: Vec<String> = paths.into_iter().collect();
        let text: String = paths.iter().map(|path| format!("#DEP:  {path} # c\nbody\n")).collect();
        prop_assert_eq!(names(&text, false), paths);
    }
}

#[test]
fn a_name_and_its_mode() {
    let script = parse("#DEP: work=1:tmp").unwrap();
    assert_eq!(script.dependencies[0].layer, Layer { mode: Some(Mode::Tmp), ..Layer::at("work/1") });
}
