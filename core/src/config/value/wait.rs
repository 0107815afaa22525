//! Whether a start waits for an image that somebody else uses, and how long.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// See the module.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wait {
    /// It is refused at once.
    #[default]
    No,
    /// As long as it takes.
    Yes,
    /// So long at most, then it is refused.
    AtMost(Duration),
}

/// What can be written.
pub(crate) const ALLOWED: &str = "yes, no, or a time such as 30s, 5m, 2h";

impl FromStr for Wait {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "no" => Ok(Self::No),
            "yes" => Ok(Self::Yes),
            time => {
                let time = humantime::parse_duration(time).map_err(|_| format!("'{text}' is not one of: {ALLOWED}"))?;
                Ok(if time.is_zero() { Self::No } else { Self::AtMost(time) })
            }
        }
    }
}

/// As users write it.
impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::No => f.write_str("no"),
            Self::Yes => f.write_str("yes"),
            Self::AtMost(time) => f.write_str(&humantime::format_duration(*time).to_string().replace(' ', "")),
        }
    }
}

super::as_text!(Wait);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        for (text, wait) in [
            ("no", Wait::No),
            ("yes", Wait::Yes),
            ("90s", Wait::AtMost(Duration::from_secs(90))),
            ("5m", Wait::AtMost(Duration::from_secs(300))),
            ("1h30m", Wait::AtMost(Duration::from_secs(5400))),
        ] {
            assert_eq!(text.parse(), Ok(wait), "{text}");
            assert_eq!(wait.to_string().parse(), Ok(wait));
        }
        assert_eq!("0s".parse(), Ok(Wait::No));
        // A number alone is minutes to Slurm, and seconds to sleep(1).
        for text in ["5", "", "soon", "-3s"] {
            let why = format!("'{text}' is not one of: {ALLOWED}");
            assert_eq!(text.parse::<Wait>(), Err(why));
        }
    }
}
