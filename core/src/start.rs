//! The facts of a start, here and now: what every start needs, and what only some are worth searching for.

use std::collections::HashMap;

use crate::config::Config;
use crate::machine::facts::Facts;
use crate::machine::survey::{self, SurveyError, Tried};
use crate::plan;
use crate::request::Request;

/// Gathers everything that [`plan::decide`] needs. Who asks again gives the same `tried`. `known` corrects what is going to be different by then.
///
/// # Errors
/// As [`survey::survey`].
pub fn facts(
    request: &Request,
    config: &Config,
    env: &HashMap<String, String>,
    tried: &Tried,
    known: impl FnOnce(&mut Facts),
) -> Result<Facts, SurveyError> {
    let mut facts = survey::survey(request, config, env, tried)?;
    known(&mut facts);
    if plan::needs_search(request, &facts) {
        survey::search_for_engine(request, &mut facts);
    }
    Ok(facts)
}
