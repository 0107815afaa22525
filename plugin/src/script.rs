//! Which file a submission's batch script is. sbatch does not say, but its option parser has just stopped at it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The script of an sbatch whose words that are no options begin at `at`, found as sbatch finds it (`search_path` in proc_args.c: the
/// working directory, then PATH; `--chdir` does not count). `None` where there is no file to read: a script on standard input, a
/// pipe, `--wrap`. With several components (`:`) it is not known before the last one has been read; the node looks at it then.
pub(crate) fn find(argv: &[OsString], at: usize, cwd: &Path, path: &str) -> Option<PathBuf> {
    if argv.iter().any(|word| word == ":") {
        return None;
    }
    let word = argv.get(at)?.to_str()?;
    let found = if word.starts_with(['.', '/']) {
        cwd.join(word)
    } else {
        let dirs = std::iter::once(cwd.to_path_buf()).chain(std::env::split_paths(path).map(|dir| cwd.join(dir)));
        dirs.map(|dir| dir.join(word)).find(|file| file.exists() && !file.is_dir())?
    };
    found.is_file().then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn found_as_sbatch_finds_it() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str| {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, "#!/bin/sh\n").unwrap();
            path
        };
        let (here, bin) = (file("w/job.sh"), file("bin/tool.sh"));
        std::fs::create_dir_all(dir.path().join("w/tool.sh")).unwrap();
        let cwd = dir.path().join("w");
        let path = format!("/none:{}", dir.path().join("bin").display());
        let found = |words: &[&str], at| {
            let argv: Vec<OsString> = words.iter().map(OsString::from).collect();
            find(&argv, at, &cwd, &path)
        };
        assert_eq!(found(&["sbatch", "-n2", "job.sh", "job.sh"], 2), Some(here.clone()));
        assert_eq!(found(&["sbatch", "./job.sh"], 1), Some(cwd.join("./job.sh")));
        assert_eq!(found(&["sbatch", "tool.sh"], 1), Some(bin), "a directory of that name is passed over");
        assert_eq!(found(&["sbatch", here.to_str().unwrap()], 1), Some(here));
        for none in [&["sbatch", "--wrap=job.sh"][..], &["sbatch", "none.sh"], &["sbatch", "/dev/null"]] {
            assert_eq!(found(none, if none[1].starts_with('-') { 2 } else { 1 }), None, "{none:?}");
        }
        assert_eq!(found(&["sbatch", "-n1", ":", "-n2", "job.sh"], 2), None);
    }
}
