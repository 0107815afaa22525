//! The symbols that the built plugin exports are exactly the intended ones: Slurm calls whatever it finds under a name it knows
//! (a stray `init` or `fini` would be run), and everything else could clash with a symbol of the host process. And it carries
//! nothing that no submission needs: every srun, sbatch and slurmstepd of a cluster loads it.

#![allow(clippy::expect_used, reason = "a test stops where something is wrong")]

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

const INTENDED: [&str; 11] = [
    "plugin_name",
    "plugin_type",
    "plugin_version",
    "slurm_spank_exit",
    "slurm_spank_init",
    "slurm_spank_init_post_opt",
    "slurm_spank_local_user_init",
    "slurm_spank_task_exit",
    "slurm_spank_task_init",
    "slurm_spank_user_init",
    "spank_plugin_version",
];
/// What Slurm 22.05 has; a direct reference to anything newer would keep the plugin from loading there.
const NEEDED: [&str; 6] =
    ["slurm_error", "spank_context", "spank_get_item", "spank_getenv", "spank_option_register", "spank_setenv"];

/// The plugin that is shipped, where `make test` names it; else the one that cargo built beside this test.
fn plugin() -> PathBuf {
    if let Some(shipped) = std::env::var_os("CONDATAINER_PLUGIN") {
        return shipped.into();
    }
    let test = std::env::current_exe().expect("path of this test");
    test.with_file_name("libspank_condatainer.so")
}

fn symbols(options: &[&str]) -> Vec<String> {
    let output =
        Command::new("nm").args(["-D", "--format=posix"]).args(options).arg(plugin()).output().expect("nm (binutils)");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("names");
    text.lines()
        .filter_map(|line| line.split(' ').next())
        .map(|name| name.split('@').next().unwrap_or(name).into())
        .collect()
}

/// The crates whose code the plugin carries: the place of a panic names a file of theirs, stripped or not.
fn crates() -> BTreeSet<String> {
    let file = std::fs::read(plugin()).expect("the plugin");
    let ends = file.windows(5).enumerate().filter(|(_, text)| text == b"/src/").map(|(at, _)| at);
    ends.filter_map(|end| {
        let start = file[..end].iter().rposition(|byte| *byte == b'/')? + 1;
        let directory = std::str::from_utf8(&file[start..end]).ok()?;
        let (version, _) = directory
            .match_indices('-')
            .find(|(at, _)| directory[at + 1..].starts_with(|c: char| c.is_ascii_digit()))?;
        Some(directory[..version].to_owned())
    })
    .collect()
}

/// Whoever reads a squashfs decompresses it; a submission looks at its superblock alone.
#[test]
fn no_decoder() {
    let found = crates();
    assert!(found.contains("serde_json") && found.contains("toml"), "what it does carry is not seen: {found:?}");
    for decoder in ["flate2", "lz4_flex", "lzma-rust2", "zlib-rs", "zstd-safe"] {
        assert!(!found.contains(decoder), "{decoder}");
    }
}

/// Nor does it serve a mounted stack.
#[test]
fn no_server() {
    let found = crates();
    for part in ["fuser", "parking_lot", "parking_lot_core"] {
        assert!(!found.contains(part), "{part}");
    }
}

/// What is shipped has no symbols, and is optimised: 1.6 MB, mostly the reading of configuration and requests. A build for trials has
/// twice as much code, and symbols, which are not loaded.
#[test]
fn no_more_than_a_submission_needs() {
    let tool = |name: &str, options: &[&str]| {
        let output = Command::new(name).args(options).arg(plugin()).output().expect("nm and size (binutils)");
        String::from_utf8(output.stdout).expect("text")
    };
    let is_shipped = tool("nm", &[]).is_empty();
    let size: u64 = if is_shipped {
        plugin().metadata().expect("the plugin").len()
    } else {
        // Below the line of headings, the first column: all that is loaded and not written to.
        let table = tool("size", &[]);
        table.lines().nth(1).and_then(|line| line.split_whitespace().next()?.parse().ok()).expect("a table of sizes")
    };
    let most = if is_shipped { 2_000_000 } else { 4_000_000 };
    assert!(size < most, "{size} bytes");
}

#[test]
fn exactly_the_intended_symbols() {
    let mut found = symbols(&["--defined-only"]);
    found.sort();
    assert_eq!(found, INTENDED);
}

#[test]
fn nothing_of_slurm_but_what_every_release_has() {
    let mut found = symbols(&["--undefined-only"]);
    found.retain(|name| name.starts_with("spank_") || name.starts_with("slurm"));
    found.sort();
    assert_eq!(found, NEEDED);
}

/// slurmstepd has one thread where it loads us, and its handlers for a fork are not ours to run.
#[test]
fn no_thread_no_fork_and_no_shell() {
    let mut found = symbols(&["--undefined-only"]);
    found.retain(|name| {
        ["pthread_create", "fork", "vfork", "posix_spawn", "posix_spawnp", "system", "popen"].contains(&name.as_str())
    });
    assert_eq!(found, Vec::<String>::new());
}
