//! The GPUs of this machine, and what the engine mounts for them in a container.
//!
//! Apptainer lists the driver's files in nvliblist.conf and rocmliblist.conf. Libraries are mounted into one directory, each program on a
//! file in /usr/bin, and any other file and socket on its own path. Where something is written it makes none of these itself.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::engine_config::directive;
use super::host::of_engine;
use crate::machine::engine::Engine;
use crate::machine::facts::{Gpu, GpuFiles};
use condatainer_images::tools::programs;

/// The socket of a daemon of NVIDIA's, shown where it runs.
const SOCKET: &str = "/var/run/nvidia-persistenced/socket";

/// The GPU stacks whose devices are here; in a job only when the job was given a GPU.
pub(super) fn given(env: &HashMap<String, String>) -> Vec<Gpu> {
    const GIVEN: [&str; 4] = ["SLURM_STEP_GPUS", "SLURM_JOB_GPUS", "CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"];
    if env.contains_key("SLURM_JOB_ID") && !GIVEN.iter().any(|name| env.contains_key(*name)) {
        return Vec::new();
    }
    let devices = [("/dev/nvidiactl", Gpu::Nvidia), ("/dev/kfd", Gpu::Rocm)];
    devices.into_iter().filter(|(path, _)| Path::new(path).exists()).map(|(_, gpu)| gpu).collect()
}

/// On which files of the container the engine mounts what belongs to them. The site and the user can turn its options on as well.
pub(super) fn files(gpus: &[Gpu], engine: Option<&Engine>, env: &HashMap<String, String>) -> GpuFiles {
    let Some(config) = engine.and_then(|engine| engine.config.as_deref()) else { return GpuFiles::default() };
    let text = fs::read_to_string(config).unwrap_or_default();
    let always = |key: &str| directive(&text, &format!("always use {key}")) == Some("yes");
    let asked = |name: &str| of_engine(env, &[name]).next().is_some();
    let (nv, rocm) = (gpus.contains(&Gpu::Nvidia) || always("nv"), gpus.contains(&Gpu::Rocm) || always("rocm"));
    let (nv, rocm) = (nv || asked("NV") || asked("NVCCLI"), rocm || asked("ROCM"));
    let by_program = asked("NVCCLI") || directive(&text, "use nvidia-container-cli") == Some("yes");
    let lists = [(nv, "nvliblist.conf", true), (rocm, "rocmliblist.conf", false)];
    let lists = lists.iter().filter(|(wanted, ..)| *wanted);
    let named = lists.flat_map(|(_, name, others)| {
        let text = fs::read_to_string(config.with_file_name(name)).unwrap_or_default();
        listed(&text, *others)
    });
    let socket = Some(PathBuf::from(SOCKET)).filter(|path| nv && path.exists());
    GpuFiles { mounted_on: named.chain(socket).collect(), by_program: nv && by_program }
}

/// What a list names and the machine has; libraries need no file of their own.
fn listed(text: &str, others: bool) -> Vec<PathBuf> {
    let names = text.lines().map(str::trim);
    let names = names.filter(|name| !name.is_empty() && !name.starts_with('#') && !name.contains(".so"));
    let place = |name: &str| {
        if name.starts_with('/') {
            return Some(PathBuf::from(name)).filter(|path| others && path.exists());
        }
        programs::find(name).and_then(|program| Some(Path::new("/usr/bin").join(program.file_name()?)))
    };
    names.filter_map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::engine::Flavour;

    #[test]
    fn what_the_lists_name_and_the_machine_has() {
        let dir = tempfile::tempdir().unwrap();
        let (config, file) = (dir.path().join("apptainer.conf"), dir.path().join("file.json"));
        fs::write(&file, "").unwrap();
        let list = format!("# a list\nsh\nno-such-program\nlibcuda.so\n  {}\n/no/such.json\n", file.display());
        fs::write(dir.path().join("nvliblist.conf"), list).unwrap();
        fs::write(dir.path().join("rocmliblist.conf"), format!("true\n{}\n", file.display())).unwrap();
        let engine = Engine {
            flavour: Flavour::Apptainer,
            program: "/a".into(),
            config: Some(config.clone()),
            setuid: false,
            oci_mode: false,
            interposers: None,
            own_programs: Vec::new(),
            origin: None,
        };
        let env = |name: &str| HashMap::from([(name.to_owned(), "1".to_owned())]);
        let of = |gpus: &[Gpu], name: &str| files(gpus, Some(&engine), &env(name));
        let mounted = |paths: &[&Path]| GpuFiles {
            mounted_on: paths.iter().map(|path| (*path).into()).collect(),
            by_program: false,
        };
        let (sh, other) = (Path::new("/usr/bin/sh"), Path::new("/usr/bin/true"));
        assert_eq!(of(&[], "ANY"), GpuFiles::default());
        assert_eq!(of(&[Gpu::Nvidia], "ANY"), mounted(&[sh, &file]));
        assert_eq!(of(&[Gpu::Rocm], "ANY"), mounted(&[other]));
        assert_eq!(of(&[], "SINGULARITY_NV"), mounted(&[sh, &file]));
        assert!(of(&[], "APPTAINER_NVCCLI").by_program);
        fs::write(&config, "always use rocm = yes\nuse nvidia-container-cli = yes\n").unwrap();
        assert_eq!(of(&[], "ANY"), mounted(&[other]));
        assert!(of(&[Gpu::Nvidia], "ANY").by_program);
    }
}
