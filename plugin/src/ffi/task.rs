//! A step and its tasks, as slurmstepd shows them to the callback that runs.

use std::ffi::{CStr, CString, c_char, c_int, c_void};

use condatainer_core::request::{MAX_ENCODED, Part};

use super::keeper::Channel;
use super::{abi, state};
use crate::host::{Step, Task, Variable};
use crate::node::arguments_value;

/// Step ids that are no steps of srun's (slurm.h, the same in all supported releases).
const BATCH: u32 = 0xffff_fffb;
const EXTERNAL: u32 = 0xffff_fffc;
const INTERACTIVE: u32 = 0xffff_fffa;

/// `spank_prepend_task_argv`, which exists since Slurm 23.11.
type Prepend = unsafe extern "C" fn(abi::spank_t, c_int, *const *const c_char) -> c_int;

/// The task or step that `spank` stands for; valid during one callback.
pub(crate) struct SpankTask {
    spank: abi::spank_t,
}

impl SpankTask {
    /// # Safety
    /// `spank` must be the handle that Slurm passed to the callback now running.
    pub(crate) unsafe fn new(spank: abi::spank_t) -> Self {
        Self { spank }
    }

    /// Tasks of the step on this node.
    pub(crate) fn local_task_count(&self) -> u32 {
        self.number(abi::S_JOB_LOCAL_TASK_COUNT).unwrap_or(u32::MAX)
    }

    /// The step's environment, as an array for execve.
    pub(crate) fn environment(&self) -> Option<*const *const c_char> {
        let mut environment: *mut *mut c_char = std::ptr::null_mut();
        // SAFETY: S_JOB_ENV takes `char ***` (spank.h), which points to a local of that type.
        let rc = unsafe { abi::spank_get_item(self.spank, abi::S_JOB_ENV, &raw mut environment) };
        (rc == success() && !environment.is_null()).then_some(environment.cast_const().cast())
    }

    fn number(&self, item: abi::spank_item) -> Option<u32> {
        let mut value: u32 = 0;
        // SAFETY: the items asked for here take one `uint32_t *` (spank.h), which points to a local of that type.
        let rc = unsafe { abi::spank_get_item(self.spank, item, &raw mut value) };
        (rc == success()).then_some(value)
    }

    /// Where Slurm keeps the task's command: the first of at least one string.
    fn argv(&self) -> Result<*mut *mut c_char, String> {
        let (mut count, mut argv): (c_int, *mut *mut c_char) = (0, std::ptr::null_mut());
        // SAFETY: S_JOB_ARGV takes `int *, char ***` (spank.h); both point to locals of these types.
        let rc = unsafe { abi::spank_get_item(self.spank, abi::S_JOB_ARGV, &raw mut count, &raw mut argv) };
        if rc != success() || count < 1 || argv.is_null() {
            return Err(format!("Slurm does not show the task's command (error {rc})"));
        }
        Ok(argv)
    }

    /// Slurm before 23.11: the program in argv is replaced, and what belongs in front travels in a variable.
    fn replace_program(&mut self, words: &[String]) -> Result<(), String> {
        let argv = self.argv()?;
        let program = self.program().ok_or("the command's name is not UTF-8")?;
        let (name, value) = arguments_value(words, &program);
        self.set_variable(name, &value)?;
        let wrapper = CString::new(words.first().map_or("", String::as_str)).map_err(|e| e.to_string())?;
        // SAFETY: the entry is Slurm's to read until execve; the new string is never freed, and this process execs next.
        unsafe { *argv = wrapper.into_raw() };
        Ok(())
    }

    fn set_variable(&mut self, name: &str, value: &str) -> Result<(), String> {
        let name = CString::new(name).map_err(|e| e.to_string())?;
        let value = CString::new(value).map_err(|e| e.to_string())?;
        // SAFETY: both strings live across the call, which copies them.
        let rc = unsafe { abi::spank_setenv(self.spank, name.as_ptr(), value.as_ptr(), 1) };
        if rc == success() { Ok(()) } else { Err(format!("Slurm cannot set {name:?} (error {rc})")) }
    }
}

impl Task for SpankTask {
    fn step(&self) -> Step {
        match self.number(abi::S_JOB_STEPID) {
            Some(EXTERNAL) => Step::External,
            Some(BATCH | INTERACTIVE) => Step::Part(Part::Batch),
            _ => Step::Part(Part::Step),
        }
    }

    fn node_count(&self) -> u32 {
        self.number(abi::S_JOB_NNODES).unwrap_or(1)
    }

    fn variable(&self, name: &str) -> Variable {
        let Ok(name) = CString::new(name) else { return Variable::Missing };
        let mut buffer = vec![0_u8; MAX_ENCODED + 1];
        let length = c_int::try_from(buffer.len()).unwrap_or(c_int::MAX);
        // SAFETY: the buffer has `length` bytes; Slurm writes a NUL-terminated string of at most that size.
        let rc = unsafe { abi::spank_getenv(self.spank, name.as_ptr(), buffer.as_mut_ptr().cast(), length) };
        match u32::try_from(rc) {
            Ok(abi::ESPANK_SUCCESS) => text(&buffer).map_or(Variable::Unusable, Variable::Set),
            Ok(abi::CONDATAINER_ESPANK_ENV_NOEXIST) => Variable::Missing,
            _ => Variable::Unusable,
        }
    }

    fn program(&self) -> Option<String> {
        let argv = self.argv().ok()?;
        // SAFETY: Slurm's argv has at least one valid string.
        unsafe { CStr::from_ptr(*argv) }.to_str().ok().map(String::from)
    }

    fn channel(&mut self) -> Option<i32> {
        state::with(|state| state.channel.as_ref().and_then(Channel::for_command))
    }

    fn prepend(&mut self, words: &[String]) -> Result<(), String> {
        let Some(prepend) = prepend_function() else { return self.replace_program(words) };
        let words: Vec<CString> = words
            .iter()
            .map(|word| CString::new(word.as_str()))
            .collect::<Result<_, _>>()
            .map_err(|e| e.to_string())?;
        let pointers: Vec<*const c_char> = words.iter().map(|word| word.as_ptr()).collect();
        let count = c_int::try_from(pointers.len()).map_err(|e| e.to_string())?;
        // SAFETY: `count` valid strings, which Slurm copies (spank.h: "Prepend the argument vector").
        let rc = unsafe { prepend(self.spank, count, pointers.as_ptr()) };
        if rc == success() { Ok(()) } else { Err(format!("Slurm cannot change the task's command (error {rc})")) }
    }
}

/// Whether this Slurm can prepend to a task's argv.
pub(crate) fn can_prepend() -> bool {
    prepend_function().is_some()
}

/// Looked up at run time: a direct reference would keep the plugin from loading into older releases.
fn prepend_function() -> Option<Prepend> {
    // SAFETY: looks a name up in the process; the string is NUL-terminated.
    let symbol = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"spank_prepend_task_argv".as_ptr()) };
    // SAFETY: this is the signature that every release with the function declares (spank.h), and the symbol is not null.
    (!symbol.is_null()).then(|| unsafe { std::mem::transmute::<*mut c_void, Prepend>(symbol) })
}

fn success() -> c_int {
    abi::ESPANK_SUCCESS as c_int
}

fn text(buffer: &[u8]) -> Option<String> {
    CStr::from_bytes_until_nul(buffer).ok()?.to_str().ok().map(String::from)
}
