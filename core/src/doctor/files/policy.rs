//! The site's policy: whether what it names is there, and whether others could put something there.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::config::Config;
use crate::doctor::check::Check;
use crate::machine::survey::policy;
use condatainer_images::image;
use condatainer_images::trust::mode::WRITABLE_BY_ALL;

/// What was found out about the policy.
#[derive(Clone, Debug, Default)]
pub(crate) struct PolicyFacts {
    /// What it says, in words; nothing where the site has none.
    said: Vec<String>,
    /// What keeps containers from starting.
    broken: Vec<String>,
    /// What makes the rule easy to get around.
    weak: Vec<String>,
}

pub(super) fn read(config: &Config) -> PolicyFacts {
    let policy = &config.policy;
    let mut facts = PolicyFacts::default();
    let count = |key: &str, number: usize| format!("{key} ({number})");
    facts.said.extend(policy.bases.as_ref().map(|bases| count("bases", bases.len())));
    facts.said.extend(policy.layers.as_ref().map(|layers| count("layers", layers.len())));
    facts.said.extend(Some(policy.owners.len()).filter(|number| *number > 0).map(|number| count("owners", number)));
    facts.said.extend(Some(policy.always.len()).filter(|number| *number > 0).map(|number| count("always", number)));
    facts.broken.extend(policy.always.iter().filter_map(|layer| image::identify(layer).err()).map(|e| e.to_string()));
    let names = policy.owners.values().flatten();
    facts
        .broken
        .extend(names.filter(|name| policy::uid(name).is_none()).map(|name| format!("there is no user '{name}'")));
    facts.weak.extend(policy.bases.iter().flatten().chain(policy.owners.keys()).filter_map(|path| trouble(path)));
    facts
}

fn trouble(path: &Path) -> Option<String> {
    match fs::metadata(path) {
        Err(error) => Some(format!("{}: {error}", path.display())),
        Ok(meta) if meta.mode() & WRITABLE_BY_ALL != 0 => {
            Some(format!("{}: everybody can write there", path.display()))
        }
        Ok(_) => None,
    }
}

pub(super) fn judge(facts: &PolicyFacts) -> Check {
    const ID: &str = "policy";
    match (&*facts.said, &*facts.broken, &*facts.weak) {
        ([], ..) => Check::ok(ID, "the site has none: users start what they like"),
        (_, [], []) => Check::ok(ID, facts.said.join(", ")),
        (_, [], weak) => Check::warning(ID, weak.join("; "), "as root: chmod o-w the directories, or correct [policy]"),
        (_, broken, _) => Check::failed(ID, broken.join("; "), "as root: correct [policy] in the system configuration"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::check::Status;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn verdicts() {
        let dir = tempfile::tempdir().unwrap();
        let of = |text: &str| {
            let text = text.replace("DIR", dir.path().to_str().unwrap());
            judge(&read(&Config::of_text(Path::new("/c.toml"), &text).unwrap()))
        };
        assert_eq!(of("").status, Status::Ok);
        let fine = "[policy]\nbases = [\"DIR\"]\nalways = [\"DIR\"]\nowners = { \"DIR\" = [\"root\"] }\n";
        assert_eq!(of(fine), Check::ok("policy", "bases (1), owners (1), always (1)"));
        assert!(of("[policy]\nalways = [\"DIR/none\"]\n").found.ends_with("/none: no such file or directory"));
        let unknown = of("[policy.owners]\n\"DIR\" = [\"nobody-of-this-name\"]\n");
        assert_eq!((unknown.status, &*unknown.found), (Status::Failed, "there is no user 'nobody-of-this-name'"));
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o1777)).unwrap();
        assert_eq!(of(fine).status, Status::Warning);
        assert!(of("[policy]\nbases = [\"DIR/none\"]\n").found.contains("No such file"));
    }
}
