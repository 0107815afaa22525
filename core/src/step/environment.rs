//! The environment of a task in a container that was started without it. Pure.

use super::join::command::Variables;

/// What the container's start would have made of the task's own variables: `before` and `after` are what it made of the keeper's.
/// What it changed, added or removed there, it would have here; everything else is the task's own.
pub(crate) fn merged(own: Variables, before: &Variables, after: &Variables) -> Variables {
    let mut merged = own;
    merged.retain(|name, _| !is_removed(name, before, after));
    let changed = after.iter().filter(|(name, value)| before.get(*name) != Some(value));
    merged.extend(changed.map(|(name, value)| (name.clone(), value.clone())));
    merged
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
}
