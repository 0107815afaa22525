//! Values that are words: who mounts ([`mounts`]), where what is written for one run is kept ([`scratch`]), and whether a start waits
//! ([`wait`]). And one that is a table: what a site lets its users start ([`policy`]). Where the record of use
//! is kept ([`log`]) is a word or a path.

/// A value is written in files and in JSON as it is displayed, and read as it is parsed.
macro_rules! as_text {
    ($value:ty) => {
        impl serde::Serialize for $value {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $value {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <String as serde::Deserialize>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
use as_text;

pub(super) mod log;
pub(super) mod mounts;
pub(super) mod policy;
pub(super) mod scratch;
pub(super) mod wait;
