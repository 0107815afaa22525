//! Builds the shim (shim/) and the interposer (interposer/), and hands their bytes to the library.
//!
//! The shim must start in an image without any libc, and the interposer at once, so both are linked statically whatever the
//! target's default is, and the interposer without a C library; cargo has no stable way to give one binary of a package its own
//! target features, hence the direct call of rustc.

use std::path::PathBuf;
use std::process::{Command, ExitCode};

/// No entry code and no library of the system's, and always at the same address, so that there is nothing to be relocated.
const BY_ITSELF: [&str; 3] = ["-Clink-arg=-nostartfiles", "-Clink-arg=-nostdlib", "-Crelocation-model=static"];

fn main() -> ExitCode {
    println!("cargo::rerun-if-changed=shim");
    println!("cargo::rerun-if-changed=interposer");
    match build("shim", &[]).and_then(|()| build("interposer", &BY_ITSELF)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            println!("cargo::error={why} (a static C library is needed: libc6-dev, or glibc-static)");
            ExitCode::FAILURE
        }
    }
}

fn build(name: &str, options: &[&str]) -> Result<(), String> {
    let var = |name: &str| std::env::var(name).map_err(|e| format!("{name}: {e}"));
    let out = PathBuf::from(var("OUT_DIR")?).join(name);
    let status = Command::new(var("RUSTC")?)
        .args(["--edition=2024", "--crate-type=bin", "--crate-name", &format!("condatainer_{name}")])
        .args(["-Copt-level=s", "-Cpanic=abort", "-Clto=fat", "-Cstrip=symbols", "-Ctarget-feature=+crt-static"])
        .args(options)
        .arg(format!("--target={}", var("TARGET")?))
        .arg(format!("{name}/main.rs"))
        .arg("-o")
        .arg(&out)
        .status()
        .map_err(|e| format!("cannot build {name}: rustc: {e}"))?;
    if status.success() { Ok(()) } else { Err(format!("cannot build {name}: rustc: {status}")) }
}
