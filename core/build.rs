//! Builds the shim (shim/main.rs) and hands its bytes to the library.
//!
//! The shim must start in an image without any libc, so it is linked statically whatever the target's default is; cargo has no
//! stable way to give one binary of a package its own target features, hence the direct call of rustc.

use std::path::PathBuf;
use std::process::{Command, ExitCode};

fn main() -> ExitCode {
    println!("cargo::rerun-if-changed=shim/main.rs");
    match build_shim() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            println!(
                "cargo::error=cannot build the shim: {why} (a static C library is needed: libc6-dev, or glibc-static)"
            );
            ExitCode::FAILURE
        }
    }
}

fn build_shim() -> Result<(), String> {
    let var = |name: &str| std::env::var(name).map_err(|e| format!("{name}: {e}"));
    let out = PathBuf::from(var("OUT_DIR")?).join("shim");
    let status = Command::new(var("RUSTC")?)
        .args(["--edition=2024", "--crate-type=bin", "--crate-name=condatainer_shim", "shim/main.rs"])
        .args(["-Copt-level=s", "-Cpanic=abort", "-Clto=fat", "-Cstrip=symbols", "-Ctarget-feature=+crt-static"])
        .arg(format!("--target={}", var("TARGET")?))
        .arg("-o")
        .arg(&out)
        .status()
        .map_err(|e| format!("rustc: {e}"))?;
    if status.success() { Ok(()) } else { Err(format!("rustc: {status}")) }
}
