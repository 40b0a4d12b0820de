//! See `ivory_fuzz::patroni`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    ivory_fuzz::patroni(data);
});
