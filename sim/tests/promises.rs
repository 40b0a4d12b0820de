//! No checker sleeps: the stories make each of them look, and what stories can't show is compared here.

use std::path::Path;

use ivory_sim::lab::site::build;
use ivory_sim::promises::{ALL, When, outage_changes_nothing};
use ivory_sim::scenario::{parse::load, run::Player};
use ivory_sim::time::Span;

/// Stories that make all checkers look.
const STORIES: [&str; 7] = [
    "create",
    "replicas-added-and-removed",
    "rolling-change",
    "switchover",
    "api-outage",
    "paused",
    "two-clusters",
];

#[test]
fn the_stories_make_every_checker_look() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios");
    let mut looks = [0; 16];
    for name in STORIES {
        let story = load(&folder.join(name).with_extension("yaml")).expect("a story");
        let mut player = Player::of(&story, None, false, &build).expect("a world");
        let outcome = player.play(&story);
        assert_eq!(outcome.failure, None, "{name}");
        looks.iter_mut().zip(outcome.looks).for_each(|(sum, more)| *sum += more);
        // One at rest is as good as another.
        if name == "switchover" {
            let changes = outage_changes_nothing::compare(&*player.driver, Span::s(600));
            assert_eq!(changes, Ok(Vec::new()), "{name}");
        }
    }
    for (promise, looks) in ALL.iter().zip(looks) {
        // Two runs are compared by whoever explores.
        assert!(looks > 0 || *promise.when == [When::Comparison], "nobody looked at {promise}");
    }
}
