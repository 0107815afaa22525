//! Our idea of SPANK against Slurm's own: include/spank_abi.h is compiled after every real spank.h that is found, with static
//! assertions for each name, value, size and offset that the plugin uses.
//!
//! Headers are taken from `SPANK_INCLUDE_DIRS` (separated by colons; `make test` names those of every cached release) and from
//! the machine's own include directories.

#![allow(clippy::expect_used, reason = "a test stops where something is wrong")]

use std::path::{Path, PathBuf};

/// Both headers cannot be in one translation unit, so ours is renamed by the preprocessor before it is read.
const RENAMED: [&str; 11] = [
    "spank_handle",
    "spank_t",
    "spank_item",
    "spank_context",
    "spank_opt_cb_f",
    "spank_option",
    "spank_option_register",
    "spank_get_item",
    "spank_getenv",
    "spank_setenv",
    "slurm_error",
];
const ITEMS: [&str; 9] = [
    "S_JOB_UID",
    "S_JOB_GID",
    "S_JOB_ID",
    "S_JOB_STEPID",
    "S_JOB_NNODES",
    "S_JOB_LOCAL_TASK_COUNT",
    "S_JOB_TOTAL_TASK_COUNT",
    "S_JOB_ARGV",
    "S_JOB_ENV",
];
const CONTEXTS: [&str; 6] =
    ["S_CTX_ERROR", "S_CTX_LOCAL", "S_CTX_REMOTE", "S_CTX_ALLOCATOR", "S_CTX_SLURMD", "S_CTX_JOB_SCRIPT"];
const FIELDS: [&str; 6] = ["name", "arginfo", "usage", "has_arg", "val", "cb"];

fn ours() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../include/spank_abi.h")
}

fn include_dirs() -> Vec<PathBuf> {
    let named = std::env::var_os("SPANK_INCLUDE_DIRS").unwrap_or_default();
    for dir in std::env::split_paths(&named).filter(|dir| !dir.as_os_str().is_empty()) {
        assert!(
            dir.join("slurm/spank.h").is_file(),
            "{}: named in SPANK_INCLUDE_DIRS, but has no slurm/spank.h",
            dir.display()
        );
    }
    let machine = ["/usr/include", "/usr/local/include"].map(PathBuf::from);
    std::env::split_paths(&named).chain(machine).filter(|dir| dir.join("slurm/spank.h").is_file()).collect()
}

/// A C file that fails to compile where the two headers differ.
fn assertions() -> String {
    let mut c = String::from("#include <stddef.h>\n#include <stdint.h>\n#include <slurm/spank.h>\n");
    c.push_str("enum { SUCCESS = ESPANK_SUCCESS, NOEXIST = ESPANK_ENV_NOEXIST };\n#undef ESPANK_SUCCESS\n");
    for name in ITEMS.iter().chain(&CONTEXTS).chain(&RENAMED) {
        c.push_str(&format!("#define {name} ours_{name}\n"));
    }
    c.push_str(&format!("#include \"{}\"\n", ours().display()));
    for name in ITEMS.iter().chain(&CONTEXTS).chain(&RENAMED) {
        c.push_str(&format!("#undef {name}\n"));
    }
    let mut same = |what: &str| c.push_str(&format!("_Static_assert({what}, \"{what}\");\n"));
    for name in ITEMS.iter().chain(&CONTEXTS) {
        same(&format!("(int){name} == (int)ours_{name}"));
    }
    for field in FIELDS {
        same(&format!("offsetof(struct spank_option, {field}) == offsetof(struct ours_spank_option, {field})"));
    }
    same("sizeof(struct spank_option) == sizeof(struct ours_spank_option)");
    same("sizeof(spank_t) == sizeof(ours_spank_t)");
    same("sizeof(enum spank_item) == sizeof(enum ours_spank_item)");
    same("sizeof(spank_err_t) == sizeof(int)");
    same("SUCCESS == 0");
    same("NOEXIST == 3004");
    c.push_str("int (*opt)(int, const char *, int) = (spank_opt_cb_f)0;\n");
    c.push_str("spank_context_t (*context)(void) = spank_context;\n");
    c.push_str("spank_err_t (*reg)(spank_t, struct spank_option *) = spank_option_register;\n");
    c.push_str("spank_err_t (*item)(spank_t, spank_item_t, ...) = spank_get_item;\n");
    c.push_str("spank_err_t (*get)(spank_t, const char *, char *, int) = spank_getenv;\n");
    c.push_str("spank_err_t (*set)(spank_t, const char *, const char *, int) = spank_setenv;\n");
    c.push_str("void (*slurm_log)(const char *, ...) = slurm_error;\n");
    c
}

fn compile(include: &Path, source: &Path) -> std::process::Output {
    let mut build = cc::Build::new();
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    build.host(&target).target(&target).opt_level(0).cargo_metadata(false);
    let mut command = build.get_compiler().to_command();
    command.args(["-std=gnu11", "-fsyntax-only", "-Wall", "-Werror", "-I"]).arg(include).arg(source);
    command.output().expect("a C compiler")
}

#[test]
fn our_header_agrees_with_every_slurm() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("abi.c");
    std::fs::write(&source, assertions()).unwrap();
    let found = include_dirs();
    if found.is_empty() {
        println!("NOT COVERED: no slurm/spank.h found (SPANK_INCLUDE_DIRS); 'make test' checks 22.05, 24.11 and 26.05");
        return;
    }
    for include in found {
        let output = compile(&include, &source);
        assert!(output.status.success(), "{}: {}", include.display(), String::from_utf8_lossy(&output.stderr));
        println!("{}: agrees", include.display());
    }
}

#[test]
fn a_difference_would_be_noticed() {
    let Some(include) = include_dirs().into_iter().next() else { return };
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("abi.c");
    std::fs::write(&source, assertions().replace("(int)ours_S_JOB_ARGV", "(int)ours_S_JOB_ID")).unwrap();
    assert!(!compile(&include, &source).status.success());
}
