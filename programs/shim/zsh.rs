//! A zsh that is started in the container: it reads the files of a directory of ours, which read the user's own first.
//!
//! It knows no option and no variable for one more file, but ZDOTDIR for the directory of all of them. Ours is on the host, so the
//! shell inherits a descriptor of it, which its file closes; see `programs/shells/zshenv`.

use alloc::vec::Vec;

use super::shell::interpreter;
use super::{System, Variables};

const DIRECTORY: &str = "ZDOTDIR";
/// What ZDOTDIR was; not set if that was not set.
const OWN: &str = "CONDATAINER_ZDOTDIR";
const FILE: &[u8] = b"/.zshenv";

/// Where the command is a zsh that reads the user's files, it finds ours in their place.
pub(super) fn started(system: &impl System, argv: &[Vec<u8>], variables: &mut Variables) {
    if !is_zsh_with_files(system, argv) {
        return;
    }
    let Some(directory) = system.startup().filter(|path| system.exists(&[path, FILE].concat())) else { return };
    if let Some(own) = variables.insert(DIRECTORY.into(), directory) {
        variables.insert(OWN.into(), own);
    }
}

/// Whether this is a zsh, or a script for it, that reads start-up files. All do, also for a script, if they are not told otherwise.
fn is_zsh_with_files(system: &impl System, argv: &[Vec<u8>]) -> bool {
    let Some((program, options)) = argv.split_first() else { return false };
    if is_zsh(program) {
        let is_there = !program.contains(&b'/') || system.exists(program);
        return is_there && reads_files(options);
    }
    let line = interpreter(system, program);
    let behind = line.iter().position(|word| is_zsh(word)).and_then(|at| line.get(at + 1..));
    behind.is_some_and(reads_files)
}

fn is_zsh(program: &[u8]) -> bool {
    program.rsplit(|byte| *byte == b'/').next() == Some(b"zsh")
}

/// Whether nothing but these options of zsh is given that may keep it from its files. What they do not name is what it runs.
fn reads_files(options: &[Vec<u8>]) -> bool {
    let mut options = options.iter().map(Vec::as_slice);
    while let Some(option) = options.next() {
        match option {
            b"--login" | b"--interactive" => {}
            b"-" | b"--" => return true,
            // Other long names, and what is turned off.
            [b'-', b'-', ..] | [b'+', ..] => return false,
            b"-o" if options.next().is_some_and(|name| !names_files(name)) => {}
            // `-f` is none of them, and `-p` not the user's.
            [b'-', letters @ ..] if letters.iter().any(|letter| b"ofp".contains(letter)) => return false,
            [b'-', letters @ ..] if letters.contains(&b'c') => return true,
            [b'-', ..] => {}
            _ => return true,
        }
    }
    true
}

/// Whether this option, in one of its many spellings, is about which files are read.
fn names_files(name: &[u8]) -> bool {
    let plain: Vec<u8> = name.iter().filter(|byte| byte.is_ascii_alphabetic()).map(u8::to_ascii_lowercase).collect();
    plain.ends_with(b"rcs") || plain.ends_with(b"privileged")
}
