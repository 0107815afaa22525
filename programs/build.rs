//! Builds the shim (shim/), the interposer (interposer/), the relay (relay/), the warden (warden/) and the preload (preload/), and
//! hands their bytes to the library.
//!
//! They must start at once, and in an image without any libc, so they are programs without a C library, which share what stands
//! in for it (freestanding/). Cargo has no stable way to give one binary of a package its own options of
//! the linker and the target, hence the direct call of rustc.

use std::path::PathBuf;
use std::process::{Command, ExitCode};

/// No entry code, no library and no loader of the system's, and always at the same address, so that there is nothing to be
/// relocated.
const BY_ITSELF: [&str; 4] =
    ["-Clink-arg=-nostartfiles", "-Clink-arg=-nostdlib", "-Ctarget-feature=+crt-static", "-Crelocation-model=static"];
/// A library that is loaded into a program which has a C library.
const INTO_ANOTHER: [&str; 3] = ["-Clink-arg=-nostartfiles", "-Clink-arg=-nostdlib", "-Ctarget-feature=-crt-static"];

fn main() -> ExitCode {
    for source in ["freestanding", "src", "shim", "interposer", "relay", "warden", "preload"] {
        println!("cargo::rerun-if-changed={source}");
    }
    let programs = ["shim", "interposer", "relay", "warden"].into_iter();
    match programs
        .map(|name| (name, "bin", &BY_ITSELF[..]))
        .chain([("preload", "cdylib", &INTO_ANOTHER[..])])
        .try_for_each(build)
    {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            println!("cargo::error={why}");
            ExitCode::FAILURE
        }
    }
}

fn build((name, kind, options): (&str, &str, &[&str])) -> Result<(), String> {
    let var = |name: &str| std::env::var(name).map_err(|e| format!("{name}: {e}"));
    let out = PathBuf::from(var("OUT_DIR")?).join(name);
    let status = Command::new(var("RUSTC")?)
        .args(["--edition=2024", "--crate-type", kind, "--crate-name", &format!("condatainer_{name}")])
        .args(["-Copt-level=s", "-Cpanic=abort", "-Clto=fat", "-Cstrip=symbols"])
        .args(options)
        .arg(format!("--target={}", var("TARGET")?))
        .arg(format!("{name}/main.rs"))
        .arg("-o")
        .arg(&out)
        .status()
        .map_err(|e| format!("cannot build {name}: rustc: {e}"))?;
    if status.success() { Ok(()) } else { Err(format!("cannot build {name}: rustc: {status}")) }
}
