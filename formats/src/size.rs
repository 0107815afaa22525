//! Bytes as people read them. Every message that names a size says it this way.

use std::fmt;

const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/// So many bytes, shown in the largest unit of which there is one: `66.00 MiB`, `512 B`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size(pub u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut hundredths = u128::from(self.0) * 100;
        let mut unit = "B";
        for larger in UNITS {
            if hundredths < 1024 * 100 {
                break;
            }
            hundredths = (hundredths + 512) / 1024;
            unit = larger;
        }
        match unit {
            "B" => write!(f, "{} B", self.0),
            _ => write!(f, "{}.{:02} {unit}", hundredths / 100, hundredths % 100),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Size;

    #[test]
    fn bytes_are_shown_in_the_largest_unit() {
        for (bytes, shown) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.00 KiB"),
            (1536, "1.50 KiB"),
            (66_060_288, "63.00 MiB"),
            (10 << 30, "10.00 GiB"),
            ((5 << 40) + (1 << 38), "5.25 TiB"),
            (u64::MAX, "16.00 EiB"),
        ] {
            assert_eq!(Size(bytes).to_string(), shown);
        }
    }
}
