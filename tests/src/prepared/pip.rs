//! The host's pip configuration, brought into the cluster: variables, pip.conf and the files they name. Everything lies
//! in the user's home, because that is what a container sees without further binds.

use std::collections::BTreeMap;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context, Result, ensure};

use crate::machine::Machine;
use crate::machine::users::{Account, TEST_USERS};

/// Variables besides `PIP_*` by which pip finds a proxy or certificates.
const NETWORK: [&str; 9] = [
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "REQUESTS_CA_BUNDLE",
    "SSL_CERT_FILE",
    "CURL_CA_BUNDLE",
];

/// Settings that name files or directories of the host which must come along.
const NAMING_FILES: [&str; 3] = ["cert", "client-cert", "find-links"];

/// Settings that mean a place on the host and nothing inside.
const LEFT_OUT: [&str; 5] = ["config-file", "cache-dir", "log", "build", "require-virtualenv"];

/// Where everything lies, below the home of each user.
const DIRECTORY: &str = ".config/pip";

type Sections = BTreeMap<String, BTreeMap<String, String>>;

/// Copies pip's files into every test user's home and sets the variables for their commands.
pub(crate) fn bring_in(machine: &mut Machine) -> Result<()> {
    let variables: BTreeMap<String, String> = env::vars().filter(|(name, _)| is_wanted(name)).collect();
    let sections = configuration_files().into_iter().map(|file| fs::read_to_string(file).unwrap_or_default());
    let sections = sections.fold(Sections::new(), |sections, text| merge(sections, &text));
    for user in TEST_USERS {
        let account = machine.accounts().find(user)?.clone();
        let files = named_files(&variables, &sections);
        let moved = copy(machine, &account, &files)?;
        let text = render(&sections, &moved);
        machine.write_file(user, &format!("{}/{DIRECTORY}/pip.conf", account.home), text.as_bytes(), 0o600)?;
        let own = variables.iter().map(|(name, value)| (name.clone(), move_paths(value, &moved)));
        machine.add_environment(user, own.collect());
    }
    Ok(())
}

fn is_wanted(name: &str) -> bool {
    NETWORK.contains(&name) || setting_of(name).is_some_and(|setting| !LEFT_OUT.contains(&setting.as_str()))
}

/// The setting that a `PIP_…` variable stands for.
fn setting_of(variable: &str) -> Option<String> {
    Some(variable.strip_prefix("PIP_")?.to_ascii_lowercase().replace('_', "-"))
}

/// pip's configuration files in the order in which later ones win.
fn configuration_files() -> Vec<PathBuf> {
    let home = PathBuf::from(env::var_os("HOME").unwrap_or_default());
    let user = env::var_os("XDG_CONFIG_HOME").map_or_else(|| home.join(".config"), PathBuf::from);
    let mut files = vec![PathBuf::from("/etc/xdg/pip/pip.conf"), PathBuf::from("/etc/pip.conf")];
    files.extend([home.join(".pip/pip.conf"), user.join("pip/pip.conf")]);
    files.extend(env::var_os("PIP_CONFIG_FILE").map(PathBuf::from));
    files
}

/// Adds an ini text to what was read before; its values win. A value may go on in indented lines.
fn merge(mut sections: Sections, text: &str) -> Sections {
    let (mut section, mut setting) = (String::new(), String::new());
    for line in text.lines().filter(|line| !line.trim_start().starts_with(['#', ';']) && !line.trim().is_empty()) {
        let settings = sections.entry(section.clone()).or_default();
        if let (true, Some(value)) = (line.starts_with([' ', '\t']), settings.get_mut(&setting)) {
            value.push_str(&format!("\n    {}", line.trim()));
        } else if let Some(name) = line.trim().strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            name.clone_into(&mut section);
        } else if let Some((name, value)) = line.split_once(['=', ':']) {
            setting = name.trim().to_ascii_lowercase().replace('_', "-");
            settings.insert(setting.clone(), value.trim().to_owned());
        }
    }
    sections.retain(|_, settings| !settings.is_empty());
    sections
}

fn render(sections: &Sections, moved: &BTreeMap<String, String>) -> String {
    let mut text = String::new();
    for (section, settings) in sections {
        text.push_str(&format!("[{section}]\n"));
        let kept = settings.iter().filter(|(name, _)| !LEFT_OUT.contains(&name.as_str()));
        text.extend(kept.map(|(name, value)| format!("{name} = {}\n", move_paths(value, moved))));
    }
    text
}

/// The existing files and directories that the configuration names.
fn named_files(variables: &BTreeMap<String, String>, sections: &Sections) -> Vec<String> {
    let names_files = |name: &str| NAMING_FILES.contains(&name);
    let from_variables = variables.iter().filter(|(name, _)| {
        name.ends_with("CA_BUNDLE")
            || *name == "SSL_CERT_FILE"
            || setting_of(name).is_some_and(|name| names_files(&name))
    });
    let from_files = sections.values().flatten().filter(|(name, _)| names_files(name));
    let values = from_variables.chain(from_files).flat_map(|(_, value)| value.split_whitespace());
    let mut files: Vec<String> =
        values.filter(|value| value.starts_with('/') && Path::new(value).exists()).map(str::to_owned).collect();
    files.sort();
    files.dedup();
    files
}

/// Copies files into the user's home; returns where each is now, as seen inside.
fn copy(machine: &Machine, account: &Account, files: &[String]) -> Result<BTreeMap<String, String>> {
    let inside = format!("{}/{DIRECTORY}", account.home);
    machine.command(&account.name).run(&["mkdir", "-p", &inside])?.success()?;
    let copy_one = |(number, file): (usize, &String)| {
        let target = format!("{inside}/file-{number}");
        let on_host = machine.host_path(&target);
        let status =
            Command::new("cp").args(["-rL", "--", file]).arg(&on_host).status().context("cp cannot be started")?;
        ensure!(status.success(), "cannot copy {file} into the cluster");
        give_away(&on_host, account)?;
        Ok((file.clone(), target))
    };
    files.iter().enumerate().map(copy_one).collect()
}

fn give_away(path: &Path, account: &Account) -> Result<()> {
    chown(path, Some(account.uid), Some(account.gid))?;
    let is_directory = path.is_dir();
    fs::set_permissions(path, fs::Permissions::from_mode(if is_directory { 0o755 } else { 0o600 }))?;
    Ok(())
}

/// Replaces the words of a value that are paths which were moved; directories that exist nowhere are left out.
fn move_paths(value: &str, moved: &BTreeMap<String, String>) -> String {
    let is_gone = |word: &&str| word.starts_with('/') && !moved.contains_key(*word);
    let words = value.split_whitespace().filter(|word| !is_gone(word));
    words.map(|word| moved.get(word).map_or(word, String::as_str)).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_files_win_and_paths_are_moved() {
        let sections = merge(Sections::new(), "[global]\ncert = /etc/ca.crt\nindex_url = http://a/\ncache-dir = /x\n");
        let sections =
            merge(sections, "# mine\n[global]\nindex-url: http://b/\n[install]\nfind-links =\n  /w\n  http://c/\n");
        let moved = BTreeMap::from([("/etc/ca.crt".to_owned(), "/home/alice/ca".to_owned())]);
        assert_eq!(
            render(&sections, &moved),
            "[global]\ncert = /home/alice/ca\nindex-url = http://b/\n[install]\nfind-links = http://c/\n"
        );
    }

    #[test]
    fn only_variables_that_mean_something_inside_come_along() {
        assert!(is_wanted("PIP_INDEX_URL") && is_wanted("https_proxy"));
        assert!(!is_wanted("PIP_CACHE_DIR") && !is_wanted("PIP_CONFIG_FILE") && !is_wanted("HOME"));
    }
}
