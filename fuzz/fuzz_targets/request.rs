//! libFuzzer's entry to the target `request`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| condatainer_fuzz::request(data));
