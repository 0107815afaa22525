//! libFuzzer's entry to the target `layer`; on stable Rust stack/tests/squashfs_hostile.rs runs the same.

#![no_main]

#[path = "../src/layer.rs"]
mod layer;

libfuzzer_sys::fuzz_target!(|data: &[u8]| layer::layer(data));
