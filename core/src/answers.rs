//! What programs inside containers answered, kept between passes. It owns which answer serves which question. It
//! deliberately asks nobody: drivers do.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::command::Command;
use crate::read::{Answer, Query, Read, Target};

/// The last answer to each question. A question is a command at a target: whoever wants to hear it more often, since
/// the last answer was a bad one, still asks the same. Kept apart, the old answer to the calm question and the new one
/// to the anxious question would take turns, and a condition with them.
#[derive(Clone, Debug, Default)]
pub struct Answers(BTreeMap<(Target, Command), Kept>);

#[derive(Clone, Debug)]
struct Kept {
    query: Query,
    at: Timestamp,
    found: Read<Answer>,
}

impl Answers {
    /// The answer that serves a question now, if there is one.
    #[must_use]
    pub fn to(&self, query: &Query, now: Timestamp) -> Option<&Read<Answer>> {
        let kept = self.0.get(&question(query))?;
        query.serves(&kept.found, kept.age_s(now)).then_some(&kept.found)
    }

    /// Keeps what came of a question. One whose answers never serve twice is not kept.
    pub fn keep(&mut self, query: &Query, at: Timestamp, found: &Read<Answer>) {
        if query.max_age_s > 0 {
            let kept = Kept { query: query.clone(), at, found: found.clone() };
            self.0.insert(question(query), kept);
        }
    }

    /// Forgets what serves nobody any more.
    pub fn tidy(&mut self, now: Timestamp) {
        self.0.retain(|_, kept| kept.query.serves(&kept.found, kept.age_s(now)));
    }
}

fn question(query: &Query) -> (Target, Command) {
    (query.target.clone(), query.command.clone())
}

impl Kept {
    fn age_s(&self, now: Timestamp) -> i64 {
        now.as_second() - self.at.as_second()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::Output;

    fn asked(max_age_s: u32) -> Query {
        let target = Target {
            namespace: "ivory".into(),
            pod: "hippo-0".into(),
            uid: "1".into(),
            container: "database".into(),
        };
        Query { target, command: Command::ArchiveState, deadline_s: 5, max_age_s }
    }

    fn said(text: &str) -> Read<Answer> {
        let output = Output { exit: 0, stdout: text.into(), stderr: "".into() };
        Read::Known(Answer { output, at: Timestamp::UNIX_EPOCH })
    }

    #[test]
    fn the_newest_answer_serves_whoever_asks() {
        let at = |s| Timestamp::from_second(s).unwrap();
        let mut answers = Answers::default();
        answers.keep(&asked(600), at(0), &said("bad"));
        assert_eq!(answers.to(&asked(600), at(599)), Some(&said("bad")));
        assert_eq!(answers.to(&asked(60), at(60)), None);
        answers.keep(&asked(60), at(60), &said("good"));
        assert_eq!(answers.to(&asked(600), at(60)), Some(&said("good")));
    }

    #[test]
    fn what_serves_nobody_is_forgotten() {
        let at = |s| Timestamp::from_second(s).unwrap();
        let mut answers = Answers::default();
        answers.keep(&asked(0), at(0), &said("at once"));
        assert!(answers.0.is_empty());
        answers.keep(&asked(60), at(0), &said("for a while"));
        answers.tidy(at(59));
        assert_eq!(answers.0.len(), 1);
        answers.tidy(at(60));
        assert!(answers.0.is_empty());
    }
}
