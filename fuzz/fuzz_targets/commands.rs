//! See `ivory_fuzz::commands`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    ivory_fuzz::commands(data);
});
