//! Where and as whom the program was called: directory, variables, configuration, and the layers that can be named.

use std::cell::Cell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

use condatainer_core::config::{self, Config, Given};
use condatainer_core::request::defaults;
use condatainer_core::request::layer::Layer;
use condatainer_core::request::names::{Finder, Library};
use condatainer_images::{image, trust};

use crate::say;
use crate::say::failure::Failure;

/// Where and as whom we were called.
pub(crate) struct Surroundings {
    pub(crate) cwd: PathBuf,
    pub(crate) home: Option<PathBuf>,
    pub(crate) env: HashMap<String, String>,
    pub(crate) config: Config,
    pub(crate) library: Library,
    /// Whether it was said which options give way.
    overruled: Cell<bool>,
}

impl Surroundings {
    /// Looks around; `system` is the site's configuration file.
    pub(crate) fn look(system: &Path) -> Result<Self, Failure> {
        let cwd = std::env::current_dir().map_err(|e| {
            Failure::not_started(format!("the working directory cannot be used: {e}: it was removed, so go to another"))
        })?;
        let env: HashMap<String, String> =
            std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?))).collect();
        let config = Config::system(system).and_then(|c| c.with_user(config::user_file(&env).as_deref(), &env));
        let home = env.get("HOME").filter(|h| !h.is_empty()).map(PathBuf::from);
        let config = config.map_err(Failure::not_started)?;
        let library = Library::configured(&config, &env);
        Ok(Self { cwd, home, library, config, env, overruled: Cell::new(false) })
    }

    /// Says once which options give way to what the site has fixed.
    pub(crate) fn tell_overruled(&self, given: &Given<'_>) {
        if !self.overruled.replace(true) {
            self.config.overruled(given).iter().for_each(|line| say::notice(line));
        }
    }

    /// The layers of repeated, comma-separated options.
    pub(crate) fn layers(&self, lists: &[String]) -> Result<Vec<Layer>, Failure> {
        let layers = self.finder().layers(lists).map_err(Failure::not_started)?;
        layers.iter().try_for_each(refuse_stranger)?;
        Ok(layers)
    }

    /// Looks names and paths up from here.
    pub(crate) fn finder(&self) -> Finder<'_> {
        Finder { cwd: &self.cwd, home: self.home.as_deref(), library: &self.library }
    }

    /// The base that a flag names, for a verb that no survey comes before.
    pub(crate) fn base(&self, flag: Option<&Path>) -> Result<Option<PathBuf>, Failure> {
        let Some(base) = self.written_base(flag)? else { return Ok(None) };
        refuse_stranger(&base)?;
        Ok(Some(base.path))
    }

    /// The base that a flag names; without one that of `default_distro`, unless the configuration names another.
    pub(crate) fn written_base(&self, flag: Option<&Path>) -> Result<Option<Layer>, Failure> {
        let named = flag.map(|base| self.finder().base(base)).transpose().map_err(Failure::not_started)?;
        Ok(named.or_else(|| defaults::base(&self.config, &self.finder())))
    }

    /// These layers, or where there are none those that `CONDATAINER_OVERLAY` or the configuration names.
    pub(crate) fn layers_or_default(&self, named: Vec<Layer>) -> Result<Vec<Layer>, Failure> {
        if !named.is_empty() {
            return Ok(named);
        }
        let layers = defaults::layers(&self.config, &self.finder()).map_err(Failure::not_started)?;
        layers.iter().try_for_each(refuse_stranger)?;
        Ok(layers)
    }
}

/// A name does not lead to a stranger's file. A start asks again, of the file that it has opened; other verbs do not.
fn refuse_stranger(layer: &Layer) -> Result<(), Failure> {
    if !layer.named {
        return Ok(());
    }
    // What is no image is told by whoever uses it.
    let image = image::identify(&layer.path).ok();
    image.as_ref().and_then(trust::stranger).map_or(Ok(()), |reason| Err(Failure::not_started(reason)))
}
