//! libFuzzer's entry to the target `written`; on stable Rust writer/tests/hostile.rs runs the same.

#![no_main]

#[allow(dead_code)]
#[path = "../src/image.rs"]
mod image;
#[path = "../src/written.rs"]
mod written;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    written::written(data);
});
