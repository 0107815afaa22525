//! The Debian mirror of this machine, read from its own apt configuration, so that roots come from where the machine
//! itself may download. Both formats are understood: deb822 `.sources` and one-line `.list`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

/// One archive from apt's configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Source {
    uri: String,
    suites: Vec<String>,
    components: Vec<String>,
    /// The value of Signed-By as it stands: a path, a fingerprint or an embedded key of several lines.
    signed_by: Option<String>,
}

impl Source {
    /// A deb822 stanza for another suite of the same archive.
    pub(crate) fn stanza(&self, suite: &str) -> String {
        let signed_by = self.signed_by.as_ref().map(|key| format!("Signed-By: {key}\n")).unwrap_or_default();
        format!("Types: deb\nURIs: {}\nSuites: {suite}\nComponents: main\n{signed_by}", self.uri)
    }

    /// Whether this is the main Debian archive: its suites are releases, not security updates or a vendor's own names.
    fn is_debian(&self) -> bool {
        const RELEASES: [&str; 8] = ["bullseye", "bookworm", "trixie", "forky", "sid", "stable", "testing", "unstable"];
        self.components.iter().any(|component| component == "main")
            && self.suites.iter().any(|suite| RELEASES.contains(&suite.as_str()))
            && !self.uri.trim_end_matches('/').ends_with("-security")
    }
}

/// The machine's Debian mirror.
pub(crate) fn of_this_machine() -> Result<Source> {
    let sources = configured(Path::new("/etc/apt"));
    let found = sources.into_iter().find(Source::is_debian);
    found.context(
        "apt's configuration (/etc/apt/sources.list, sources.list.d) names no Debian archive to build roots from",
    )
}

/// apt's own settings on how to download (proxy, certificates, dates), in apt.conf syntax, one each.
pub(crate) fn download_settings() -> Vec<String> {
    const KEPT: [&str; 4] = ["Acquire::http", "Acquire::Check-", "Acquire::Retries", "Acquire::ForceIPv"];
    let output = Command::new("apt-config").arg("dump").output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let is_kept = |line: &&str| KEPT.iter().any(|prefix| line.starts_with(prefix)) && !line.ends_with("\"\";");
    text.lines().filter(is_kept).map(|line| line.trim_end_matches(';').to_owned()).collect()
}

fn configured(apt: &Path) -> Vec<Source> {
    let mut files: Vec<PathBuf> = fs::read_dir(apt.join("sources.list.d"))
        .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
        .unwrap_or_default();
    files.sort();
    files.push(apt.join("sources.list"));
    files.iter().flat_map(|file| read(file)).collect()
}

fn read(file: &Path) -> Vec<Source> {
    let text = fs::read_to_string(file).unwrap_or_default();
    match file.extension().and_then(|extension| extension.to_str()) {
        Some("sources") => parse_deb822(&text),
        Some("list") => parse_one_line(&text),
        _ => Vec::new(),
    }
}

/// Parses one-line entries: `deb [signed-by=FILE arch=…] URI SUITE COMPONENT…`.
fn parse_one_line(text: &str) -> Vec<Source> {
    text.lines().filter_map(|line| parse_entry(line.split('#').next().unwrap_or_default().trim())).collect()
}

fn parse_entry(line: &str) -> Option<Source> {
    let rest = line.strip_prefix("deb ")?.trim_start();
    let (options, rest) = match rest.strip_prefix('[') {
        Some(bracketed) => bracketed.split_once(']')?,
        None => ("", rest),
    };
    let signed_by = options.split_whitespace().find_map(|option| option.strip_prefix("signed-by="));
    let mut words = rest.split_whitespace().map(str::to_owned);
    Some(Source {
        uri: words.next()?,
        suites: vec![words.next()?],
        components: words.collect(),
        signed_by: signed_by.map(str::to_owned),
    })
}

/// Parses deb822 stanzas, leaving out disabled ones and those for sources only.
fn parse_deb822(text: &str) -> Vec<Source> {
    let mut sources = Vec::new();
    let mut fields: Vec<(String, String)> = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#')).chain([""]) {
        if line.trim().is_empty() {
            sources.extend(parse_stanza(&fields));
            fields.clear();
        } else if let (true, Some((_, value))) = (line.starts_with([' ', '\t']), fields.last_mut()) {
            value.push('\n');
            value.push_str(line);
        } else if let Some((name, value)) = line.split_once(':') {
            fields.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
    sources
}

fn parse_stanza(fields: &[(String, String)]) -> Option<Source> {
    let field = |name: &str| fields.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let words = |name: &str| field(name).unwrap_or_default().split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let is_enabled = !matches!(field("enabled"), Some("no" | "false" | "0"));
    if !is_enabled || !words("types").iter().any(|kind| kind == "deb") {
        return None;
    }
    Some(Source {
        uri: words("uris").into_iter().next()?,
        suites: words("suites"),
        components: words("components"),
        signed_by: field("signed-by").map(str::to_owned),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_entries_with_and_without_options() {
        let found = parse_one_line(
            "# a comment\ndeb [arch=amd64 signed-by=/k.gpg] http://m/debian bookworm main contrib # why\n\
             deb-src http://m/debian bookworm main\ndeb http://v/apt stable-x main\n",
        );
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].signed_by.as_deref(), Some("/k.gpg"));
        assert!(found[0].is_debian() && !found[1].is_debian());
        assert_eq!(
            found[0].stanza("sid"),
            "Types: deb\nURIs: http://m/debian\nSuites: sid\nComponents: main\nSigned-By: /k.gpg\n"
        );
    }

    #[test]
    fn stanzas_disabled_ones_and_embedded_keys() {
        let found = parse_deb822(
            "Enabled: no\nTypes: deb\nURIs: http://off\nSuites: sid\nComponents: main\n\n\
             Types: deb deb-src\n# why\nURIs: http://m/debian\nSuites: trixie trixie-updates\nComponents: main\n\
             Signed-By:\n -----BEGIN\n .\n abc\n\n\
             Types: deb\nURIs: http://m/debian-security/\nSuites: trixie trixie-security\nComponents: main\n",
        );
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].signed_by.as_deref(), Some("\n -----BEGIN\n .\n abc"));
        assert!(found[0].is_debian() && !found[1].is_debian());
        assert!(found[0].stanza("sid").ends_with("Signed-By: \n -----BEGIN\n .\n abc\n"));
    }
}
