//! See `ivory_fuzz::cluster`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    ivory_fuzz::cluster(data);
});
