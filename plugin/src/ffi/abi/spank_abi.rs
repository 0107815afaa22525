//! SPANK as bindgen makes it from include/spank_abi.h: `plugin/tests/bindings.rs` compares, and writes it anew when it is told to.

pub const ESPANK_SUCCESS: u32 = 0;
pub const CONDATAINER_ESPANK_ENV_NOEXIST: u32 = 3004;
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct spank_handle {
    _unused: [u8; 0],
}
pub type spank_t = *mut spank_handle;
pub const S_JOB_UID: spank_item = 0;
pub const S_JOB_GID: spank_item = 1;
pub const S_JOB_ID: spank_item = 2;
pub const S_JOB_STEPID: spank_item = 3;
pub const S_JOB_NNODES: spank_item = 4;
pub const S_JOB_LOCAL_TASK_COUNT: spank_item = 6;
pub const S_JOB_TOTAL_TASK_COUNT: spank_item = 7;
pub const S_JOB_ARGV: spank_item = 9;
pub const S_JOB_ENV: spank_item = 10;
pub type spank_item = ::std::os::raw::c_uint;
pub const S_CTX_ERROR: spank_context = 0;
pub const S_CTX_LOCAL: spank_context = 1;
pub const S_CTX_REMOTE: spank_context = 2;
pub const S_CTX_ALLOCATOR: spank_context = 3;
pub const S_CTX_SLURMD: spank_context = 4;
pub const S_CTX_JOB_SCRIPT: spank_context = 5;
pub type spank_context = ::std::os::raw::c_uint;
pub type spank_opt_cb_f = ::std::option::Option<
    unsafe extern "C" fn(
        val: ::std::os::raw::c_int,
        optarg: *const ::std::os::raw::c_char,
        remote: ::std::os::raw::c_int,
    ) -> ::std::os::raw::c_int,
>;
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct spank_option {
    pub name: *mut ::std::os::raw::c_char,
    pub arginfo: *mut ::std::os::raw::c_char,
    pub usage: *mut ::std::os::raw::c_char,
    pub has_arg: ::std::os::raw::c_int,
    pub val: ::std::os::raw::c_int,
    pub cb: spank_opt_cb_f,
}
unsafe extern "C" {
    pub fn spank_context() -> spank_context;
}
unsafe extern "C" {
    pub fn spank_option_register(spank: spank_t, opt: *mut spank_option) -> ::std::os::raw::c_int;
}
unsafe extern "C" {
    pub fn spank_get_item(spank: spank_t, item: spank_item, ...) -> ::std::os::raw::c_int;
}
unsafe extern "C" {
    pub fn spank_getenv(
        spank: spank_t,
        var: *const ::std::os::raw::c_char,
        buf: *mut ::std::os::raw::c_char,
        len: ::std::os::raw::c_int,
    ) -> ::std::os::raw::c_int;
}
unsafe extern "C" {
    pub fn spank_setenv(
        spank: spank_t,
        var: *const ::std::os::raw::c_char,
        val: *const ::std::os::raw::c_char,
        overwrite: ::std::os::raw::c_int,
    ) -> ::std::os::raw::c_int;
}
unsafe extern "C" {
    pub fn slurm_error(format: *const ::std::os::raw::c_char, ...);
}
