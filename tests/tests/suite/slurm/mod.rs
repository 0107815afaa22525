//! Steps and jobs: their container, how they end, what others see of them, and what administrators can get wrong.

pub(crate) mod admin;
pub(crate) mod ends;
pub(crate) mod join;
pub(crate) mod lost;
pub(crate) mod nodes;
pub(crate) mod refusals;
pub(crate) mod relay;
pub(crate) mod secrets;
pub(crate) mod step;
pub(crate) mod stuck;
