//! What a script's lines mean here: names become files, relative paths start from the working directory.

use std::path::Path;

use crate::request::asked::Request;
use crate::request::bind::Bind;
use crate::request::layer::Layer;
use crate::request::names::Finder;

use super::error::{LineError, ScriptError};
use super::{Dependency, Script};

impl Script {
    /// The request that the lines make: what `#DEP:` names below what `#CNT -o` names.
    ///
    /// # Errors
    /// A name that means no file, with its line.
    pub fn request(&self, finder: &Finder<'_>) -> Result<Request, ScriptError> {
        let settings = &self.settings;
        let refuse = |why: LineError| ScriptError::Settings { path: self.path.clone(), why };
        let mut layers = Vec::new();
        for dependency in &self.dependencies {
            layers.push(self.find(dependency, finder)?);
        }
        let overlays = finder.layers(&settings.overlays).map_err(|e| refuse(e.into()))?;
        let mut bind = Vec::new();
        for list in &settings.bind {
            bind.extend(Bind::parse_list(list, finder.cwd, finder.home).map_err(|e| refuse(e.into()))?);
        }
        let base = settings.base.as_ref().map(|base| finder.base(Path::new(base)));
        let base = base.transpose().map_err(|e| refuse(e.into()))?;
        let needed = Request {
            layers,
            write: settings.write,
            tmp: settings.tmp,
            base_named: base.as_ref().is_some_and(|base| base.named),
            base: base.map(|base| base.path),
            fakeroot: settings.fakeroot,
            bind,
            env: settings.env.clone(),
            workdir: settings.pwd.as_ref().map(Into::into),
            ..Request::default()
        };
        Ok(needed.overridden_by(Request { layers: overlays, ..Request::default() }))
    }

    /// The layer that one dependency means.
    ///
    /// # Errors
    /// There is none of this name.
    pub fn find(&self, dependency: &Dependency, finder: &Finder<'_>) -> Result<Layer, ScriptError> {
        finder.layer(dependency.layer.clone()).map_err(|why| ScriptError::Line {
            path: self.path.clone(),
            number: dependency.line,
            why: why.into(),
        })
    }
}
