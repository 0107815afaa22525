//! What runs in the container, as data: the tool's command line, the variables around it, and what has to be seen there.
//! Pure: nothing is looked at here.

use std::path::{Path, PathBuf};

use super::spec::{Format, Spec};
use super::tool::{Dialect, Tool};
use crate::request::bind::Bind;

/// Makes a module readable for all whatever the caller's umask is, gives the tool nothing to ask, and keeps Python packages of
/// host and home out of the environment, and its own in.
const SHELL: &str = "umask 022; unset PYTHONPATH PYTHONHOME PIP_TARGET PIP_PREFIX; exec env \"$@\" < /dev/null";

/// Files in the environment must not be links to the user's cache of packages: neither soft ones, which are dead in a module, nor
/// hard ones, whose modes we change. Environments that are seen in containers only are of no use in the user's list.
const VARIABLES: [(&str, &str); 10] = [
    ("CONDA_ALWAYS_YES", "true"),
    ("CONDA_ALWAYS_COPY", "true"),
    ("CONDA_ALWAYS_SOFTLINK", "false"),
    ("CONDA_ALLOW_SOFTLINKS", "false"),
    ("CONDA_REGISTER_ENVS", "false"),
    ("MAMBA_ALWAYS_COPY", "true"),
    ("MAMBA_ALWAYS_SOFTLINK", "false"),
    ("MAMBA_ALLOW_SOFTLINKS", "false"),
    ("PYTHONNOUSERSITE", "1"),
    ("PIP_USER", "false"),
];

/// One environment to be made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Order<'a> {
    pub(super) tool: &'a Tool,
    /// Where the environment is in the container.
    pub(super) prefix: &'a str,
    pub(super) spec: &'a Spec,
    /// Before those of the specification and of the tool's own configuration.
    pub(super) channels: &'a [String],
    /// For the tool's temporary files; the same path inside and outside.
    pub(super) tmp: &'a Path,
}

impl Order<'_> {
    /// The command for the container.
    pub(super) fn command(&self) -> Vec<String> {
        let mut words: Vec<String> = ["/bin/sh", "-c", SHELL, "sh"].map(String::from).into();
        words.extend(self.variables().into_iter().map(|(name, value)| format!("{name}={value}")));
        words.extend(self.tool_words());
        words
    }

    /// The tool's own command line.
    pub(super) fn tool_words(&self) -> Vec<String> {
        let word = |text: &str| String::from(text);
        let mut words = vec![self.tool.program.display().to_string()];
        match (self.tool.dialect, self.spec) {
            (Dialect::Conda, Spec::File(file)) if file.format == Format::Yaml => {
                words.extend(["env", "create", "-q", "-p", self.prefix].map(word));
                words.extend([word("-f"), file.path.display().to_string()]);
                return words;
            }
            (Dialect::Conda, _) => words.extend(["create", "-y", "-q", "-p", self.prefix].map(word)),
            (Dialect::Mamba, _) => words.extend(["create", "-y", "-p", self.prefix].map(word)),
        }
        words.extend(self.channels.iter().flat_map(|channel| [word("-c"), channel.clone()]));
        match self.spec {
            Spec::Packages(packages) => words.extend(packages.iter().cloned()),
            Spec::File(file) => words.extend([word("--file"), file.path.display().to_string()]),
        }
        words
    }

    fn variables(&self) -> Vec<(String, String)> {
        let mut variables: Vec<(String, String)> =
            VARIABLES.iter().map(|(name, value)| (String::from(*name), String::from(*value))).collect();
        variables.push(("TMPDIR".into(), self.tmp.display().to_string()));
        // `conda env create` has no option for channels; these come after those of the file.
        if self.tool_words().get(1).is_some_and(|word| word == "env") && !self.channels.is_empty() {
            variables.push(("CONDA_CHANNELS".into(), self.channels.join(",")));
        }
        variables
    }

    /// What has to be seen in the container besides what Apptainer shows: the tool, the environment's place, temporary files, the
    /// specification, and channels that are directories.
    pub(super) fn binds(&self, place: Bind) -> Vec<Bind> {
        let same = |path: &Path, read_only| Bind { source: path.into(), destination: path.into(), read_only };
        // conda keeps its cache of packages in its installation.
        let mut binds = vec![same(&self.tool.home, false), same(self.tmp, false)];
        binds.push(place);
        let mut channels: Vec<&String> = self.channels.iter().collect();
        if let Spec::File(file) = self.spec {
            binds.push(same(&file.path, true));
            channels.extend(&file.channels);
        }
        for directory in channels.into_iter().filter_map(|channel| directory_of(channel)) {
            if binds.iter().all(|bind| bind.destination != directory) {
                binds.push(same(&directory, true));
            }
        }
        binds
    }
}

/// The directory that a channel is; nothing where it is a name or in the network.
pub(super) fn directory_of(channel: &str) -> Option<PathBuf> {
    let path = channel.strip_prefix("file://").unwrap_or(channel);
    path.starts_with('/').then(|| PathBuf::from(path))
}

#[cfg(test)]
mod tests {
    use super::super::spec::SpecFile;
    use super::*;

    fn tool(name: &str, dialect: Dialect) -> Tool {
        Tool { program: format!("/opt/f/bin/{name}").into(), dialect, home: "/opt/f".into() }
    }

    fn words(tool: &Tool, spec: &Spec, channels: &[&str]) -> String {
        let channels: Vec<String> = channels.iter().map(|channel| String::from(*channel)).collect();
        order(tool, spec, &channels).tool_words().join(" ")
    }

    fn order<'a>(tool: &'a Tool, spec: &'a Spec, channels: &'a [String]) -> Order<'a> {
        Order { tool, prefix: "/cnt/s/1", spec, channels, tmp: Path::new("/t/tmp") }
    }

    fn file(path: &str, format: Format) -> Spec {
        let channels = vec!["file:///c".into()];
        Spec::File(SpecFile { path: path.into(), format, text: String::new(), channels, beside: Vec::new() })
    }

    #[test]
    fn packages() {
        let packages = Spec::Packages(vec!["s=1".into(), "python >=3".into()]);
        let micromamba = tool("micromamba", Dialect::Mamba);
        assert_eq!(
            words(&micromamba, &packages, &["conda-forge", "/c"]),
            "/opt/f/bin/micromamba create -y -p /cnt/s/1 -c conda-forge -c /c s=1 python >=3"
        );
        let conda = tool("conda", Dialect::Conda);
        assert_eq!(words(&conda, &packages, &["x"]), "/opt/f/bin/conda create -y -q -p /cnt/s/1 -c x s=1 python >=3");
    }

    #[test]
    fn files() {
        let (yaml, text) = (file("/d/e.yml", Format::Yaml), file("/d/e.txt", Format::Text));
        let (mamba, conda) = (tool("mamba", Dialect::Mamba), tool("conda", Dialect::Conda));
        assert_eq!(words(&mamba, &yaml, &["x"]), "/opt/f/bin/mamba create -y -p /cnt/s/1 -c x --file /d/e.yml");
        assert_eq!(words(&conda, &yaml, &["x"]), "/opt/f/bin/conda env create -q -p /cnt/s/1 -f /d/e.yml");
        assert_eq!(words(&conda, &text, &["x"]), "/opt/f/bin/conda create -y -q -p /cnt/s/1 -c x --file /d/e.txt");
    }

    #[test]
    fn conda_hears_of_channels_beside_a_file() {
        let (yaml, channels) = (file("/d/e.yml", Format::Yaml), ["x".into(), "y".into()]);
        let has = |dialect| {
            let tool = tool("conda", dialect);
            order(&tool, &yaml, &channels).command().contains(&"CONDA_CHANNELS=x,y".into())
        };
        assert!(has(Dialect::Conda) && !has(Dialect::Mamba));
    }

    #[test]
    fn nothing_is_linked_from_the_cache() {
        let (tool, spec) = (tool("micromamba", Dialect::Mamba), Spec::Packages(vec!["s".into()]));
        let command = order(&tool, &spec, &[]).command();
        for variable in ["MAMBA_ALWAYS_COPY=true", "CONDA_ALLOW_SOFTLINKS=false", "TMPDIR=/t/tmp"] {
            assert!(command.contains(&variable.into()), "{variable}: {command:?}");
        }
        assert_eq!(command.last().map(String::as_str), Some("s"));
    }

    #[test]
    fn what_is_seen() {
        let (tool, spec) = (tool("conda", Dialect::Conda), file("/d/e.yml", Format::Yaml));
        let channels = ["conda-forge".into(), "/c".into(), "https://x/y".into(), "file:///z".into()];
        let place = Bind { source: "/t/cnt".into(), destination: "/cnt".into(), read_only: false };
        let binds = order(&tool, &spec, &channels).binds(place);
        let shown: Vec<_> =
            binds.iter().map(|b| format!("{}>{}", b.source.display(), b.destination.display())).collect();
        assert_eq!(shown, ["/opt/f>/opt/f", "/t/tmp>/t/tmp", "/t/cnt>/cnt", "/d/e.yml>/d/e.yml", "/c>/c", "/z>/z"]);
    }
}
