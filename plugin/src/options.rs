//! The options that the plugin adds to srun, sbatch and salloc.

/// One option, by its number in [`ALL`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Name {
    Overlay,
    Base,
    Tmp,
    Fakeroot,
    NoFakeroot,
    Bind,
    Env,
    Workdir,
    Wait,
    Scope,
    Off,
}

/// How an option is written and explained.
#[derive(Debug)]
pub(crate) struct Definition {
    pub(crate) name: Name,
    /// Without the leading dashes.
    pub(crate) long: &'static std::ffi::CStr,
    /// What the argument is called in `--help`; `None` for a flag.
    pub(crate) argument: Option<&'static std::ffi::CStr>,
    /// Whether it may be left out.
    pub(crate) may_be_bare: bool,
    pub(crate) usage: &'static std::ffi::CStr,
}

macro_rules! option {
    ($name:ident, $long:literal, $argument:expr, $usage:literal) => {
        Definition { name: Name::$name, long: $long, argument: $argument, may_be_bare: false, usage: $usage }
    };
}

/// Every option; the position is the number that Slurm hands back.
pub(crate) static ALL: [Definition; 11] = [
    option!(
        Overlay,
        c"condatainer-overlay",
        Some(c"LAYER[,LAYER...]"),
        c"[condatainer] run in these layers: PATH[:ro|:rw|:tmp], lowest first (repeatable)"
    ),
    option!(Base, c"condatainer-base", Some(c"IMAGE"), c"[condatainer] base image: a .sif, a .sqf or a directory"),
    option!(
        Tmp,
        c"condatainer-tmp",
        None,
        c"[condatainer] make everything writable; what is written ends with the step"
    ),
    option!(
        Fakeroot,
        c"condatainer-fakeroot",
        None,
        c"[condatainer] run as root inside (automatic when an image belongs to root)"
    ),
    option!(NoFakeroot, c"condatainer-no-fakeroot", None, c"[condatainer] never run as root inside"),
    option!(
        Bind,
        c"condatainer-bind",
        Some(c"SRC[:DST[:ro]]"),
        c"[condatainer] show a host path inside (list, repeatable)"
    ),
    option!(
        Env,
        c"condatainer-env",
        Some(c"NAME=VALUE"),
        c"[condatainer] set a variable inside, literally (repeatable)"
    ),
    option!(Workdir, c"condatainer-workdir", Some(c"DIR"), c"[condatainer] start in this directory of the container"),
    Definition {
        name: Name::Wait,
        long: c"condatainer-wait",
        argument: Some(c"TIME"),
        may_be_bare: true,
        usage: c"[condatainer] wait for an image that somebody else uses, for ever or for a TIME such as 30s",
    },
    option!(
        Scope,
        c"condatainer-scope",
        Some(c"all|batch|steps"),
        c"[condatainer] what runs in the container: the batch script, the steps, or all"
    ),
    option!(Off, c"condatainer-off", None, c"[condatainer] run on the host"),
];

/// The option with this number.
pub(crate) fn by_number(number: i32) -> Option<&'static Definition> {
    ALL.get(usize::try_from(number).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reference/slurm.md");
    const HEAD: &str = "# Options for Slurm\n\n<!-- Made from the code by 'make reference'. -->\n\n`srun --help` prints the same. \
        `sbatch` and `salloc` have them too, and `#SBATCH` lines.\n\n| | |\n|---|---|\n";

    /// The page of the reference; `make reference` writes it.
    #[test]
    fn the_page_is_that_of_the_code() {
        let row = |option: &Definition| {
            let text = |text: &std::ffi::CStr| text.to_str().unwrap().replace('|', "\\|");
            let argument = option.argument.map_or_else(String::new, |argument| format!("={}", text(argument)));
            let argument = if option.may_be_bare { format!("[{argument}]") } else { argument };
            let usage = text(option.usage);
            format!("| `--{}{argument}` | {} |\n", text(option.long), usage.trim_start_matches("[condatainer] "))
        };
        let page = format!("{HEAD}{}", ALL.iter().map(row).collect::<String>());
        if std::env::var_os("CONDATAINER_WRITE_REFERENCE").is_some() {
            std::fs::write(PLACE, &page).unwrap();
        }
        let written = std::fs::read_to_string(PLACE).unwrap_or_default();
        assert!(written == page, "docs/reference/slurm.md is not that of the code: make reference");
    }
}
