//! libFuzzer's entry to the target `squashfs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| condatainer_fuzz::squashfs(data));
