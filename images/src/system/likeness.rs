//! Whether two names are so much alike that one was probably meant for the other.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;

/// Names that are this much alike (0 to 1) are offered; less alike ones are noise.
pub const ALIKE: f64 = 0.8;
/// Names of a directory that are looked at: it may be somebody's largest.
const MOST_NAMES: usize = 1000;

/// How much two names are alike, from 0 to 1, where that reaches [`ALIKE`]; else perhaps 0.
#[must_use]
pub fn likeness(a: &str, b: &str) -> f64 {
    let (longer, shorter) = (a.len().max(b.len()), a.len().min(b.len()));
    // Each letter that one has more is an edit: most names need not be looked at.
    if longer == 0 || (shorter as f64 / longer as f64) < ALIKE {
        return 0.0;
    }
    strsim::normalized_damerau_levenshtein(&a.to_lowercase(), &b.to_lowercase())
}

/// Beside a path at which there is nothing: the name in the same directory that it is most like.
pub(crate) fn neighbour(path: &Path) -> Option<String> {
    let wanted = path.file_name().and_then(OsStr::to_str)?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let names = fs::read_dir(directory)
        .ok()?
        .flatten()
        .take(MOST_NAMES)
        .filter_map(|entry| entry.file_name().into_string().ok());
    let alike = names.map(|name| (likeness(wanted, &name), name)).filter(|(alike, _)| *alike >= ALIKE);
    alike.max_by(|(a, _), (b, _)| a.total_cmp(b)).map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::neighbour;
    use std::fs;

    #[test]
    fn a_slip_of_the_finger_has_a_neighbour() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["env.img", "data.img", "environment.yml"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        let of = |name: &str| neighbour(&dir.path().join(name));
        assert_eq!((of("envv.img").as_deref(), of("Env.img").as_deref()), (Some("env.img"), Some("env.img")));
        assert_eq!((of("tools.sqf"), of("no/env.img"), neighbour("/".as_ref())), (None, None, None));
    }
}
