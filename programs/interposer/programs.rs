//! Where the interposer looks for programs besides PATH. Apptainer's starter gives its FUSE programs no environment, so these are
//! mostly all it has. Also read by the engine (`run::engine::daemons`), which leads to the interposer only what it can find.

/// Where Apptainer's packages and its `make install` put the FUSE programs that it brings along.
pub(crate) const OF_APPTAINER: [&str; 4] = [
    "/usr/local/libexec/apptainer/bin",
    "/usr/libexec/apptainer/bin",
    #[cfg(target_arch = "x86_64")]
    "/usr/lib/x86_64-linux-gnu/apptainer/bin",
    #[cfg(target_arch = "aarch64")]
    "/usr/lib/aarch64-linux-gnu/apptainer/bin",
    "/usr/lib/apptainer/bin",
];
/// Users often lack these in PATH.
pub(crate) const OF_THE_SYSTEM: [&str; 5] = ["/usr/local/sbin", "/usr/bin", "/usr/sbin", "/sbin", "/bin"];
