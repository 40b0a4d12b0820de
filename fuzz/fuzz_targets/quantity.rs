//! See `ivory_fuzz::quantity`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    ivory_fuzz::quantity(data);
});
