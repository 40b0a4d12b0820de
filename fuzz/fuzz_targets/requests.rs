//! See `ivory_fuzz::requests`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    ivory_fuzz::requests(data);
});
