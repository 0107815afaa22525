//! The configuration in force: what each source says, and which of them has decided.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::error::ConfigError;
use super::lines::Lines;
use super::origin::Origin;
use super::read::{of_site, of_user, parse};
use super::settings::{NOT_FIXED, OVERLAY_VARIABLE, Settings, absolute};
use super::source::Source;
use super::value::log::Log;
use super::value::mounts::Mounts;
use super::value::policy::Policy;
use super::value::scratch::Scratch;
use super::value::wait::Wait;

/// What containers show where the site says nothing.
const USUAL_BIND_DIRS: [&str; 2] = ["$TMPDIR", "$SCRATCH"];

/// The configuration in force, kept by where its parts come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// What the site has fixed; wins over flags.
    fixed: Settings,
    environment: Settings,
    user: Settings,
    site: Settings,
    /// The container engine; `None`: what is found in PATH.
    pub apptainer: Option<PathBuf>,
    /// Directories that exist on compute nodes only: a file below them may be missing where a job is submitted.
    pub node_paths: Vec<PathBuf>,
    /// Where the record of use is kept; `None`: there is none.
    pub log: Option<Log>,
    /// What users may start.
    pub policy: Policy,
    pub(super) site_file: Option<PathBuf>,
    pub(super) user_file: Option<PathBuf>,
    site_lines: Lines,
    user_lines: Lines,
}

/// Options that a site may fix, as they were given.
#[derive(Clone, Copy, Debug, Default)]
pub struct Given<'a> {
    /// `-b`
    pub base: Option<&'a Path>,
    /// `--fakeroot`, `--no-fakeroot`
    pub fakeroot: Option<bool>,
    /// `--mounts`
    pub mounts: Option<Mounts>,
    /// `--scratch`
    pub scratch: Option<Scratch>,
    /// `--wait`
    pub wait: Option<Wait>,
    /// `--tmpdir`
    pub tmpdir: Option<&'a Path>,
    /// `--conda`
    pub conda: Option<&'a Path>,
}

impl Config {
    /// Reads the site's file alone, as the plugin and the wrapper of a step do. A missing file is an empty one.
    ///
    /// # Errors
    /// Unreadable, misspelt, or not safely owned by root.
    pub fn system(path: &Path) -> Result<Self, ConfigError> {
        of_site(path)?.map_or_else(|| Ok(Self::default()), |text| Self::of_text(path, &text))
    }

    /// As [`Config::system`], from what the file holds.
    pub(crate) fn of_text(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let mut site = parse(path, text)?;
        let fixed = site.fixed.take().map(|fixed| *fixed).unwrap_or_default();
        fixed.refuse_site_keys(path, NOT_FIXED)?;
        fixed.refuse_overlay(path)?;
        let (apptainer, node_paths) = (site.apptainer.take(), site.node_paths.take().unwrap_or_default());
        let (log, policy) = (site.log.take(), site.policy.take().unwrap_or_default());
        let origin = path.display().to_string();
        site.check(&origin)?;
        fixed.check(&origin)?;
        absolute(&origin, "apptainer", &apptainer)?;
        absolute(&origin, "node_paths", &node_paths)?;
        policy.paths().try_for_each(|(key, path)| absolute(&origin, key, [path]))?;
        let (site_file, site_lines) = (Some(path.into()), Lines::of(text));
        Ok(Self { fixed, site, apptainer, node_paths, log, policy, site_file, site_lines, ..Self::default() })
    }

    /// Adds the user's own file and variables on top of the site's configuration.
    ///
    /// # Errors
    /// An unreadable or misspelt user file, a variable with a value that its key does not allow.
    pub fn with_user(mut self, file: Option<&Path>, env: &HashMap<String, String>) -> Result<Self, ConfigError> {
        if let Some(path) = file
            && let Some(text) = of_user(path)?
        {
            self.user = parse(path, &text)?;
            self.user.refuse_site_keys(path, "is for the site's file only: take it out")?;
            self.user.check(&path.display().to_string())?;
            self.user_file = Some(path.into());
            self.user_lines = Lines::of(&text);
        }
        self.environment = Settings::from_env(env)?;
        Ok(self)
    }

    /// The value in force: fixed by the site, else the flag, else environment, user and site in this order.
    fn decide<T>(&self, flag: Option<T>, get: impl Fn(&Settings) -> Option<T>) -> Option<T> {
        let others = || [&self.environment, &self.user, &self.site].into_iter().find_map(&get);
        get(&self.fixed).or(flag).or_else(others)
    }

    /// The base image.
    #[must_use]
    pub fn base(&self, flag: Option<PathBuf>) -> Option<PathBuf> {
        self.decide(flag, |settings| settings.base.clone())
    }

    /// The layers where none are named, as they were written, and who has named them.
    pub(crate) fn overlay(&self) -> Option<(&[String], Origin)> {
        let sources = self.sources("overlay", OVERLAY_VARIABLE).into_iter();
        sources.filter_map(|(settings, origin)| Some((settings.overlay.as_deref()?, origin))).next()
    }

    /// Whether fakeroot is asked for; `None` is automatic.
    #[must_use]
    pub fn fakeroot(&self, flag: Option<bool>) -> Option<bool> {
        self.decide(flag, |settings| settings.fakeroot)
    }

    /// Who mounts the layers.
    #[must_use]
    pub fn mounts(&self, flag: Option<Mounts>) -> Mounts {
        self.decide(flag, |settings| settings.mounts).unwrap_or(Mounts::DEFAULT)
    }

    /// Where what `:tmp` and `--tmp` write is kept.
    #[must_use]
    pub fn scratch(&self, flag: Option<Scratch>) -> Scratch {
        self.decide(flag, |settings| settings.scratch).unwrap_or_default()
    }

    /// Whether a start waits for an image that somebody else uses.
    #[must_use]
    pub fn wait(&self, flag: Option<Wait>) -> Wait {
        self.decide(flag, |settings| settings.wait).unwrap_or_default()
    }

    /// A line for each option that gives way to a value which the site has fixed.
    #[must_use]
    pub fn overruled(&self, given: &Given<'_>) -> Vec<String> {
        let line =
            |key: &str, fixed: String| format!("{key} is fixed by this site to {fixed}; the option is not followed");
        let path = |key: &str, fixed: &Option<PathBuf>, given: Option<&Path>| {
            let other = fixed.as_deref().filter(|fixed| given.is_some_and(|given| given != *fixed));
            other.map(|fixed| line(key, fixed.display().to_string()))
        };
        let other_fakeroot = self.fixed.fakeroot.filter(|fixed| given.fakeroot.is_some_and(|given| given != *fixed));
        let other_mounts = self.fixed.mounts.filter(|fixed| given.mounts.is_some_and(|given| given != *fixed));
        let other_scratch = self.fixed.scratch.filter(|fixed| given.scratch.is_some_and(|given| given != *fixed));
        let other_wait = self.fixed.wait.filter(|fixed| given.wait.is_some_and(|given| given != *fixed));
        let lines = [
            path("base", &self.fixed.base, given.base),
            other_fakeroot.map(|fixed| line("fakeroot", fixed.to_string())),
            other_mounts.map(|fixed| line("mounts", fixed.name().into())),
            other_scratch.map(|fixed| line("scratch", fixed.to_string())),
            other_wait.map(|fixed| line("wait", fixed.to_string())),
            path("tmpdir", &self.fixed.tmpdir, given.tmpdir),
            path("conda", &self.fixed.conda, given.conda),
        ];
        lines.into_iter().flatten().collect()
    }

    /// The directory for `:tmp` layers where the site or user named one.
    #[must_use]
    pub fn tmpdir(&self) -> Option<PathBuf> {
        self.decide(None, |settings| settings.tmpdir.clone())
    }

    /// The directory in which layers are built, where one is named.
    #[must_use]
    pub fn build_tmpdir(&self, flag: Option<PathBuf>) -> Option<PathBuf> {
        self.decide(flag, |settings| settings.tmpdir.clone())
    }

    /// The program that makes Conda environments, where one is named.
    #[must_use]
    pub fn conda(&self, flag: Option<PathBuf>) -> Option<PathBuf> {
        self.decide(flag, |settings| settings.conda.clone())
    }

    /// What may be left out in front of a layer's name.
    #[must_use]
    pub fn default_distro(&self) -> Option<String> {
        self.decide(None, |settings| settings.default_distro.clone())
    }

    /// The directories of layers that are found by name, as they are written, with where each comes from: the environment's, the
    /// user's, the user's own directory, the site's. Those that the site has fixed stand alone.
    #[must_use]
    pub fn image_dirs(&self, own: Option<PathBuf>) -> Vec<(PathBuf, Source)> {
        let of = |settings: &Settings, source: Source| -> Vec<(PathBuf, Source)> {
            settings.image_dirs.iter().flatten().map(|dir| (dir.clone(), source.clone())).collect()
        };
        let file = |path: &Option<PathBuf>| path.clone().unwrap_or_default();
        if self.fixed.image_dirs.is_some() {
            return of(&self.fixed, Source::Fixed(file(&self.site_file)));
        }
        [
            of(&self.environment, Source::Environment("CONDATAINER_IMAGE_DIRS".into())),
            of(&self.user, Source::User(file(&self.user_file))),
            own.into_iter().map(|dir| (dir, Source::Default)).collect(),
            of(&self.site, Source::Site(file(&self.site_file))),
        ]
        .concat()
    }

    /// The directories of the host that every container shows: the environment's, the user's and the site's; without any the usual
    /// variables'. Those that the site has fixed stand alone.
    #[must_use]
    pub fn bind_dirs(&self) -> Vec<String> {
        let sources = match self.fixed.bind_dirs {
            Some(_) => vec![&self.fixed],
            None => vec![&self.environment, &self.user, &self.site],
        };
        let usual = || USUAL_BIND_DIRS.map(String::from).to_vec();
        let of_site = self.fixed.bind_dirs.as_ref().or(self.site.bind_dirs.as_ref()).is_some();
        let named = sources.into_iter().flat_map(|settings| settings.bind_dirs.iter().flatten().cloned());
        named.chain(if of_site { Vec::new() } else { usual() }).collect()
    }

    /// Whether a path lies below a node-local directory.
    #[must_use]
    pub fn is_node_path(&self, path: &Path) -> bool {
        self.node_paths.iter().any(|dir| path.starts_with(dir))
    }

    /// The site's file, where it exists.
    #[must_use]
    pub fn site_file(&self) -> Option<&Path> {
        self.site_file.as_deref()
    }

    /// Whether the site itself names this base: that is always allowed.
    pub(crate) fn is_sites_base(&self, base: &Path) -> bool {
        [&self.fixed.base, &self.site.base].into_iter().any(|named| named.as_deref() == Some(base))
    }

    /// All that can set a key for everybody, the strongest first, each with how a message names it.
    pub(super) fn sources(&self, key: &'static str, variable: &str) -> [(&Settings, Origin); 4] {
        let file = |path: &Option<PathBuf>| path.clone().unwrap_or_default();
        let of = |source, line| Origin { key, source, line };
        let fixed_line = self.site_lines.line(&format!("fixed.{key}"));
        [
            (&self.fixed, of(Source::Fixed(file(&self.site_file)), fixed_line)),
            (&self.environment, of(Source::Environment(variable.into()), None)),
            (&self.user, of(Source::User(file(&self.user_file)), self.user_lines.line(key))),
            (&self.site, of(Source::Site(file(&self.site_file)), self.site_lines.line(key))),
        ]
    }

    /// The source of a key's value where no option is given, if it has `value` from there.
    fn origin<T: PartialEq>(
        &self,
        key: &'static str,
        variable: &str,
        get: impl Fn(&Settings) -> Option<T>,
        value: &T,
    ) -> Option<Origin> {
        let mut set =
            self.sources(key, variable).into_iter().filter_map(|(settings, origin)| Some((get(settings)?, origin)));
        let (found, origin) = set.next()?;
        (found == *value).then_some(origin)
    }

    /// Who has named this base, unless it was an option.
    #[must_use]
    pub fn origin_of_base(&self, base: &Path) -> Option<Origin> {
        self.origin("base", "CONDATAINER_BASE", |settings| settings.base.clone(), &base.to_owned())
    }

    /// Who has decided about fakeroot, unless it was an option.
    #[must_use]
    pub fn origin_of_fakeroot(&self, fakeroot: bool) -> Option<Origin> {
        self.origin("fakeroot", "CONDATAINER_FAKEROOT", |settings| settings.fakeroot, &fakeroot)
    }

    /// Who has decided who mounts, unless it was an option.
    #[must_use]
    pub fn origin_of_mounts(&self, mounts: Mounts) -> Option<Origin> {
        self.origin("mounts", "CONDATAINER_MOUNTS", |settings| settings.mounts, &mounts)
    }

    /// Who has decided where it is kept, unless it was an option.
    #[must_use]
    pub fn origin_of_scratch(&self, scratch: Scratch) -> Option<Origin> {
        self.origin("scratch", "CONDATAINER_SCRATCH", |settings| settings.scratch, &scratch)
    }

    /// Who has named this directory, unless it was an option or another variable.
    #[must_use]
    pub fn origin_of_tmpdir(&self, tmpdir: &Path) -> Option<Origin> {
        self.origin("tmpdir", "CONDATAINER_TMPDIR", |settings| settings.tmpdir.clone(), &tmpdir.to_owned())
    }

    /// Who has named this program for Conda environments, unless it was an option.
    #[must_use]
    pub(crate) fn origin_of_conda(&self, conda: &Path) -> Option<Origin> {
        self.origin("conda", "CONDATAINER_CONDA", |settings| settings.conda.clone(), &conda.to_owned())
    }

    /// The key that names the engine.
    #[must_use]
    pub(crate) fn origin_of_apptainer(&self) -> Option<Origin> {
        self.apptainer.as_ref()?;
        let source = Source::Site(self.site_file.clone().unwrap_or_default());
        Some(Origin { key: "apptainer", source, line: self.site_lines.line("apptainer") })
    }
}

#[cfg(test)]
#[path = "tests/mod.rs"]
mod tests;
