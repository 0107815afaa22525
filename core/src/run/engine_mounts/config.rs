//! The configuration that the engine is started with, where the site's own is not right: that one, with another value of a key or two.
//!
//! With `enable overlay = driver` Apptainer uses fuse-overlayfs also where nothing is written, and that honours the whiteouts which
//! fuse-overlayfs itself has left in an image: what a writer deleted stays deleted for a reader. With our links first in `binary path`
//! it finds them before the FUSE programs that it brings along. Everything else of the site's file stays.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use crate::machine::survey::{BINARY_PATH, CALLERS, directive};
use crate::plan::Plan;
use crate::run::engine::descriptors;
use crate::run::error::{RunError, system};

/// The configuration to start the engine with; `None` where its own is right.
pub(crate) fn for_plan(plan: &Plan) -> Result<Option<OwnedFd>, RunError> {
    if !plan.overlay_driver && !plan.links_first {
        return Ok(None);
    }
    let site = plan.engine.config.as_deref().unwrap_or(Path::new("/etc/apptainer/apptainer.conf"));
    let mut text = std::fs::read_to_string(site)
        .map_err(system(format!("{}: cannot read Apptainer's configuration", site.display())))?;
    if plan.overlay_driver {
        text = with(&text, "enable overlay", "driver");
    }
    if let Some(links) = plan.engine.interposers.as_deref().filter(|_| plan.links_first) {
        let value = links_first(directive(&text, "binary path"), links, &plan.engine.own_programs);
        text = with(&text, "binary path", &value);
    }
    descriptors::memory_file(c"apptainer.conf", text.as_bytes()).map(Some)
}

/// A value in which nothing comes before the links. A site's without PATH gets it as the last resort: without it Apptainer would put
/// its own directory in front of the links.
fn links_first(site: Option<&str>, links: &Path, own_programs: &[PathBuf]) -> String {
    let (site, links) = (site.unwrap_or(BINARY_PATH), links.display());
    if site.contains(CALLERS) {
        return format!("{links}:{site}");
    }
    let own: String = own_programs.iter().map(|dir| format!("{}:", dir.display())).collect();
    format!("{links}:{own}{site}:{CALLERS}/bin")
}

fn with(text: &str, key: &str, value: &str) -> String {
    let sets = |line: &&str| line.split_once('=').is_some_and(|(name, _)| name.trim() == key);
    let ours = format!("{key} = {value}");
    text.lines().filter(|line| !sets(line)).chain([ours.as_str()]).flat_map(|line| [line, "\n"]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::survey::before_path;

    #[test]
    fn only_the_one_key_changes() {
        let site = "# enable overlay = no\nallow setuid = yes\nenable overlay = yes\nbind path = /etc/hosts\n";
        let ours = "# enable overlay = no\nallow setuid = yes\nbind path = /etc/hosts\nenable overlay = driver\n";
        assert_eq!(with(site, "enable overlay", "driver"), ours);
    }

    /// Apptainer replaces `$PATH:` by `LIBEXECDIR/apptainer/bin:` and the caller's PATH; a value without it gets the first in front.
    fn searched(value: &str) -> Vec<String> {
        let own = "/libexec/apptainer/bin:";
        let value = if value.contains(CALLERS) { value.into() } else { format!("{own}{value}") };
        value.replacen(CALLERS, &format!("{own}/home/bin:"), 1).split(':').map(String::from).collect()
    }

    #[test]
    fn nothing_is_searched_before_the_links() {
        let libexec = Path::new("/libexec/apptainer/bin");
        for (site, before) in [
            (None, &["/libexec/apptainer/bin"][..]),
            (Some("/opt/fuse:$PATH:/usr/bin"), &["/opt/fuse", "/libexec/apptainer/bin"]),
            (Some("/usr/bin:/bin"), &["/libexec/apptainer/bin", "/usr/bin", "/bin"]),
        ] {
            let theirs = searched(site.unwrap_or(BINARY_PATH));
            let own = before_path(site, libexec);
            assert_eq!(own, before.iter().map(PathBuf::from).collect::<Vec<_>>(), "{site:?}");
            assert!(theirs.starts_with(&before.iter().map(ToString::to_string).collect::<Vec<_>>()), "{theirs:?}");
            let ours = searched(&links_first(site, Path::new("/links"), &own));
            assert_eq!(ours[0], "/links", "{site:?}");
            assert!(ours[1..].starts_with(&theirs[..before.len()]), "{ours:?}");
            assert!(!ours.contains(&String::new()), "an empty entry would be the working directory");
        }
    }
}
