//! Images that a container holds, told to those whom its command starts: a start that waited for one of them would wait for itself.

use std::path::PathBuf;

/// Survives `--export=NONE`, as all names under `SLURM_` do.
pub(crate) const HELD: &str = "SLURM_CONDATAINER_HELD";

/// The value of [`HELD`] in a container of this job, if it is in one. A path that is no text, or has a colon, is not told.
pub(crate) fn told(job: Option<&str>, images: &[PathBuf]) -> String {
    let paths = images.iter().filter_map(|path| path.to_str()).filter(|path| !path.contains(':'));
    std::iter::once(job.unwrap_or_default()).chain(paths).collect::<Vec<_>>().join(":")
}

/// The images that such a value names. Nobody in one job waits for a start in another.
pub(crate) fn heard(value: &str, job: Option<&str>) -> Vec<PathBuf> {
    let mut words = value.split(':');
    let is_of_job = words.next() == Some(job.unwrap_or_default());
    words.filter(|_| is_of_job).map(PathBuf::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_heard_in_the_same_job() {
        let images = ["/a.img", "/b:c.img", "/d e.img"].map(PathBuf::from);
        for job in [None, Some("7")] {
            let value = told(job, &images);
            assert_eq!(heard(&value, job), ["/a.img", "/d e.img"].map(PathBuf::from));
            assert!(heard(&value, Some("8")).is_empty());
        }
        assert!(heard("", None).is_empty());
    }
}
