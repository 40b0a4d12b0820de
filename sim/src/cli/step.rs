//! `ivory-sim step`: a run, event by event, in a terminal. The run is played first, so that one can go back as
//! well as on; what the screen shows, `look` says.

use std::io::IsTerminal as _;

use ratatui::crossterm::event::{Event, KeyCode, KeyEventKind, KeyModifiers, read};

use super::{StepArgs, Trouble};
use crate::look::{KEYS, Key, Viewer, draw, opening, record, screen};
use crate::scenario::driver::Build;
use crate::scenario::node::InputError;
use crate::scenario::parse::load;

pub(super) fn run(args: &StepArgs, build: &Build<'_>) -> Result<(), Trouble> {
    let script = args.script.as_deref().map(keys).transpose()?;
    let terminal = std::io::stdout().is_terminal() && std::io::stdin().is_terminal();
    if script.is_none() && !terminal {
        let file = args.scenario.display();
        return Err(Trouble::Broken(format!(
            "this is no terminal, and `step` draws on one; `ivory-sim run {file} --html page.html` writes the same \
             as a page, and `--script 'f y'` presses keys and prints the screen"
        )));
    }
    let scenario = load(&args.scenario)?;
    let mut viewer = Viewer::new(record(&scenario, args.seed, false, build)?);
    if let Some(script) = script {
        script.into_iter().for_each(|key| viewer.press(key));
        line!("{}", screen(&viewer, args.size));
        return Ok(());
    }
    let mut terminal = ratatui::init();
    let walked = walk(&mut viewer, &mut terminal);
    ratatui::restore();
    walked.map_err(|error| format!("the terminal: {error}"))?;
    line!("{}", opening(&viewer));
    Ok(())
}

fn walk(viewer: &mut Viewer, terminal: &mut ratatui::DefaultTerminal) -> std::io::Result<()> {
    while !viewer.over {
        terminal.draw(|frame| draw(viewer, frame))?;
        let Event::Key(event) = read()? else { continue };
        if event.kind != KeyEventKind::Press {
            continue;
        }
        let key = match event.code {
            KeyCode::Char('c') if event.modifiers.contains(KeyModifiers::CONTROL) => return Ok(()),
            KeyCode::Char(letter) => Key::Char(letter),
            KeyCode::Up => Key::Up,
            KeyCode::Down => Key::Down,
            KeyCode::Left => Key::Left,
            KeyCode::Right => Key::Right,
            KeyCode::PageUp => Key::PageUp,
            KeyCode::PageDown => Key::PageDown,
            KeyCode::Home => Key::Home,
            KeyCode::End => Key::End,
            KeyCode::Enter => Key::Enter,
            KeyCode::Esc => Key::Escape,
            KeyCode::Backspace => Key::Backspace,
            _ => continue,
        };
        viewer.press(key);
    }
    Ok(())
}

/// The command's help: its keys.
pub(super) fn after_help() -> String {
    let mut help = String::from(
        "Examples:\n  ivory-sim step scenarios/failover.yaml\n  \
         ivory-sim step scenarios/failover.yaml --script 'f n*3 y'   the screen after these keys, without a terminal\n\n\
         Keys (a capital letter goes back):\n",
    );
    for (key, does) in KEYS {
        help.push_str(&format!("  {key:<10} {does}\n"));
    }
    help.push_str("In a script also: up down left right pageup pagedown home end enter escape space; n*3; /word");
    help
}

/// `100x30`.
pub(super) fn parse_size(text: &str) -> Result<(u16, u16), String> {
    let parts = text.split_once('x').and_then(|(c, r)| Some((c.parse().ok()?, r.parse().ok()?)));
    match parts {
        Some((columns @ 20..=500, rows @ 8..=500)) => Ok((columns, rows)),
        _ => Err("columns and rows, from 20x8 to 500x500, for example 100x30".to_owned()),
    }
}

/// The keys of a script: words apart by spaces. A word with a number after `*` is pressed so often; one that begins
/// with `/` is searched for.
pub(super) fn keys(script: &str) -> Result<Vec<Key>, InputError> {
    let mut pressed = Vec::new();
    for word in script.split_whitespace() {
        if let Some(query) = word.strip_prefix('/').filter(|q| !q.is_empty()) {
            pressed.push(Key::Char('/'));
            pressed.extend(query.chars().map(Key::Char));
            pressed.push(Key::Enter);
            continue;
        }
        let (name, times) = match word.split_once('*') {
            Some((name, times)) => (name, times.parse().ok()),
            None => (word, Some(1)),
        };
        let mut letters = name.chars();
        let key = match (name, letters.next(), letters.next()) {
            ("up", ..) => Some(Key::Up),
            ("down", ..) => Some(Key::Down),
            ("left", ..) => Some(Key::Left),
            ("right", ..) => Some(Key::Right),
            ("pageup", ..) => Some(Key::PageUp),
            ("pagedown", ..) => Some(Key::PageDown),
            ("home", ..) => Some(Key::Home),
            ("end", ..) => Some(Key::End),
            ("enter", ..) => Some(Key::Enter),
            ("escape", ..) => Some(Key::Escape),
            ("space", ..) => Some(Key::Char(' ')),
            (_, Some(letter), None) => Some(Key::Char(letter)),
            _ => None,
        };
        let (Some(key), Some(times)) = (key, times) else {
            return Err(InputError::whole("--script", format!("knows no key `{word}`")));
        };
        pressed.extend(std::iter::repeat_n(key, times));
    }
    Ok(pressed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_keys() {
        let n = Key::Char('n');
        for (script, expected) in [
            ("", vec![]),
            ("n*2 enter", vec![n, n, Key::Enter]),
            ("/x G", vec![Key::Char('/'), Key::Char('x'), Key::Enter, Key::Char('G')]),
        ] {
            assert_eq!(keys(script).expect(script), expected, "{script}");
        }
        assert!(keys("n nonsense").is_err() && keys("n*x").is_err());
    }
}
