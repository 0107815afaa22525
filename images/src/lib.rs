//! How an image file is cared for, whatever it is used for later.
//!
//! The way through, from the ground up; each room stands on those before it:
//!
//! | room | says |
//! |---|---|
//! | [`system`] | what the machine tells: users, processes, signals, quotas, limits |
//! | [`image`] | what a path is, told from its content |
//! | [`trust`] | whether a file or directory may be believed, and how it is opened without being led astray |
//! | [`lock`] | Apptainer's lock on an image, and who is in its way |
//! | [`tools`] | how external programs are found and run |
//! | [`sparse`] | copies of files with holes |
//! | [`temporary`] | files and directories in the making, which are gone when their maker is |
//! | [`acquire`] | an image to oneself: locked, attached nowhere, clean |
//! | [`replace`] | a changed copy that takes an image's place |
//! | [`module`] | what a layer brings to a container's environment |
//! | [`overlay`] | the stack of trees below an image, and what it deletes from that |
//! | [`verbs`] | the commands |

#![forbid(unsafe_code)]

pub mod acquire;
pub mod image;
pub mod lock;
pub mod module;
pub mod overlay;
pub mod replace;
pub mod sparse;
pub mod system;
pub mod temporary;
pub mod tools;
pub mod trust;
pub mod verbs;
