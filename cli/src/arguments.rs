//! Values of arguments that several verbs have.

use clap::ValueEnum;
use condatainer_images::verbs::seal;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Compression {
    /// Small, and quick to read
    Zstd,
    /// Smallest, slow to read
    Xz,
    /// What every kernel reads
    Gzip,
    /// Largest, quickest
    Lz4,
}

pub(crate) fn compression(compression: Compression) -> seal::Compression {
    match compression {
        Compression::Zstd => seal::Compression::Zstd,
        Compression::Xz => seal::Compression::Xz,
        Compression::Gzip => seal::Compression::Gzip,
        Compression::Lz4 => seal::Compression::Lz4,
    }
}

/// A size in bytes, with binary units.
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    parse_size::Config::new()
        .with_binary()
        .parse_size(text)
        .map_err(|e| format!("{e}: write a number with K, M, G or T"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_binary() {
        assert_eq!(parse_size("1G"), Ok(1 << 30));
        assert_eq!(parse_size("512MiB"), Ok(512 << 20));
        assert!(parse_size("much").is_err());
    }
}
