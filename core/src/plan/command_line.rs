//! A plan as the engine's command line, and as the words that the shim reads. Pure: what cannot be known beforehand (the scratch directory, the descriptors of the
//! configuration and of the shim) is passed in.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::machine::facts::Gpu;
use crate::plan::decision::{Command, Overlay, Plan};
use crate::request::bind::Bind;
use condatainer_images::system::escape;
use condatainer_images::system::fakeroot::Fakeroot;
use condatainer_stack::namespace::user::Users;

/// Variables that would change the stack, the mode or the working directory behind the plan's back. Everything else that users
/// and sites set for Apptainer (binds, cache, GPU, verbosity, `APPTAINERENV_…`) stays.
const CONTRADICTING: [&str; 25] = [
    "APP",
    "APPNAME",
    "BOOT",
    "COMPAT",
    "CONFIG_FILE",
    "CWD",
    "FAKEROOT",
    "FUSESPEC",
    "IGNORE_FAKEROOT_COMMAND",
    "IGNORE_SUBUID",
    "IGNORE_USERNS",
    "NO_OCI",
    "OCI",
    "OVERLAY",
    "OVERLAYIMAGE",
    "PWD",
    "SHARENS",
    "TARGET_CWD",
    "TARGET_PWD",
    "UNDERLAY",
    "UNSHARE_USERNS",
    "UNSQUASH",
    "USERNS",
    "WRITABLE",
    "WRITABLE_TMPFS",
];

/// The image for what `:tmp` layers write, in their directory.
pub(crate) const SCRATCH_IMAGE: &str = "tmp.img";

/// Names to take out of the engine's environment.
pub(crate) fn contradicting_variables() -> impl Iterator<Item = String> {
    ["APPTAINER_", "SINGULARITY_"]
        .into_iter()
        .flat_map(|prefix| CONTRADICTING.iter().map(move |name| format!("{prefix}{name}")))
}

impl Plan {
    /// The engine's command line up to and with the base image; the command follows it.
    ///
    /// `scratch` is the directory made for `:tmp`, `config` the engine configuration to use where the plan asks for one.
    #[must_use]
    pub(crate) fn engine_argv(&self, scratch: &Path, config: &str) -> Vec<String> {
        let mut argv = vec![self.engine.program.display().to_string()];
        if self.overlay_driver || self.links_first {
            argv.extend(["-c".into(), config.into()]);
        }
        let own = self.mounts.own();
        argv.push(if own.is_some_and(|own| own.silent) { "-s" } else { "-q" }.into());
        argv.push("exec".into());
        if self.engine.oci_mode {
            argv.push("--no-oci".into());
        }
        if self.userns {
            argv.push("--userns".into());
        }
        // In a namespace in which nobody but root exists Apptainer has fakeroot(1) to offer, if it is installed.
        let knows_fakeroot = match own {
            None => true,
            Some(own) => matches!(own.users, Users::RootMapped { .. }) && !self.engine.is_singularity(),
        };
        if knows_fakeroot && self.fakeroot.is_some_and(|f| f != Fakeroot::Root) {
            argv.push("--fakeroot".into());
        }
        argv.extend(self.gpus.iter().map(|gpu| String::from(gpu_flag(*gpu))));
        let overlays = self.stack.iter().filter(|_| own.is_none());
        argv.extend(overlays.flat_map(|overlay| ["--overlay".into(), overlay_value(overlay, scratch)]));
        let home = own.and_then(|own| own.home.as_ref());
        argv.extend(home.iter().flat_map(|home| ["--no-home".into(), "--mount".into(), mount_value(home)]));
        argv.extend(self.bind.iter().flat_map(|bind| ["--mount".into(), mount_value(bind)]));
        // The engine takes the tree as it is then; where nothing is written, the kernel refuses every change.
        argv.extend(own.filter(|own| !own.session_layer).map(|_| "--writable".into()));
        argv.extend(self.workdir.iter().flat_map(|dir| ["--pwd".into(), dir.display().to_string()]));
        argv.push(own.map_or(&self.base, |own| &own.root).display().to_string());
        argv
    }

    /// What the shim reads from its job file: variables, shell, command. Not from its arguments, which everybody on the machine can
    /// read.
    #[must_use]
    pub fn job(&self) -> Vec<OsString> {
        let mut words: Vec<OsString> = self.path.iter().flat_map(|dir| ["--path".into(), dir.into()]).collect();
        words.extend(self.workspace.then(|| "--workspace".into()));
        // The engine forbids them to a user, and takes the root of a namespace of ours for the machine's.
        let is_root_of_ours = self.mounts.own().is_some_and(|own| matches!(own.users, Users::Subuid { .. }));
        words.extend(is_root_of_ours.then(|| "--no-new-privileges".into()));
        words.extend(self.env.iter().flat_map(|(name, value)| ["--set".into(), format!("{name}={value}").into()]));
        let identity = self.directory.identity.map(|(device, inode)| format!("{device}:{inode}"));
        words.extend(identity.into_iter().flat_map(|identity| ["--identity".into(), identity.into()]));
        words.extend(self.directory.paths.iter().flat_map(|path| ["--directory".into(), path.into()]));
        words.extend(["--prompt".into(), self.prompt.clone().into()]);
        match &self.command {
            Command::Argv(command) => {
                words.push("--".into());
                words.extend(command.iter().map(OsString::from));
            }
            Command::Shell(shell) => {
                words.extend(shell.iter().flat_map(|s| ["--shell".into(), s.into()]));
                words.push("--".into());
            }
        }
        words
    }

    /// The plan as one line to read, or to paste into a shell for a comparison by hand.
    #[must_use]
    pub fn to_shell(&self) -> String {
        let driver = self.overlay_driver.then_some("-with-enable-overlay-driver");
        let links = self.links_first.then_some("-with-our-links-in-binary-path");
        let config = format!("apptainer.conf{}{}", driver.unwrap_or_default(), links.unwrap_or_default());
        let mut words = self.engine_argv(&self.scratch_parent().join("condatainer-XXXXXX"), &config);
        words.extend(match &self.command {
            Command::Argv(command) => command.clone(),
            Command::Shell(shell) => {
                vec![shell.clone().unwrap_or_else(|| PathBuf::from("/bin/bash")).display().to_string()]
            }
        });
        // Where the caller is there through a link.
        let pwd = self.directory.engine.as_ref().filter(|engine| **engine != Path::new("/"));
        let pwd = pwd.map(|pwd| format!("PWD={}", escape::shell_word(&pwd.display().to_string())));
        let line =
            pwd.into_iter().chain(words.iter().map(|word| escape::shell_word(word))).collect::<Vec<_>>().join(" ");
        let Some(own) = self.mounts.own() else { return line };
        let images = std::iter::once(&self.base).chain(self.layers());
        let images: Vec<String> = images.map(|path| escape::shell_word(&path.display().to_string())).collect();
        let memory = self.stack.iter().find_map(|overlay| match overlay {
            Overlay::Memory(bytes) => Some(format!(", written to memory, at most {} MiB", bytes >> 20)),
            _ => None,
        });
        format!("{line} # {}: {}{}", own.root.display(), images.join(" "), memory.unwrap_or_default())
    }

    /// The directory below which `:tmp` writes are kept, if there is a `:tmp` layer; else the root, which is not used.
    pub(crate) fn scratch_parent(&self) -> &Path {
        let parent = self.stack.iter().find_map(|overlay| match overlay {
            Overlay::Scratch(parent) | Overlay::ScratchImage(parent) => Some(parent.as_path()),
            _ => None,
        });
        parent.unwrap_or(Path::new("/"))
    }
}

fn gpu_flag(gpu: Gpu) -> &'static str {
    match gpu {
        Gpu::Nvidia => "--nv",
        Gpu::Rocm => "--rocm",
    }
}

fn overlay_value(overlay: &Overlay, scratch: &Path) -> String {
    csv(&match overlay {
        Overlay::Ro(path) => format!("{}:ro", path.display()),
        Overlay::Rw(path) => path.display().to_string(),
        // The engine is never given the last one.
        Overlay::Scratch(_) | Overlay::Memory(_) => scratch.display().to_string(),
        Overlay::ScratchImage(_) => scratch.join(SCRATCH_IMAGE).display().to_string(),
    })
}

fn mount_value(bind: &Bind) -> String {
    let source = csv(&format!("source={}", bind.source.display()));
    let destination = csv(&format!("destination={}", bind.destination.display()));
    format!("type=bind,{source},{destination}{}", if bind.read_only { ",ro" } else { "" })
}

/// Apptainer reads these options as one line of CSV: a comma or a quote needs quotes around the field.
fn csv(field: &str) -> String {
    if field.contains([',', '"', '\n', '\r']) || field.starts_with(' ') {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn awkward_paths_are_quoted() {
        assert_eq!(overlay_value(&Overlay::Ro("/a,b.img".into()), Path::new("/")), "\"/a,b.img:ro\"");
        let bind = Bind { source: "/a\",b:c".into(), destination: "/d".into(), read_only: true };
        assert_eq!(mount_value(&bind), "type=bind,\"source=/a\"\",b:c\",destination=/d,ro");
    }

    #[test]
    fn both_names_of_the_engine_are_cleaned() {
        let names: Vec<_> = contradicting_variables().collect();
        assert!(names.contains(&"APPTAINER_OVERLAY".into()) && names.contains(&"SINGULARITY_WRITABLE_TMPFS".into()));
        assert!(!names.contains(&"APPTAINER_BIND".into()));
    }
}
