//! Values of arguments that several verbs have.

use clap::ValueEnum;
pub(crate) use condatainer_core::config::parse_size;
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
