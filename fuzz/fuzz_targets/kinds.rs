//! libFuzzer's entry to the target `kinds`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| condatainer_fuzz::kinds(data));
