//! Where what `:tmp` and `--tmp` write is kept.

use std::fmt;
use std::str::FromStr;

/// See the module.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scratch {
    /// In a directory, which another key names.
    #[default]
    Disk,
    /// In memory: so many bytes, or half of what the start may have.
    Memory(Option<u64>),
}

/// What can be written.
pub(crate) const ALLOWED: &str = "disk, memory, memory:SIZE";

const UNITS: [(u64, &str); 4] = [(1 << 40, "T"), (1 << 30, "G"), (1 << 20, "M"), (1 << 10, "K")];

/// A size in bytes, with binary units.
///
/// # Errors
/// What is no size, in words.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let read = parse_size::Config::new().with_binary().parse_size(text);
    read.map_err(|_| format!("'{text}' is no size: write a number with K, M, G or T, such as 20G"))
}

impl FromStr for Scratch {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match (text, text.strip_prefix("memory:")) {
            ("disk", _) => Ok(Self::Disk),
            ("memory", _) => Ok(Self::Memory(None)),
            (_, Some(size)) => match parse_size(size)? {
                0 => Err("nothing fits into 0 bytes".into()),
                bytes => Ok(Self::Memory(Some(bytes))),
            },
            _ => Err(format!("'{text}' is not one of: {ALLOWED}")),
        }
    }
}

/// As users write it.
impl fmt::Display for Scratch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disk => f.write_str("disk"),
            Self::Memory(None) => f.write_str("memory"),
            Self::Memory(Some(bytes)) => {
                let (unit, name) = UNITS.into_iter().find(|(unit, _)| bytes % unit == 0).unwrap_or((1, ""));
                write!(f, "memory:{}{name}", bytes / unit)
            }
        }
    }
}

super::as_text!(Scratch);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for (text, scratch) in [
            ("disk", Scratch::Disk),
            ("memory", Scratch::Memory(None)),
            ("memory:512M", Scratch::Memory(Some(512 << 20))),
            ("memory:1536M", Scratch::Memory(Some(3 << 29))),
            ("memory:1000", Scratch::Memory(Some(1000))),
        ] {
            assert_eq!((text.parse(), scratch.to_string().as_str()), (Ok(scratch), text));
        }
        assert_eq!("memory:2GiB".parse(), Ok(Scratch::Memory(Some(2 << 30))));
        for text in ["", "ram", "memory:", "memory:much", "memory:0", "disk:1G"] {
            assert!(text.parse::<Scratch>().is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_binary() {
        assert_eq!(parse_size("1G"), Ok(1 << 30));
        assert_eq!(parse_size("512MiB"), Ok(512 << 20));
        assert!(parse_size("much").is_err());
    }
}
