//! The line that `e` says before it starts: what is written to, or that nothing is. `e` takes an image that nobody has named, so
//! its user must not have to guess.

use std::path::{Path, PathBuf};

use condatainer_core::plan::Overlay;

/// The images of the request, where they were found, and how their paths are to be shown.
pub(crate) struct Images<'a> {
    /// The topmost image that the user has named.
    pub(crate) named: Option<PathBuf>,
    /// The workspace's image, which nobody has named.
    pub(crate) found: Option<PathBuf>,
    /// The working directory.
    pub(crate) cwd: &'a Path,
}

impl Images<'_> {
    /// The line.
    pub(crate) fn first_line(&self, stack: &[Overlay]) -> String {
        match stack.last() {
            Some(Overlay::Rw(path)) => format!("writing to {}", self.shown(path)),
            Some(Overlay::Scratch(dir) | Overlay::ScratchImage(dir)) => {
                format!("what is written goes below {} and is removed at the end{}", dir.display(), self.unchanged())
            }
            Some(Overlay::Memory(bytes)) => format!(
                "what is written goes to memory, at most {} MiB, and is gone at the end{}",
                bytes >> 20,
                self.unchanged()
            ),
            Some(Overlay::Ro(_)) | None => match self.read() {
                Some(image) => format!("nothing is written: {image} is only read"),
                None => "nothing is written: no image is named or taken ('condatainer o' makes one)".into(),
            },
        }
    }

    fn unchanged(&self) -> String {
        self.read().map(|image| format!(": {image} stays as it is")).unwrap_or_default()
    }

    fn read(&self) -> Option<String> {
        self.found.as_ref().or(self.named.as_ref()).map(|path| self.shown(path))
    }

    /// From here if it lies here, and whether it was named.
    fn shown(&self, path: &Path) -> String {
        let shown = match path.strip_prefix(self.cwd) {
            Ok(below) => format!("./{}", below.display()),
            Err(_) => path.display().to_string(),
        };
        if self.found.as_deref() == Some(path) { format!("{shown} (found here; -n leaves it out)") } else { shown }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(stack: &[Overlay], named: Option<&str>, found: Option<&str>) -> String {
        let path = |path: Option<&str>| path.map(PathBuf::from);
        Images { named: path(named), found: path(found), cwd: Path::new("/w") }.first_line(stack)
    }

    #[test]
    fn what_is_written_to() {
        let rw = |path: &str| [Overlay::Ro("/w/low.sqf".into()), Overlay::Rw(path.into())];
        let found = said(&rw("/w/overlay/env.img"), None, Some("/w/overlay/env.img"));
        assert_eq!(found, "writing to ./overlay/env.img (found here; -n leaves it out)");
        assert_eq!(said(&rw("/w/env.img"), Some("/w/env.img"), None), "writing to ./env.img");
        assert_eq!(said(&rw("/else/env.img"), Some("/else/env.img"), None), "writing to /else/env.img");
    }

    #[test]
    fn what_does_not_last() {
        let tmp = [Overlay::Ro("/w/env.img".into()), Overlay::Scratch("/scratch".into())];
        let expected = "what is written goes below /scratch and is removed at the end: ./env.img stays as it is";
        assert_eq!(said(&tmp, Some("/w/env.img"), None), expected);
        let memory = "what is written goes to memory, at most 8 MiB, and is gone at the end";
        assert_eq!(said(&[Overlay::Memory(8 << 20)], None, None), memory);
    }

    #[test]
    fn that_nothing_is_written() {
        let ro = [Overlay::Ro("/w/env.img".into())];
        let found = said(&ro, None, Some("/w/env.img"));
        assert_eq!(found, "nothing is written: ./env.img (found here; -n leaves it out) is only read");
        assert_eq!(said(&ro, Some("/w/env.img"), None), "nothing is written: ./env.img is only read");
        let none = "nothing is written: no image is named or taken ('condatainer o' makes one)";
        assert_eq!(said(&[Overlay::Ro("/w/low.sqf".into())], None, None), none);
        assert_eq!(said(&[], None, None), none);
    }
}
