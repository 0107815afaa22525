//! libFuzzer's entry to the target `sif`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| condatainer_fuzz::sif(data));
