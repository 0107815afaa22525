//! The plugin's build script: Rust declarations from include/spank_abi.h, only those that are named here.

use std::path::PathBuf;
use std::process::ExitCode;

const HEADER: &str = "../include/spank_abi.h";

fn main() -> ExitCode {
    println!("cargo::rerun-if-changed={HEADER}");
    println!("cargo::rustc-env=CONDATAINER_TARGET={}", std::env::var("TARGET").unwrap_or_default());
    match generate() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            println!(
                "cargo::error={HEADER}: cannot generate the SPANK bindings: {why} (bindgen needs libclang: package libclang-dev)"
            );
            ExitCode::FAILURE
        }
    }
}

fn generate() -> Result<(), String> {
    let out = std::env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?;
    let bindings = bindgen::Builder::default()
        .header(HEADER)
        .allowlist_function("spank_.*|slurm_error")
        .allowlist_type("spank_.*")
        .allowlist_var("ESPANK_SUCCESS|CONDATAINER_.*")
        .prepend_enum_name(false)
        .layout_tests(false)
        .generate()
        .map_err(|e| e.to_string())?;
    bindings.write_to_file(PathBuf::from(out).join("spank_abi.rs")).map_err(|e| e.to_string())
}
