//! The programs that make, repair, resize and seal images.

mod facts;
mod read;

use crate::doctor::check::Check;
use crate::machine::version::Version;
use facts::{Facts, Tool};

pub(crate) use read::read;

/// The first e2fsprogs that can fill a new file system from a directory (`mke2fs -d`).
const E2FSPROGS: Version = Version(1, 43, 0);
/// The first mksquashfs that reads tar archives.
const MKSQUASHFS: Version = Version(4, 5, 0);

pub(crate) fn judge(facts: &Facts) -> Vec<Check> {
    vec![e2fsprogs(&facts.e2fsprogs), mksquashfs(&facts.mksquashfs)]
}

/// e2fsck is part of a start: it repairs what a killed writer left.
fn e2fsprogs(tools: &[Tool]) -> Check {
    const ID: &str = "e2fsprogs";
    const CURE: &str = "install the package e2fsprogs";
    let missing: Vec<&str> = tools.iter().filter(|tool| tool.path.is_none()).map(|tool| tool.name).collect();
    let version = tools.iter().find_map(|tool| tool.version);
    match (missing.as_slice(), version) {
        ([], Some(version)) if version < E2FSPROGS => Check::warning(
            ID,
            format!("{version} cannot make images"),
            format!("install e2fsprogs {E2FSPROGS} or later"),
        ),
        ([], Some(version)) => Check::ok(ID, version.to_string()),
        ([], None) => Check::ok(ID, "installed; they do not tell their version"),
        (missing, _) if missing.contains(&"e2fsck") => Check::failed(
            ID,
            format!("missing: {}; without e2fsck an image whose writer was killed does not start", missing.join(", ")),
            CURE,
        ),
        (missing, _) => {
            Check::warning(ID, format!("missing: {}; images cannot be made or resized here", missing.join(", ")), CURE)
        }
    }
}

fn mksquashfs(tool: &Tool) -> Check {
    const ID: &str = "squashfs-tools";
    let cure = format!("install squashfs-tools {MKSQUASHFS} or later");
    match (&tool.path, tool.version) {
        (None, _) => Check::warning(ID, "mksquashfs is missing; images cannot be sealed here", cure),
        (Some(_), Some(version)) if version >= MKSQUASHFS => Check::ok(ID, version.to_string()),
        (Some(path), Some(version)) => Check::warning(
            ID,
            format!(
                "{} is mksquashfs {version}, which cannot read archives; images cannot be sealed here",
                path.display()
            ),
            cure,
        ),
        (Some(path), None) => Check::warning(
            ID,
            format!("{} does not tell its version; images cannot be sealed here", path.display()),
            cure,
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::check::Status;

    fn tool(name: &'static str, version: Option<Version>) -> Tool {
        Tool { name, path: Some(format!("/sbin/{name}").into()), version }
    }

    #[test]
    fn e2fsprogs_are_needed_for_different_things() {
        let all = [tool("mke2fs", Some(Version(1, 47, 0))), tool("e2fsck", None), tool("resize2fs", None)];
        assert_eq!(e2fsprogs(&all), Check::ok("e2fsprogs", "1.47"));
        let without = |name: &str| {
            let mut tools = all.clone();
            tools.iter_mut().filter(|tool| tool.name == name).for_each(|tool| tool.path = None);
            e2fsprogs(&tools).status
        };
        assert_eq!(
            (without("e2fsck"), without("mke2fs"), without("resize2fs")),
            (Status::Failed, Status::Warning, Status::Warning)
        );
        let old = [tool("mke2fs", Some(Version(1, 42, 9)))];
        assert_eq!(e2fsprogs(&old).status, Status::Warning);
    }

    #[test]
    fn mksquashfs_has_to_read_archives() {
        let of = |version| mksquashfs(&tool("mksquashfs", version)).status;
        assert_eq!(of(Some(Version(4, 5, 1))), Status::Ok);
        assert_eq!(of(Some(Version(4, 4, 0))), Status::Warning);
        assert_eq!(of(None), Status::Warning);
        assert_eq!(mksquashfs(&Tool { path: None, ..tool("mksquashfs", None) }).status, Status::Warning);
    }
}
