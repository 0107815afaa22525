//! libFuzzer's entry to the target `ext`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| condatainer_fuzz::ext(data));
