//! The environment of a task in a container that was started without it, and of what it calls outside of there. Pure.

use std::collections::BTreeSet;

use condatainer_programs::command::Variables;

/// What the container's start would have made of the task's own variables: `before` and `after` are what it made of the keeper's.
/// What it changed, added or removed there, it would have here; everything else is the task's own.
pub(crate) fn merged(own: Variables, before: &Variables, after: &Variables) -> Variables {
    let mut merged = own;
    merged.retain(|name, _| !is_removed(name, before, after));
    let changed = after.iter().filter(|(name, value)| before.get(*name) != Some(value));
    merged.extend(changed.map(|(name, value)| (name.clone(), value.clone())));
    merged
}

/// What a program in the container would have outside of it: `inside` is what the container's start has made of `outside`. What the
/// start has made is taken back; what the program's own callers have set, changed, added to a list or removed stays.
pub(crate) fn unmerged(own: Variables, outside: &Variables, inside: &Variables) -> Variables {
    let names: BTreeSet<&Vec<u8>> = own.keys().chain(outside.keys()).collect();
    let value = |name: &Vec<u8>| taken_back(own.get(name), outside.get(name), inside.get(name));
    names.into_iter().filter_map(|name| Some((name.clone(), value(name)?))).collect()
}

fn taken_back(own: Option<&Vec<u8>>, outside: Option<&Vec<u8>>, inside: Option<&Vec<u8>>) -> Option<Vec<u8>> {
    if own == inside {
        return outside.cloned();
    }
    let list = own.zip(inside).and_then(|(own, inside)| replaced(own, inside, outside.map_or(&[], Vec::as_slice)));
    list.or_else(|| own.cloned())
}

/// A list as in PATH, with another middle; `None` where it has not got that middle.
fn replaced(list: &[u8], middle: &[u8], by: &[u8]) -> Option<Vec<u8>> {
    let ends_entry = |rest: &[u8]| rest.is_empty() || rest.starts_with(b":");
    let begins_entry = |at: usize| at == 0 || list[at - 1] == b':';
    let fits = |at: &usize| begins_entry(*at) && list[*at..].strip_prefix(middle).is_some_and(ends_entry);
    let at = (0..list.len()).find(fits).filter(|_| !middle.is_empty())?;
    let (before, after) = (&list[..at], &list[at + middle.len()..]);
    // Without a middle there is one colon too many.
    Some(match (by.is_empty(), after.strip_prefix(b":")) {
        (true, Some(after)) => [before, after].concat(),
        (true, None) => before.strip_suffix(b":").unwrap_or(before).to_vec(),
        (false, _) => [before, by, after].concat(),
    })
}

fn is_removed(name: &[u8], before: &Variables, after: &Variables) -> bool {
    before.contains_key(name) && !after.contains_key(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(text: &str) -> Variables {
        text.split(' ').filter_map(|pair| pair.split_once('=')).map(|(k, v)| (k.into(), v.into())).collect()
    }

    #[test]
    fn the_tasks_own_and_the_containers() {
        let before = variables("PATH=/host HOME=/home/a SLURM_PROCID=0 APPTAINER_CWD=/x LANG=C");
        let after = variables("PATH=/usr/bin HOME=/home/a SLURM_PROCID=0 APPTAINER_NAME=base.sqf LANG=C");
        let own = variables("PATH=/host HOME=/home/a SLURM_PROCID=7 APPTAINER_CWD=/x PMI_FD=9 LANG=C");
        let expected = variables("PATH=/usr/bin HOME=/home/a SLURM_PROCID=7 APPTAINER_NAME=base.sqf PMI_FD=9 LANG=C");
        assert_eq!(merged(own, &before, &after), expected);
    }

    #[test]
    fn what_the_start_has_made_is_taken_back() {
        let outside = variables("PATH=/host:/bin HOME=/home/a LANG=C SLURM_JOB_ID=7");
        let inside =
            variables("PATH=/tool:/usr/bin HOME=/home/a SLURM_JOB_ID=7 LD_LIBRARY_PATH=/libs IN_CONDATAINER=1");
        let back = |own: &str| unmerged(variables(own), &outside, &inside);
        let same = "PATH=/tool:/usr/bin HOME=/home/a SLURM_JOB_ID=7 LD_LIBRARY_PATH=/libs IN_CONDATAINER=1";
        assert_eq!(back(same), outside);
        let own = "PATH=/mine:/tool:/usr/bin:/last HOME=/home/a LANG=de LD_LIBRARY_PATH=/x:/libs MINE=1 SLURM_PROCID=0";
        let expected = "PATH=/mine:/host:/bin:/last HOME=/home/a LANG=de LD_LIBRARY_PATH=/x MINE=1 SLURM_PROCID=0";
        assert_eq!(back(own), variables(expected));
    }

    #[test]
    fn lists() {
        let list = |list: &str, by: &str| {
            replaced(list.as_bytes(), b"/m:/n", by.as_bytes()).map(|list| String::from_utf8(list).unwrap())
        };
        let cases = [
            ("/m:/n", "/h", Some("/h")),
            ("/m:/n", "", Some("")),
            ("/a:/m:/n:/b", "/h", Some("/a:/h:/b")),
            ("/a:/m:/n:/b", "", Some("/a:/b")),
            ("/m:/n:/b", "", Some("/b")),
            ("/a:/m:/n", "", Some("/a")),
            ("/a/m:/n", "/h", None),
            ("/m:/nn", "/h", None),
            ("/m", "/h", None),
        ];
        for (text, by, expected) in cases {
            assert_eq!(list(text, by).as_deref(), expected, "{text} {by}");
        }
        assert_eq!(replaced(b"/a", b"", b"/h"), None);
    }
}
