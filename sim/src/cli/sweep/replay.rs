//! One cut, or two, told in full.

use super::Swept;
use super::tell::tell_failure;
use crate::cli::Trouble;
use crate::cli::ui::Ui;
use crate::explore::base;
use crate::explore::cut::Cut;
use crate::explore::fork::{End, Fork, go_to};
use crate::explore::message::Message;
use crate::explore::pairs::after;
use crate::lab::site::build;
use crate::world::fingerprint::Digests;

/// Number of a message, from 1, and its cut.
type Chosen = (usize, Cut);

pub(super) fn run(
    ui: Ui,
    swept: &Swept,
    chosen: Chosen,
    then: Option<Chosen>,
) -> Result<(), Trouble> {
    let ([story], [base]) = (&swept.stories[..], &swept.bases[..]) else {
        return Err(Trouble::Broken("--cut wants one story".to_owned()));
    };
    let base = base.as_ref().map_err(|e| Trouble::Broken(e.clone()))?;
    let first = find(&base.messages, chosen)?;
    let mut player = base::player(story, &build)?;
    go_to(&mut player, story, &mut 0, first.0.tick)?;
    let mut fork = Fork::of(&player, story, base, first)?;
    let second = match then {
        None => Vec::new(),
        Some(_) => {
            let mut digests = Digests::default();
            after(&player, (story, base), first, swept.whose, &mut digests)?.0
        }
    };
    let second = then.map(|then| find(&second, then)).transpose()?;
    let mut end = None;
    if let Some(second) = second {
        for _ in 0..second.0.tick {
            end = end.or(fork.tick(None));
        }
        fork = fork.and(second)?;
    }
    let end = end.unwrap_or_else(|| fork.go_on(None));
    line!("{}", fork.player.outcome(story, None).transcript);
    let count = base.messages.len();
    let say = |(message, cut): (&Message, Cut), of: &str| {
        let at = message.at.seconds();
        line!("Message {}{of}, at {at:.1} s: {}; {}", message.number, message.name, cut.what());
    };
    say(first, &format!(" of {count}"));
    if let Some(second) = second {
        say(second, " after that");
    }
    match end {
        End::Failed(failure) => {
            tell_failure(ui, swept, 0, &failure);
            Err(Trouble::Failed)
        }
        _ => {
            line!("{} it came to the same end", ui.green("✓"));
            Ok(())
        }
    }
}

fn find(messages: &[Message], (number, cut): Chosen) -> Result<(&Message, Cut), Trouble> {
    let Some(message) = messages.get(number.wrapping_sub(1)) else {
        return Err(Trouble::Broken(format!("there are {} messages", messages.len())));
    };
    if !message.cuts().contains(&cut) {
        let known: Vec<_> = message.cuts().iter().map(|c| c.word()).collect();
        let name = &message.name;
        return Err(Trouble::Broken(format!("to `{name}` can be done: {}", known.join(", "))));
    }
    Ok((message, cut))
}
