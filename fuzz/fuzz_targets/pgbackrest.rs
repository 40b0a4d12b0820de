//! See `ivory_fuzz::pgbackrest`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    ivory_fuzz::pgbackrest(data);
});
