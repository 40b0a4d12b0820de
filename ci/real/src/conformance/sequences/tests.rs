//! The models against the recordings, on every `cargo test`.

use super::{Report, orphans, replay, scripts};

#[test]
fn the_models_go_the_ways_that_were_recorded() {
    let scripts = scripts().unwrap();
    let mut report = Report::new();
    replay(&scripts, &mut report).unwrap();
    assert!(report.mismatches() == 0, "{}", report.text());
    assert!(report.sequences() >= 60, "{}", report.sequences());
    assert_eq!(report.unseen(), [""; 0], "known differences that show no more");
    assert!(orphans(&scripts).unwrap().is_empty());
}
