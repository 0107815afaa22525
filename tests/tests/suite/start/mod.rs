//! What a start promises: images and their modes, layers and names, where commands stand and how they end, scripts and shells.

pub(crate) mod directories;
pub(crate) mod entry;
pub(crate) mod exits;
pub(crate) mod fakeroot;
pub(crate) mod inherit;
pub(crate) mod layers;
pub(crate) mod modes;
pub(crate) mod names;
pub(crate) mod other_shells;
pub(crate) mod script;
pub(crate) mod shells;
pub(crate) mod story;
