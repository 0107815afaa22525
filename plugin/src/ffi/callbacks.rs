//! The functions that Slurm calls. Each catches panics: one that left here would abort slurmstepd.
//!
//! On the node nothing fails before `task_init`, because Slurm answers such a failure by draining the node; there a refusal is
//! reported and the task's process ends, so that neither `required` nor `optional` lets the command run uncontained.

#![allow(unreachable_pub, reason = "these symbols are looked up by Slurm")]

use std::collections::HashMap;
use std::ffi::{CStr, c_char, c_int};

use super::guard::guarded;
use super::keeper::Channel;
use super::submitter::{self, Process};
use super::task::{SpankTask, can_prepend};
use super::{abi, ending, log, state};
use crate::given::Origin;
use crate::host::{Context, Step, Submitter, Task, Variable};
use crate::options::{self, Definition, Name};
use crate::submit::{self, Place};
use crate::{node, script};
use condatainer_core::request::VARIABLE;
use condatainer_core::run::exit_code::NOT_STARTED;
use condatainer_core::step::lost_writes::Written;
use condatainer_core::step::plugin_arguments::PluginArguments;

const OK: c_int = 0;
/// Up to Slurm 24.11 only a negative value is a failure.
const FAILED: c_int = -1;

type Argv = *mut *mut c_char;

/// Registers the options and reads the plugin's arguments.
#[unsafe(no_mangle)]
pub extern "C" fn slurm_spank_init(spank: abi::spank_t, count: c_int, argv: Argv) -> c_int {
    let context = context();
    if context == Context::Elsewhere {
        return OK;
    }
    // What is wrong with the arguments is the matter of who asks for a container: a failure here would stop every srun, sbatch and salloc.
    guarded(OK, || {
        let settings = PluginArguments::parse(strings(count, argv).iter().map(String::as_str));
        state::with(|state| state.settings = Some(settings));
        options::ALL.iter().enumerate().for_each(|(number, option)| register(spank, number, option));
        if context != Context::Remote {
            forget_inherited_options();
        }
        Ok(())
    })
}

/// Makes the canonical value, on the submitting side; on the node, the way to the keeper of a container that is asked for.
#[unsafe(no_mangle)]
pub extern "C" fn slurm_spank_init_post_opt(spank: abi::spank_t, _: c_int, _: Argv) -> c_int {
    let context = context();
    if context == Context::Remote {
        return guarded(OK, || {
            // SAFETY: the handle is the one that Slurm has just passed.
            let step = unsafe { SpankTask::new(spank) };
            if matches!(step.step(), Step::Part(_)) && step.variable(VARIABLE) != Variable::Missing {
                let channel = Channel::new()?;
                state::with(|state| state.channel = Some(channel));
            }
            Ok(())
        });
    }
    if !matches!(context, Context::Local | Context::Allocator) {
        return OK;
    }
    guarded(FAILED, || {
        let (given, earlier, settings) = state::with(|state| {
            let given = std::mem::take(&mut state.given);
            let earlier = state.submitted.get_or_insert_with(|| given.clone()).clone();
            (given, earlier, state.settings.clone())
        });
        if !given.repeats(&earlier) {
            return Err("all components of a heterogeneous job must have the same --condatainer options".into());
        }
        let settings = settings.unwrap_or_else(|| PluginArguments::parse([]));
        let images = submit::submit(context, &earlier, &place(settings)?, &mut Process)?;
        state::with(|state| state.images = images);
        // Later, srun would leave the step that it has made behind.
        if context == Context::Local && !can_prepend() && is_multi_prog() && Process.variable(VARIABLE).is_some() {
            return Err("--multi-prog: this Slurm is older than 23.11 and cannot run it in containers".into());
        }
        Ok(())
    })
}

/// In srun, which has its step now and is about to start the tasks: looks at the images that they are going to write, and once more
/// when srun ends.
#[unsafe(no_mangle)]
pub extern "C" fn slurm_spank_local_user_init(_: abi::spank_t, _: c_int, _: Argv) -> c_int {
    // A step that is refused here stays allocated in its job.
    guarded(OK, || {
        // Again for each component of a heterogeneous job, which all have the same.
        let images = state::with(|state| std::mem::take(&mut state.images));
        let written: Vec<Written> = images.iter().filter_map(|image| Written::look(image)).collect();
        if !written.is_empty() && ending::is_watched() {
            state::with(|state| state.written = written);
        }
        Ok(())
    })
}

/// Starts the keeper of the step's container. Where that fails, each task starts a container of its own.
#[unsafe(no_mangle)]
pub extern "C" fn slurm_spank_user_init(spank: abi::spank_t, _: c_int, _: Argv) -> c_int {
    guarded(OK, || {
        let settings = state::with(|state| state.channel.is_some().then(|| state.settings.clone()));
        let Some(settings) = settings else { return Ok(()) };
        let settings = settings.unwrap_or_else(|| PluginArguments::parse([]))?;
        // SAFETY: the handle is the one that Slurm has just passed.
        let step = unsafe { SpankTask::new(spank) };
        let (Step::Part(part), Some(environment)) = (step.step(), step.environment()) else { return Ok(()) };
        let words = node::keeper(&settings, part, step.program());
        state::with(|state| match &mut state.channel {
            // SAFETY: the environment is Slurm's, and stays as it is during this callback.
            Some(channel) => unsafe { channel.start_keeper(&words, environment, settings.patience) },
            None => Ok(()),
        })
    })
}

/// With its last task the container ends, before srun is told that the task has: what comes next finds the image free.
#[unsafe(no_mangle)]
pub extern "C" fn slurm_spank_task_exit(spank: abi::spank_t, _: c_int, _: Argv) -> c_int {
    guarded(OK, || {
        // SAFETY: the handle is the one that Slurm has just passed.
        let tasks = unsafe { SpankTask::new(spank) }.local_task_count();
        state::with(|state| {
            state.ended_tasks += 1;
            let is_last = state.ended_tasks >= tasks;
            state.channel.as_mut().filter(|_| is_last).map_or(Ok(()), Channel::end)
        })
    })
}

/// However the step ends, its container ends with it.
#[unsafe(no_mangle)]
pub extern "C" fn slurm_spank_exit(_: abi::spank_t, _: c_int, _: Argv) -> c_int {
    guarded(OK, || state::with(|state| state.channel.as_mut().map_or(Ok(()), Channel::end)))
}

/// Puts the program in front of a task, or ends the task's process.
#[unsafe(no_mangle)]
pub extern "C" fn slurm_spank_task_init(spank: abi::spank_t, _: c_int, _: Argv) -> c_int {
    let rc = guarded(FAILED, || {
        let (seen, settings) = state::with(|state| (state.seen, state.settings.clone()));
        let settings = settings.unwrap_or_else(|| PluginArguments::parse([]));
        // SAFETY: the handle is the one that Slurm has just passed.
        let mut task = unsafe { SpankTask::new(spank) };
        node::start_task(&mut task, seen, settings.as_ref().map_err(String::as_str))
    });
    if rc != OK {
        // SAFETY: ends this forked task process without running slurmstepd's exit handlers. Returning the failure would be
        // enough where plugstack.conf says `required`, but with `optional` Slurm would go on and run the command on the host.
        unsafe { libc::_exit(NOT_STARTED.into()) };
    }
    rc
}

/// Receives every option: where it was given, and once more on the node.
extern "C" fn option_given(number: c_int, argument: *const c_char, remote: c_int) -> c_int {
    guarded(if remote == 0 { FAILED } else { OK }, || {
        let Some(option) = options::by_number(number) else { return Err(format!("unknown option number {number}")) };
        if remote != 0 {
            state::with(|state| match option.name {
                Name::Off => state.seen.off = true,
                _ => state.seen.container = true,
            });
            return Ok(());
        }
        let value = value_of(argument)?;
        let origin = if argument.is_null() { Origin::Script } else { submitter::origin(argument) };
        state::with(|state| state.given.add(option.name, &value, origin))
    })
}

fn value_of(argument: *const c_char) -> Result<String, String> {
    if argument.is_null() {
        return Ok(String::new());
    }
    // SAFETY: Slurm passes getopt's argument, a NUL-terminated string that lives during the call.
    let value = unsafe { CStr::from_ptr(argument) };
    value.to_str().map(String::from).map_err(|_| "an option's value is not UTF-8".into())
}

fn register(spank: abi::spank_t, number: usize, option: &Definition) {
    let pointer = |text: Option<&'static CStr>| text.map_or(std::ptr::null_mut(), |t| t.as_ptr().cast_mut());
    let mut spank_option = abi::spank_option {
        name: pointer(Some(option.long)),
        arginfo: pointer(option.argument),
        usage: pointer(Some(option.usage)),
        // As getopt(3) counts: none, one, or one that may be left out.
        has_arg: c_int::from(option.argument.is_some()) + c_int::from(option.may_be_bare),
        val: c_int::try_from(number).unwrap_or(c_int::MAX),
        cb: Some(option_given),
    };
    // SAFETY: Slurm copies the struct and its strings, and does not write to them.
    let rc = unsafe { abi::spank_option_register(spank, &raw mut spank_option) };
    if rc != OK {
        log::error(&format!("Slurm did not take the option {:?} (error {rc})", option.long));
    }
}

fn context() -> Context {
    // SAFETY: takes nothing and reads Slurm's own state.
    match unsafe { abi::spank_context() } {
        abi::S_CTX_LOCAL => Context::Local,
        abi::S_CTX_ALLOCATOR => Context::Allocator,
        abi::S_CTX_REMOTE => Context::Remote,
        _ => Context::Elsewhere,
    }
}

/// Options of srun can be shortened.
fn is_multi_prog() -> bool {
    std::env::args().any(|argument| argument.starts_with("--mu") && "--multi-prog".starts_with(&argument))
}

fn forget_inherited_options() {
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    for name in submit::inherited_option_variables(names) {
        Process.set_variable(&name, None);
    }
}

fn place(settings: Result<PluginArguments, String>) -> Result<Place, String> {
    let cwd = std::env::current_dir().map_err(|e| format!("the working directory cannot be used: {e}"))?;
    let env =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let env: HashMap<String, String> = env.collect();
    let script = submitter::sbatch_command_line()
        .and_then(|(argv, at)| script::find(&argv, at, &cwd, env.get("PATH").map_or("", String::as_str)));
    Ok(Place { cwd, env, script, system_config: settings.map(|settings| settings.config) })
}

fn strings(count: c_int, argv: Argv) -> Vec<String> {
    if argv.is_null() {
        return Vec::new();
    }
    // SAFETY: Slurm passes `count` NUL-terminated strings, which live as long as the plugin is loaded.
    let one = |at: usize| unsafe { CStr::from_ptr(*argv.add(at)) }.to_string_lossy().into_owned();
    (0..usize::try_from(count).unwrap_or(0)).map(one).collect()
}

#[cfg(test)]
#[path = "callbacks_tests.rs"]
mod tests;
