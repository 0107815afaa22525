//! The doctor: everything that a container start needs on this machine, each with what was found and what to do about it.
//!
//! A topic is a module: its `read` looks at the machine and gives plain facts, its `judge` turns facts into checks without looking
//! at anything, so that every verdict is tested with values. Readers change nothing: programs are only asked for their versions,
//! namespaces end with the process that made them, and the lock of a user's image is asked about, never taken.

mod check;
mod engine;
mod files;
mod ids;
mod machine;
mod mounts;
mod place;
mod request;
mod slurm;
mod start;
mod tools;

use std::io;
use std::path::Path;
use std::thread;

use crate::config::{self, Config, SYSTEM_FILE};
use condatainer_images::system::user::Caller;

pub use check::{Check, Group, IDS, Report, Status};
pub use engine::in_words as engine_in_words;
use request::Asker;
pub use request::Request;

/// Looks at everything.
///
/// # Errors
/// The caller cannot be told.
pub fn examine(request: &Request) -> io::Result<Report> {
    let asker = Asker { caller: Caller::current()?, node: request.node };
    let read = configuration(request);
    let config = read.as_ref().cloned().unwrap_or_default();
    let mut checks = thread::scope(|scope| {
        // Other programs are asked meanwhile.
        let topics = [
            scope.spawn(|| machine::judge(&machine::read(&asker), &asker)),
            scope.spawn(|| engine::judge(&engine::read(&config))),
            scope.spawn(|| mounts::judge(&mounts::read(&config, &asker))),
            scope.spawn(|| tools::judge(&tools::read())),
            scope.spawn(|| slurm::judge(&slurm::read(&request.env))),
        ];
        let mut checks = ids::judge(&ids::read(&asker), &asker);
        checks.extend(files::judge(&files::read(&read, &config, request), &asker));
        checks.extend(request.places.iter().map(|path| place::judge(&place::read(path))));
        topics.into_iter().fold(checks, |mut all, topic| {
            all.extend(topic.join().unwrap_or_else(|_| Vec::new()));
            all
        })
    });
    checks.push(start::check(request, &read, &asker));
    Ok(Report::new(checks, &request.skip))
}

/// The configuration that a start would have; of a node, that of the site alone.
fn configuration(request: &Request) -> Result<Config, String> {
    let site = Config::system(Path::new(SYSTEM_FILE));
    let all = if request.node {
        site
    } else {
        site.and_then(|site| site.with_user(config::user_file(&request.env).as_deref(), &request.env))
    };
    all.map_err(|error| error.to_string())
}
