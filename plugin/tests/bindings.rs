//! The declarations of SPANK that the plugin is built with are those that bindgen makes from include/spank_abi.h.
//!
//! After a change of the header, this writes them anew (bindgen needs libclang, package libclang-dev):
//! `CONDATAINER_WRITE_BINDINGS=1 cargo test -p spank_condatainer --test bindings`

#![allow(clippy::unwrap_used, reason = "a test stops where something is wrong")]

use std::fs;
use std::path::Path;

const FIRST_LINE: &str = "//! SPANK as bindgen makes it from include/spank_abi.h: `plugin/tests/bindings.rs` compares, and writes it anew when it is told to.";

fn generated(header: &Path) -> String {
    let bindings = bindgen::Builder::default()
        .header(header.to_str().unwrap())
        .disable_header_comment()
        .raw_line(FIRST_LINE)
        .allowlist_function("spank_.*|slurm_error")
        .allowlist_type("spank_.*")
        .allowlist_var("ESPANK_SUCCESS|CONDATAINER_.*")
        .prepend_enum_name(false)
        .layout_tests(false)
        .generate();
    bindings.unwrap().to_string()
}

/// Without what a formatter decides: where lines end, how they are indented, and the comma behind the last parameter.
fn meaning(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let text: String = words.concat();
    text.replace(",)", ")").replace(",}", "}").replace(",>", ">")
}

#[test]
fn the_declarations_are_those_of_the_header() {
    let crate_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    let kept = crate_dir.join("src/ffi/abi/spank_abi.rs");
    let generated = generated(&crate_dir.join("../include/spank_abi.h"));
    if std::env::var_os("CONDATAINER_WRITE_BINDINGS").is_some() {
        fs::write(&kept, &generated).unwrap();
    }
    let text = fs::read_to_string(&kept).unwrap();
    assert_eq!(
        meaning(&text),
        meaning(&generated),
        "include/spank_abi.h was changed: CONDATAINER_WRITE_BINDINGS=1 cargo test -p spank_condatainer --test bindings"
    );
}
