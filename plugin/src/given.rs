//! What was given on the command line and in `#SBATCH` lines, collected option by option.
//!
//! Slurm forwards only the last occurrence of an option, so repeats are collected here. As with Slurm's own options, the command
//! line overrides `#SBATCH` lines: a list begun on the command line replaces the one from the script.

use condatainer_core::config::Wait;
use condatainer_core::request::layer::Layer;
use condatainer_core::request::{Scope, parse_assignment};

use crate::options::Name;

/// Where an option's value comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Origin {
    /// `#SBATCH`, or a variable.
    #[default]
    Script,
    /// The command line.
    CommandLine,
}

/// A repeatable option.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Repeated {
    values: Vec<String>,
    origin: Origin,
}

impl Repeated {
    fn push(&mut self, value: &str, origin: Origin) {
        if origin != self.origin {
            self.values.clear();
            self.origin = origin;
        }
        self.values.push(value.into());
    }

    fn repeats(&self, earlier: &Self) -> bool {
        let goes_on = || {
            let mut parts = self.values.chunks(earlier.values.len().max(1));
            self.origin == Origin::Script && !self.values.is_empty() && parts.all(|part| part == earlier.values)
        };
        self == earlier || goes_on()
    }

    /// The values in order; `None` where the option was not given.
    pub(crate) fn values(&self) -> Option<&[String]> {
        (!self.values.is_empty()).then_some(&self.values)
    }
}

/// Everything that was given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Given {
    pub(crate) overlay: Repeated,
    pub(crate) base: Option<String>,
    pub(crate) tmp: bool,
    pub(crate) fakeroot: Option<bool>,
    pub(crate) bind: Repeated,
    pub(crate) env: Repeated,
    pub(crate) workdir: Option<String>,
    pub(crate) wait: Option<Wait>,
    pub(crate) scope: Option<Scope>,
    pub(crate) off: bool,
}

impl Given {
    /// Adds one option.
    ///
    /// # Errors
    /// A value that cannot be right, so that Slurm stops at the prompt.
    pub(crate) fn add(&mut self, name: Name, value: &str, origin: Origin) -> Result<(), String> {
        match name {
            Name::Overlay => {
                Layer::parse_list(value).map_err(|e| e.to_string())?;
                self.overlay.push(value, origin);
            }
            Name::Base => self.base = Some(non_empty("--condatainer-base", value)?),
            Name::Tmp => self.tmp = true,
            Name::Fakeroot => self.fakeroot = Some(true),
            Name::NoFakeroot => self.fakeroot = Some(false),
            Name::Bind => self.bind.push(value, origin),
            Name::Env => {
                parse_assignment(value).map_err(|e| e.to_string())?;
                self.env.push(value, origin);
            }
            Name::Workdir => self.workdir = Some(non_empty("--condatainer-workdir", value)?),
            Name::Wait if value.is_empty() => self.wait = Some(Wait::Yes),
            Name::Wait => {
                self.wait = Some(value.parse().map_err(|why| format!("--condatainer-wait={value}: {why}"))?);
            }
            Name::Scope => {
                let scope = Scope::parse(value);
                self.scope =
                    Some(scope.ok_or_else(|| format!("--condatainer-scope={value}: write all, batch or steps"))?);
            }
            Name::Off => self.off = true,
        }
        Ok(())
    }

    /// Whether this is the same once more: the components of a heterogeneous job are read one after the other. In a script, lists
    /// go on from component to component.
    pub(crate) fn repeats(&self, earlier: &Self) -> bool {
        // In full, so that a new option cannot be forgotten here.
        let Self { overlay, base, tmp, fakeroot, bind, env, workdir, wait, scope, off } = self;
        let lists = [(overlay, &earlier.overlay), (bind, &earlier.bind), (env, &earlier.env)];
        lists.iter().all(|(now, before)| now.repeats(before))
            && (base, tmp, workdir) == (&earlier.base, &earlier.tmp, &earlier.workdir)
            && (fakeroot, wait, scope, off) == (&earlier.fakeroot, &earlier.wait, &earlier.scope, &earlier.off)
    }

    /// Whether anything besides `--condatainer-off` was given.
    pub(crate) fn asks_for_something(&self) -> bool {
        *self != Self { off: self.off, ..Self::default() }
    }
}

fn non_empty(option: &str, value: &str) -> Result<String, String> {
    if value.is_empty() { Err(format!("{option}: an empty value")) } else { Ok(value.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(options: &[(Name, &str, Origin)]) -> Given {
        let mut given = Given::default();
        for (name, value, origin) in options {
            given.add(*name, value, *origin).unwrap();
        }
        given
    }

    #[test]
    fn repeats_accumulate() {
        let both =
            given(&[(Name::Overlay, "a.sqf", Origin::CommandLine), (Name::Overlay, "b.img", Origin::CommandLine)]);
        assert_eq!(both.overlay.values().unwrap(), ["a.sqf", "b.img"]);
    }

    #[test]
    fn the_command_line_replaces_the_script() {
        let script = (Name::Overlay, "a.img", Origin::Script);
        let mixed = given(&[
            script,
            (Name::Overlay, "c.img", Origin::CommandLine),
            (Name::Overlay, "d.sqf", Origin::CommandLine),
        ]);
        assert_eq!(mixed.overlay.values().unwrap(), ["c.img", "d.sqf"]);
        assert_eq!(given(&[script, script]).overlay.values().unwrap().len(), 2);
    }

    #[test]
    fn components_of_a_script_say_the_same_once_more() {
        let option = |value| (Name::Overlay, value, Origin::Script);
        let once = given(&[option("a"), option("b")]);
        assert!(once.repeats(&once) && given(&[option("a"), option("b"), option("a"), option("b")]).repeats(&once));
        assert!(!given(&[option("a"), option("b"), option("a")]).repeats(&once));
        assert!(
            !given(&[option("c")]).repeats(&once)
                && !Given::default().repeats(&once)
                && !once.repeats(&Given::default())
        );
        let typed = |value| (Name::Overlay, value, Origin::CommandLine);
        assert!(!given(&[typed("a"), typed("a")]).repeats(&given(&[typed("a")])));
        assert!(!given(&[option("a"), option("b"), (Name::Fakeroot, "", Origin::Script)]).repeats(&once));
    }

    #[test]
    fn nonsense_stops_at_the_prompt() {
        let mut given = Given::default();
        for (name, value) in
            [(Name::Overlay, "a:xx"), (Name::Overlay, ""), (Name::Env, "A"), (Name::Scope, "some"), (Name::Base, "")]
        {
            assert!(given.add(name, value, Origin::CommandLine).is_err(), "{value}");
        }
        assert_eq!(given, Given::default());
    }

    #[test]
    fn off_alone_asks_for_nothing() {
        assert!(!given(&[(Name::Off, "", Origin::CommandLine)]).asks_for_something());
        assert!(
            given(&[(Name::Off, "", Origin::CommandLine), (Name::Fakeroot, "", Origin::CommandLine)])
                .asks_for_something()
        );
    }
}
