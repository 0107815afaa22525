//! A workspace image that the server lays over layers: by a user in a namespace of his own, by one with subordinate ids, and by root; what it is
//! to programs there, and what is in the image afterwards. The kernel's own ext3 is the oracle.
//!
//! This program is also the server and what enters the namespaces, as condatainer is; what runs in there is a shell, or this program again.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on has failed")]

#[path = "../support/chance.rs"]
mod chance;
mod content;
mod disk;
mod effects;
mod faults;
mod fsx;
mod ground;
mod inside;
mod killed;
mod layers;
#[path = "ffi/mapping.rs"]
mod mapping;
mod marks;
mod messages;
#[path = "../scratch/model.rs"]
mod model;
mod place;
mod programs;
#[allow(dead_code, unreachable_pub)]
#[path = "../../../writer/tests/support/record.rs"]
mod record;
mod recorded;
mod rights;
mod several;
mod start;

use std::ffi::OsString;
use std::process::ExitCode;

use condatainer_stack::process::entry::enter;
use condatainer_stack::process::server::serve;
use condatainer_stack::process::{ENTER, SERVE, tree};
use libtest_mimic::{Arguments, Failed, Trial};

/// What starts both.
const START: &str = "start";
/// What runs one function of [`inside`].
const INSIDE: &str = "inside";

/// A test: its name, and what it does.
type Test = (&'static str, fn() -> Result<(), String>);

fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().collect();
    match words.get(1).and_then(|verb| verb.to_str()) {
        Some(SERVE) => serve(|opened, say| {
            let name = opened.images.first().map_or(String::new(), |(image, _)| image.path.display().to_string());
            match name.as_str() {
                "counted" => messages::open(opened, say),
                "image" => tree::open(opened, say),
                name => tree::open_on(opened, say, |device| disk::tried(name, device)),
            }
        }),
        Some(ENTER) => enter(&words[2..]),
        Some(START) => start::start(&words[2..]),
        Some(INSIDE) => {
            let words: Vec<_> = words[2..].iter().map(|word| word.to_str().unwrap()).collect();
            inside::run(words[0], &words[1..]);
            ExitCode::SUCCESS
        }
        _ => {
            let tests = [
                content::TESTS,
                faults::TESTS,
                ground::TESTS,
                killed::TESTS,
                layers::TESTS,
                marks::TESTS,
                messages::TESTS,
                programs::TESTS,
                recorded::TESTS,
                rights::TESTS,
                several::TESTS,
            ];
            let trial = |(name, test): Test| Trial::test(name, move || test().map_err(Failed::from));
            let trials = tests.concat().into_iter().map(trial).collect();
            libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
        }
    }
}
