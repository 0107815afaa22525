//! libFuzzer's entry to the target `layers`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| condatainer_fuzz::layers(data));
