//! SPANK's interface, as bindgen makes it from include/spank_abi.h. What it makes is kept here, so that whoever builds the plugin
//! needs no libclang; a test runs bindgen and compares (`plugin/tests/bindings.rs`).

#![allow(dead_code, missing_docs, non_camel_case_types, unreachable_pub, clippy::all)]

mod spank_abi;

pub(super) use spank_abi::*;
