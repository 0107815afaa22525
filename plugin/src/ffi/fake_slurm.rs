//! Stand-ins for Slurm's functions, so that unit tests link; the real ones are the host process's (tests/ runs those).

use std::ffi::{c_char, c_int};

use super::abi;

macro_rules! stand_in {
    ($name:ident($($argument:ident: $kind:ty),*) -> $result:ty = $value:expr) => {
        #[unsafe(no_mangle)]
        extern "C" fn $name($(_: $kind),*) -> $result {
            $value
        }
    };
}

stand_in!(slurm_error(format: *const c_char, line: *const c_char) -> () = ());
stand_in!(spank_context() -> abi::spank_context = abi::S_CTX_ERROR);
stand_in!(spank_option_register(spank: abi::spank_t, option: *mut abi::spank_option) -> c_int = -1);
stand_in!(spank_get_item(spank: abi::spank_t, item: abi::spank_item, value: *mut u32) -> c_int = -1);
stand_in!(spank_getenv(spank: abi::spank_t, name: *const c_char, buffer: *mut c_char, size: c_int) -> c_int = -1);
stand_in!(spank_setenv(spank: abi::spank_t, name: *const c_char, value: *const c_char, overwrite: c_int) -> c_int = -1);
