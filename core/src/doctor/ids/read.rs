//! Reads /etc/subuid and /etc/subgid, and looks at newuidmap and newgidmap.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::sys::statvfs::{FsFlags, statvfs};

use super::facts::{Facts, Tool};
use crate::doctor::request::Asker;
use condatainer_images::system::user::widest_range;
use condatainer_images::tools::programs;
use condatainer_images::trust::mode::SETUID;

pub(crate) fn read(asker: &Asker) -> Facts {
    let texts = ["/etc/subuid", "/etc/subgid"].map(|path| fs::read_to_string(path).unwrap_or_default());
    let [uids, gids] = texts.each_ref().map(|text| widest_range(text, &asker.caller.name, asker.caller.uid));
    Facts {
        ranges: (uids, gids),
        anybody: texts.iter().all(|text| text.lines().any(|line| line.contains(':'))),
        tools: ["newuidmap", "newgidmap"].map(tool),
    }
}

fn tool(name: &'static str) -> Tool {
    let path = programs::find(name);
    let look = |path: &Path| {
        let setuid = fs::metadata(path).is_ok_and(|meta| meta.mode() & SETUID != 0 && meta.uid() == 0);
        let capabilities = xattr::get(path, "security.capability").is_ok_and(|value| value.is_some());
        let nosuid = statvfs(path).is_ok_and(|system| system.flags().contains(FsFlags::ST_NOSUID));
        (setuid, capabilities, nosuid)
    };
    let (setuid, capabilities, nosuid) = path.as_deref().map_or((false, false, false), look);
    Tool { name, path, setuid, capabilities, nosuid }
}
