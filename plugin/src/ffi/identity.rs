//! What makes this file a plugin in Slurm's eyes: its name, its type, and the version of the Slurm that loads it.
//!
//! Slurm refuses a plugin whose version differs from its own in major.minor. One file serves every release because a constructor
//! sets the version from the API number of the Slurm in whose process it finds itself. Outside the range that is tested the
//! version stays 0, and Slurm refuses the plugin with its own message.

#![allow(unreachable_pub, reason = "these symbols are looked up by Slurm")]

use std::ffi::c_uint;
use std::sync::atomic::{AtomicU32, Ordering};

/// The plugin's name: options are forwarded under it.
#[unsafe(no_mangle)]
#[allow(non_upper_case_globals)]
pub static plugin_name: [u8; 12] = *b"condatainer\0";

/// Its type.
#[unsafe(no_mangle)]
#[allow(non_upper_case_globals)]
pub static plugin_type: [u8; 6] = *b"spank\0";

/// `SLURM_VERSION_NUMBER` of the Slurm that loads us, in the form 0xMMmm00.
#[unsafe(no_mangle)]
#[allow(non_upper_case_globals)]
pub static plugin_version: AtomicU32 = AtomicU32::new(0);

/// Version of the plugin itself, as `SPANK_PLUGIN` asks for.
#[unsafe(no_mangle)]
#[allow(non_upper_case_globals)]
pub static spank_plugin_version: c_uint = 1;

/// `slurm_api_version() >> 16` of the first release that is supported; the others follow without a gap.
const FIRST_API: u32 = 38;
/// Major and minor of each supported release: 22.05 up to 26.05.
const RELEASES: [(u32, u32); 8] = [(22, 5), (23, 2), (23, 11), (24, 5), (24, 11), (25, 5), (25, 11), (26, 5)];

#[used]
#[unsafe(link_section = ".init_array")]
static SET_VERSION: extern "C" fn() = set_version;

/// Runs while the plugin is being loaded, before Slurm reads `plugin_version`.
extern "C" fn set_version() {
    plugin_version.store(version_for(slurm_api()), Ordering::Relaxed);
}

fn slurm_api() -> u32 {
    // SAFETY: looks a name up in the process; the string is NUL-terminated.
    let symbol = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"slurm_api_version".as_ptr()) };
    if symbol.is_null() {
        return 0;
    }
    // SAFETY: libslurm declares `long slurm_api_version(void)` (slurm.h), unchanged in all supported releases.
    let api = unsafe { std::mem::transmute::<*mut libc::c_void, extern "C" fn() -> libc::c_long>(symbol) };
    u32::try_from(api() >> 16).unwrap_or(0)
}

fn version_for(api: u32) -> u32 {
    let release = api.checked_sub(FIRST_API).and_then(|at| RELEASES.get(at as usize));
    release.map_or(0, |(major, minor)| major << 16 | minor << 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_as_slurm_counts_them() {
        assert_eq!(version_for(38), 0x16_05_00);
        assert_eq!(version_for(42), 0x18_0b_00);
        assert_eq!(version_for(45), 0x1a_05_00);
        assert_eq!((version_for(37), version_for(46), version_for(0)), (0, 0, 0));
    }

    #[test]
    fn without_slurm_there_is_no_version() {
        assert_eq!(plugin_version.load(Ordering::Relaxed), 0);
    }
}
