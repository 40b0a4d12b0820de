//! See `ivory_fuzz::cron`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    ivory_fuzz::cron(data);
});
