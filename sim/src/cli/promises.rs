//! `ivory-sim promises`: what is promised, when it is looked at, and where the checker is.

use serde_json::{Value, json};

use super::PromisesArgs;
use crate::promises::{ALL, Promise, When};

pub(super) fn run(args: &PromisesArgs) {
    if args.json {
        let all: Vec<Value> = ALL.iter().map(|p| as_json(p)).collect();
        return line!("{}", json!({"promises": all}));
    }
    for promise in ALL {
        line!("{:>2}. {}: {}", promise.number, promise.name, when(promise));
        line!("    {}", promise.file);
        for held in promise.held_by {
            line!("    also held by {held}");
        }
    }
    line!("\nTheir words: ivory-sim promises --json, and the head of each file.");
}

fn when(promise: &Promise) -> String {
    promise.when.iter().map(|w| w.text()).collect::<Vec<_>>().join(", ")
}

fn as_json(promise: &Promise) -> Value {
    let when: Vec<&str> = promise.when.iter().copied().map(When::text).collect();
    json!({
        "number": promise.number,
        "name": promise.name,
        "words": promise.words,
        "when": when,
        "file": promise.file,
        "held_by": promise.held_by,
    })
}
