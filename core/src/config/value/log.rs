//! Where the record of use is kept.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Log {
    /// The socket of syslog(3).
    Syslog,
    /// The journal of systemd.
    Journal,
    /// A directory, in which each user has files of his own.
    Directory(PathBuf),
}

impl FromStr for Log {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "syslog" => Ok(Self::Syslog),
            "journal" => Ok(Self::Journal),
            path if path.starts_with('/') => Ok(Self::Directory(path.into())),
            _ => Err(format!("'{text}' is not one of: syslog, journal, /DIRECTORY")),
        }
    }
}

/// As a site writes it.
impl fmt::Display for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syslog => f.write_str("syslog"),
            Self::Journal => f.write_str("journal"),
            Self::Directory(path) => write!(f, "{}", path.display()),
        }
    }
}

super::as_text!(Log);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for text in ["syslog", "journal", "/var/log/condatainer"] {
            assert_eq!(text.parse::<Log>().unwrap().to_string(), text);
        }
        assert_eq!("log".parse::<Log>(), Err("'log' is not one of: syslog, journal, /DIRECTORY".into()));
    }
}
