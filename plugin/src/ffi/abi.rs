//! SPANK's interface, generated from include/spank_abi.h by the build script.

#![allow(dead_code, missing_docs, non_camel_case_types, unreachable_pub, clippy::all)]

include!(concat!(env!("OUT_DIR"), "/spank_abi.rs"));
