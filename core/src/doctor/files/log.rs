//! The record of use: whether users can write it, and cannot write each other's.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use crate::config::{Config, Log};
use crate::doctor::check::Check;
use condatainer_images::trust::mode::{STICKY, WRITABLE_BY_ALL};

const SYSLOG: &str = "/dev/log";
const JOURNAL: &str = "/run/systemd/journal/socket";

/// Where it is kept, and what is wrong there.
pub(crate) type LogFacts = Option<(Log, Option<String>)>;

pub(super) fn read(config: &Config) -> LogFacts {
    let log = config.log.clone()?;
    let problem = match &log {
        Log::Syslog => of_socket(SYSLOG),
        Log::Journal => of_socket(JOURNAL),
        Log::Directory(path) => of_directory(path),
    };
    Some((log, problem))
}

fn of_socket(path: &str) -> Option<String> {
    let is_there = fs::metadata(path).is_ok_and(|meta| meta.file_type().is_socket());
    (!is_there).then(|| format!("{path}: there is no such socket"))
}

fn of_directory(path: &Path) -> Option<String> {
    let (found, path) = (fs::metadata(path), path.display());
    match found {
        Err(error) => Some(format!("{path}: {error}")),
        Ok(meta) if !meta.is_dir() => Some(format!("{path}: is no directory")),
        Ok(meta) if meta.uid() != 0 => Some(format!("{path}: does not belong to root")),
        Ok(meta) if meta.mode() & WRITABLE_BY_ALL == 0 => Some(format!("{path}: users cannot write there")),
        Ok(meta) if meta.mode() & STICKY == 0 => Some(format!("{path}: users can remove each other's files there")),
        Ok(_) => None,
    }
}

pub(super) fn judge(facts: &LogFacts) -> Check {
    const ID: &str = "log";
    match facts {
        None => Check::ok(ID, "no record of use is kept"),
        Some((log, None)) => Check::ok(ID, format!("the record of use goes to {log}")),
        Some((Log::Directory(path), Some(why))) => {
            let path = path.display();
            Check::warning(
                ID,
                why.as_str(),
                format!("as root: mkdir -p {path} && chown root {path} && chmod 1777 {path}"),
            )
        }
        Some((_, Some(why))) => Check::warning(ID, why.as_str(), "start that service, or set another 'log'"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::check::Status;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn directories() {
        let dir = tempfile::tempdir().unwrap();
        let of = |mode| {
            fs::set_permissions(dir.path(), fs::Permissions::from_mode(mode)).unwrap();
            let log = Log::Directory(dir.path().into());
            judge(&Some((log, of_directory(dir.path()))))
        };
        if nix::unistd::geteuid().is_root() {
            assert_eq!(of(0o1777).status, Status::Ok);
            assert!(of(0o755).found.ends_with("users cannot write there"));
            let open = of(0o777);
            assert!(open.status == Status::Warning && open.found.ends_with("remove each other's files there"));
            assert!(open.cure.unwrap().contains("chmod 1777"));
        }
        assert!(of_directory(Path::new("/no/such")).is_some() && of_socket("/no/such").is_some());
        assert_eq!(judge(&None).status, Status::Ok);
    }
}
