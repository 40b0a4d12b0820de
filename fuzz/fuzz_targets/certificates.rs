//! See `ivory_fuzz::certificates`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    ivory_fuzz::certificates(data);
});
