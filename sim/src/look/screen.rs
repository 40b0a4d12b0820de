//! The viewer on a terminal, drawn anew for every key. It decides nothing.

use ivory_core::command::lsn_text;
use ratatui::backend::TestBackend;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Paragraph, Wrap};
use ratatui::{Frame, Terminal};

use super::film::Role;
use super::viewer::{KEYS, Row, View, Viewer, role};
use super::{headline, moment};

/// The width of a line's time and actor.
const ACTOR: usize = 14;

/// Draws the viewer.
pub fn draw(viewer: &Viewer, frame: &mut Frame<'_>) {
    let area = frame.area();
    let [top, middle, bottom] =
        Layout::vertical([Constraint::Length(1), Constraint::Min(4), Constraint::Length(1)])
            .areas(area);
    title(viewer, frame, top);
    match viewer.view {
        View::Story => story(viewer, frame, middle),
        View::Why => scrolled(viewer, frame, middle, " Why? ", why(viewer)),
        View::Objects => objects(viewer, frame, middle),
        View::Object => object(viewer, frame, middle),
        View::Help => scrolled(viewer, frame, middle, " Keys ", help()),
    }
    keys(viewer, frame, bottom);
}

fn dim() -> Style {
    Style::new().add_modifier(Modifier::DIM)
}

fn bold() -> Style {
    Style::new().add_modifier(Modifier::BOLD)
}

fn title(viewer: &Viewer, frame: &mut Frame<'_>, area: Rect) {
    let (at, all) = (viewer.at + 1, viewer.rows.len());
    let end = match viewer.recording.outcome.failure {
        None => "passes",
        Some(_) => "FAILS",
    };
    let name = &viewer.recording.name;
    let text = format!(" {name}   {}   {at} of {all}   the story {end}", moment(viewer.now()));
    frame.render_widget(
        Paragraph::new(text).style(Style::new().add_modifier(Modifier::REVERSED)),
        area,
    );
}

fn keys(viewer: &Viewer, frame: &mut Frame<'_>, area: Rect) {
    let text = match (viewer.typing, viewer.view) {
        (true, _) => format!("/{}▏", viewer.query),
        (_, View::Story) if viewer.query.is_empty() => {
            "n next  p back  s step  w write  r role  f fault  y why  o objects  / search  ? keys"
                .into()
        }
        (_, View::Story) => format!("searching “{}”: n next  p back  Escape ends it", viewer.query),
        (_, View::Objects) => "↑ ↓ choose  Enter show  n p the moment  Escape the story".into(),
        (_, View::Object) => "↑ ↓ scroll  n p the moment  Escape all objects  o the story".into(),
        (_, View::Why) => "↑ ↓ scroll  n p the moment  Escape the story".into(),
        (_, View::Help) => "any key: the story".into(),
    };
    frame.render_widget(Paragraph::new(text).style(dim()), area);
}

fn story(viewer: &Viewer, frame: &mut Frame<'_>, area: Rect) {
    let members = viewer.members();
    let mut state = vec![Line::styled(
        format!("{:<16}{:<16}{:<10}{}", "instance", "role", "timeline", "log position"),
        dim(),
    )];
    for (name, at) in &members {
        let (timeline, end) = match at.timeline {
            0 => ("–".to_owned(), "–".to_owned()),
            n => (n.to_string(), lsn_text(at.end)),
        };
        state.push(Line::from(vec![
            Span::raw(format!("{name:<16}")),
            Span::styled(format!("{:<16}", role(at)), Style::new().fg(colour(at.role))),
            Span::raw(format!("{timeline:<10}{end}")),
        ]));
    }
    for (cluster, kind, status, reason) in viewer.conditions() {
        if kind == "Ready" || kind == "Reconciled" {
            let text = format!("{cluster}: {kind} is {status} ({reason})");
            let colour = if status == "True" { Color::Green } else { Color::Red };
            state.push(Line::styled(text, Style::new().fg(colour)));
        }
    }
    state.extend(viewer.clients().into_iter().map(Line::from));
    let most = area.height.saturating_sub(8).max(3);
    let height = u16::try_from(state.len()).unwrap_or(most).min(most);
    let [now, rest] =
        Layout::vertical([Constraint::Length(height + 1), Constraint::Min(3)]).areas(area);
    let block = Block::new().borders(Borders::BOTTOM);
    frame.render_widget(Paragraph::new(state).block(block), now);
    events(viewer, frame, rest);
}

/// The lines around the present one, which is told in full.
fn events(viewer: &Viewer, frame: &mut Frame<'_>, area: Rect) {
    let width = usize::from(area.width);
    let height = usize::from(area.height);
    // The present line stands in the upper half, so that one sees what comes.
    let mut lines: Vec<Line<'_>> = Vec::new();
    let before = viewer.at.saturating_sub(height / 2);
    for (index, row) in viewer.rows.iter().enumerate().skip(before) {
        if lines.len() >= height {
            break;
        }
        lines.extend(row_lines(row, index == viewer.at, index > viewer.at, width));
    }
    frame.render_widget(Paragraph::new(lines), area);
}

fn row_lines(row: &Row, present: bool, later: bool, width: usize) -> Vec<Line<'static>> {
    let style = match row.kind {
        "step" => bold(),
        "fault" | "failed" => Style::new().fg(Color::Red),
        "database" => Style::new().fg(Color::Cyan),
        "write" | "run" => Style::new().fg(Color::Blue),
        "condition" => Style::new().fg(Color::Magenta),
        "pass" => dim(),
        _ => Style::new(),
    };
    let style = if later { style.add_modifier(Modifier::DIM) } else { style };
    let style = if present { style.add_modifier(Modifier::BOLD) } else { style };
    let mark = if present { "▶" } else { " " };
    let actor = cut(&row.actor, ACTOR - 1);
    let head = format!("{mark}{:>8.1} {actor:<ACTOR$}", row.at.seconds());
    let room = width.saturating_sub(head.chars().count()).max(20);
    if !present {
        return vec![Line::styled(format!("{head}{}", cut(&row.text, room)), style)];
    }
    let indent = " ".repeat(head.chars().count());
    let wrapped = wrap(&row.text, room).into_iter().enumerate();
    let lines = wrapped.map(|(number, text)| {
        let start = if number == 0 { &head } else { &indent };
        Line::styled(format!("{start}{text}"), style)
    });
    lines.collect()
}

fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_owned(),
        Some(_) => {
            let kept: String = text.chars().take(most.saturating_sub(1)).collect();
            format!("{kept}…")
        }
    }
}

/// Broken between words.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("never empty");
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > width {
            lines.push(word.to_owned());
            continue;
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines
}

fn colour(role: Role) -> Color {
    match role {
        Role::Leads => Color::Blue,
        Role::StandbyLeader => Color::Magenta,
        Role::Follows => Color::Cyan,
        Role::Starts | Role::Stops => Color::Yellow,
        Role::Prepares | Role::Gone => Color::DarkGray,
    }
}

fn why(viewer: &Viewer) -> Vec<Line<'static>> {
    let Some(row) = viewer.rows.get(viewer.at) else { return Vec::new() };
    let mut lines =
        vec![Line::styled(format!("{} {}: {}", moment(row.at), row.actor, row.text), bold())];
    let Some((items, pass)) = viewer.why() else {
        lines.push(Line::raw("A step of the story; nobody in the world did it."));
        return lines;
    };
    lines.push(Line::raw(""));
    if items.is_empty() && pass.is_none() {
        lines.push(Line::raw("It was not the operator that did this. Press w for its next write."));
    }
    lines.extend(items.into_iter().map(|item| Line::raw(format!("• {item}"))));
    let Some(pass) = pass else { return lines };
    lines.push(Line::raw(""));
    lines.push(Line::styled("The pass in which it was decided", bold()));
    lines.push(Line::raw(format!("read {}", pass.read)));
    lines.extend(pass.unknown.iter().map(|u| Line::raw(format!("could not read {u}"))));
    lines.push(Line::raw("found, where not all is as it should be"));
    lines.extend(pass.found.iter().map(|found| Line::raw(format!("  {found}"))));
    lines
}

fn help() -> Vec<Line<'static>> {
    let mut lines: Vec<Line<'static>> =
        KEYS.iter().map(|(key, does)| Line::raw(format!("{key:<10} {does}"))).collect();
    lines.push(Line::raw("Capital letters go back: S, W, D, R, F, C, A, X."));
    lines
}

fn scrolled(viewer: &Viewer, frame: &mut Frame<'_>, area: Rect, name: &str, lines: Vec<Line<'_>>) {
    let most = lines.len().saturating_sub(2);
    let scroll = u16::try_from(viewer.scroll.min(most)).unwrap_or(u16::MAX);
    let block = Block::bordered().title(name.to_owned());
    let text = Paragraph::new(lines).wrap(Wrap { trim: false }).scroll((scroll, 0));
    frame.render_widget(text.block(block), area);
}

fn objects(viewer: &Viewer, frame: &mut Frame<'_>, area: Rect) {
    let changed = viewer.changed();
    let objects = viewer.objects();
    let height = usize::from(area.height.saturating_sub(2));
    let from = viewer.chosen.saturating_sub(height / 2);
    let shown = objects.iter().enumerate().skip(from).take(height);
    let lines: Vec<Line<'_>> = shown
        .map(|(index, (key, shot))| {
            let mark = if changed.contains(key) { '●' } else { ' ' };
            let name = viewer.recording.aliases.show(key.0, &key.3);
            let real = if name == *key.3 { String::new() } else { format!("({})", key.3) };
            let at = moment(shot.at);
            let text = format!("{mark} {:<24} {name} {real}  since {at}", key.1.name());
            let style = match index == viewer.chosen {
                true => Style::new().add_modifier(Modifier::REVERSED),
                false => Style::new(),
            };
            Line::styled(text, style)
        })
        .collect();
    let block = Block::bordered().title(format!(" {} objects; ● changed now ", objects.len()));
    frame.render_widget(Paragraph::new(lines).block(block), area);
}

fn object(viewer: &Viewer, frame: &mut Frame<'_>, area: Rect) {
    let objects = viewer.objects();
    let Some((key, shot)) = objects.get(viewer.chosen) else { return };
    let text = viewer.object(key);
    let lines: Vec<Line<'_>> = text
        .iter()
        .map(|(sign, line)| {
            let style = match sign {
                '+' => Style::new().fg(Color::Green),
                '-' => Style::new().fg(Color::Red),
                _ => Style::new(),
            };
            Line::styled(format!("{sign} {line}"), style)
        })
        .collect();
    let by: Vec<&str> = shot.by.iter().map(|manager| &**manager).collect();
    let by = if by.is_empty() { String::new() } else { format!(" by {}", by.join(", ")) };
    let name = format!(" {} {}, as of {}{by} ", key.1, key.3, moment(shot.at));
    scrolled(viewer, frame, area, &name, lines);
}

/// The opening words of the command: what happens in the story.
#[must_use]
pub fn opening(viewer: &Viewer) -> String {
    headline(&viewer.recording, &viewer.shape).join(" ")
}

/// What a terminal of so many columns and rows would show, as text.
///
/// # Panics
/// Never: nothing can go wrong with a screen in memory.
#[must_use]
pub fn screen(viewer: &Viewer, (columns, rows): (u16, u16)) -> String {
    let mut terminal = Terminal::new(TestBackend::new(columns, rows)).expect("in memory");
    terminal.draw(|frame| draw(viewer, frame)).expect("in memory");
    let buffer = terminal.backend().buffer();
    let line = |cells: &[ratatui::buffer::Cell]| {
        let text: String = cells.iter().map(ratatui::buffer::Cell::symbol).collect();
        text.trim_end().to_owned()
    };
    let lines: Vec<String> = buffer.content.chunks(usize::from(columns)).map(line).collect();
    lines.join("\n")
}
