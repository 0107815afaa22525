//! Trouble with an image: told once, so that a broken block does not fill a job's output, and answered with an error each time.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};

use nix::errno::Errno;

/// Different things that are told; after them one line says that there are more.
const MOST: usize = 20;

/// Tells what goes wrong.
pub struct Trouble {
    said: Mutex<BTreeSet<String>>,
    say: Box<dyn Fn(&str) + Send + Sync>,
}

impl Trouble {
    /// On stderr, with the program's name.
    #[must_use]
    pub fn on_stderr() -> Self {
        Self::with(|line| {
            // Nobody is left to be told that this cannot be told.
            let _ = writeln!(io::stderr(), "condatainer: {line}");
        })
    }

    /// By a function.
    pub fn with(say: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self { said: Mutex::default(), say: Box::new(say) }
    }

    /// The code that a program is given for an error, which is told if it is about an image: an error with a text is.
    pub fn told(&self, error: io::Error) -> Errno {
        match error.raw_os_error() {
            Some(code) => Errno::from_raw(code),
            None => {
                self.tell(&error.to_string());
                code(error.kind())
            }
        }
    }

    fn tell(&self, text: &str) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.len() < MOST && said.insert(text.into()) {
            (self.say)(text);
            if said.len() == MOST {
                (self.say)("more errors of the images are not shown");
            }
        }
    }
}

fn code(kind: io::ErrorKind) -> Errno {
    match kind {
        io::ErrorKind::FileTooLarge => Errno::EFBIG,
        io::ErrorKind::NotADirectory => Errno::ENOTDIR,
        io::ErrorKind::InvalidInput => Errno::EINVAL,
        io::ErrorKind::OutOfMemory => Errno::ENOMEM,
        io::ErrorKind::Unsupported => Errno::EOPNOTSUPP,
        _ => Errno::EIO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn everything_is_told_once() {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let trouble = Trouble::with({
            let lines = Arc::clone(&lines);
            move |line| lines.lock().unwrap().push(line.to_owned())
        });
        for _ in 0..3 {
            assert_eq!(trouble.told(io::Error::other("a.sqf: is damaged")), Errno::EIO);
            assert_eq!(trouble.told(io::Error::new(io::ErrorKind::FileTooLarge, "b.sqf: large")), Errno::EFBIG);
            assert_eq!(trouble.told(Errno::ENOTDIR.into()), Errno::ENOTDIR);
        }
        assert_eq!(*lines.lock().unwrap(), ["a.sqf: is damaged", "b.sqf: large"]);
        for i in 0..100 {
            trouble.told(io::Error::other(format!("{i}")));
        }
        assert_eq!(lines.lock().unwrap().len(), MOST + 1);
    }
}
