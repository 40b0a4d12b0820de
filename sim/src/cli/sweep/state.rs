//! What a stopped sweep has done: a file with a line for every cut that ended well, so that a later run goes on there.
//! What failed is not in it, and is tried again.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the command line reads and writes a file"
)]

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::path::Path;
use std::sync::Mutex;

use ivory_core::hash::digest;

use super::super::Trouble;
use super::tell::Tried;
use super::{Swept, parse_cut};
use crate::explore::cut::Cut;
use crate::explore::fork::End;
use crate::explore::plan::{Cuts, Plan};
use crate::time::Span;

/// What was done before, and where it is written down what is done.
#[derive(Default)]
pub(super) struct State {
    done: BTreeMap<(usize, usize, Cut), End>,
    file: Option<Mutex<File>>,
}

impl State {
    /// Opens the file, or makes it.
    ///
    /// # Errors
    /// A sentence, when it can't be read or written, or is of another program or of other stories.
    pub(super) fn open(path: &Path, swept: &Swept, plan: &Plan) -> Result<Self, Trouble> {
        let broken =
            |what: &dyn std::fmt::Display| Trouble::Broken(format!("{}: {what}", path.display()));
        let head = head(swept, plan).map_err(|e| broken(&e))?;
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            Err(error) => return Err(broken(&error)),
        };
        let mut lines = text.split_inclusive('\n');
        let before = lines.next().unwrap_or_default().trim_end();
        if !before.is_empty() && before != head {
            let what = match before.split(' ').next() == head.split(' ').next() {
                true => "it is of other stories or seeds",
                false => "it was written by another build",
            };
            return Err(broken(&format!("{what}: remove it, or name another file")));
        }
        let mut file =
            OpenOptions::new().create(true).append(true).open(path).map_err(|e| broken(&e))?;
        let mut done = BTreeMap::new();
        let mut kept = before.len() + 1;
        if before.is_empty() {
            writeln!(file, "{head}").map_err(|e| broken(&e))?;
        } else {
            // The last line may be half a line.
            for line in lines.filter(|l| l.ends_with('\n')) {
                kept += line.len();
                done.extend(read(line.trim_end(), swept));
            }
            file.set_len(kept as u64).map_err(|e| broken(&e))?;
        }
        Ok(Self { done, file: Some(Mutex::new(file)) })
    }

    /// The cuts that are left to try, by story.
    pub(super) fn left(&self, swept: &Swept, plan: &Plan) -> Vec<Cuts> {
        let left = |(story, cuts): (usize, &Cuts)| {
            let messages = swept.bases[story].as_ref().map_or(&[][..], |b| &b.messages);
            let new =
                |c: &&(usize, Cut)| !self.done.contains_key(&(story, messages[c.0].number, c.1));
            cuts.iter().filter(new).copied().collect()
        };
        plan.cuts.iter().enumerate().map(left).collect()
    }

    /// What was done before.
    pub(super) fn tried(&self, swept: &Swept) -> Vec<Tried> {
        let tried = |((story, number, _), end): (&(usize, usize, Cut), &End)| {
            let message = swept.bases[*story].as_ref().ok()?.messages.get(number - 1)?;
            Some(Tried { story: *story, at: message.at, end: end.clone() })
        };
        self.done.iter().filter_map(tried).collect()
    }

    /// Writes down how a cut ended.
    pub(super) fn done(&self, story: &str, number: usize, cut: Cut, end: &End) {
        let (word, left) = match end {
            End::Rejoined(left) => ("rejoined", left.seconds()),
            End::Same => ("same", 0.0),
            End::Otherwise => ("otherwise", 0.0),
            End::Failed(_) => return,
        };
        let Some(file) = &self.file else { return };
        let mut file = file.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        // What can't be written down is done again.
        let _ = writeln!(file, "{story} {number}:{cut} {word} {left:.1}");
    }
}

/// Which program, and which cuts of which stories, from which states.
fn head(swept: &Swept, plan: &Plan) -> std::io::Result<String> {
    let program = digest(&fs::read(std::env::current_exe()?)?);
    let mut keys = Vec::new();
    for ((story, base), cuts) in swept.stories.iter().zip(&swept.bases).zip(&plan.cuts) {
        let base = base.as_ref().ok();
        let of = base.into_iter().flat_map(|base| {
            cuts.iter().map(|(index, cut)| (*index, base.messages[*index].key(*cut)))
        });
        keys.push((&story.name, story.world.seed, of.collect::<Vec<_>>()));
    }
    Ok(format!("{program:016x} {:016x}", digest(&keys)))
}

fn read(line: &str, swept: &Swept) -> Option<((usize, usize, Cut), End)> {
    let words: Vec<&str> = line.split(' ').collect();
    let [name, cut, word, left] = words[..] else { return None };
    let story = swept.stories.iter().position(|s| s.name == name)?;
    let (number, cut) = parse_cut(cut).ok()?;
    let end = match word {
        "rejoined" => End::Rejoined(Span((left.parse::<f64>().ok()? * 1e6) as i64)),
        "otherwise" => End::Otherwise,
        _ => End::Same,
    };
    Some(((story, number, cut), end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explore::message::Whose;
    use crate::explore::plan::plan;
    use crate::lab::site::build;
    use crate::scenario::parse::load;

    #[test]
    fn a_stopped_sweep_goes_on_where_it_was_but_not_with_other_stories() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios");
        let swept = |names: &[&str]| {
            let path = |name: &&str| folder.join(name).with_extension("yaml");
            let stories: Vec<_> = names.iter().map(|n| load(&path(n)).expect("a story")).collect();
            let base = |s| crate::explore::base::base(s, Whose::Operator, &build);
            let bases = stories.iter().map(base).collect();
            Swept { stories, whose: Whose::Operator, bases }
        };
        let swept_plan = |swept: &Swept| plan(swept.bases.iter().map(|b| b.as_ref().ok()));
        let (one, two) = (swept(&["create"]), swept(&["create", "connect"]));
        let (plan, other) = (swept_plan(&one), swept_plan(&two));
        let open = |path: &Path| match State::open(path, &one, &plan) {
            Ok(state) => state,
            Err(_) => panic!("its own file"),
        };
        let file = std::env::temp_dir().join(format!("sweep-state-{}", std::process::id()));
        let state = open(&file);
        let all = state.left(&one, &plan).remove(0);
        let [first, second, third] = [all[0], all[1], all[2]].map(|(i, cut)| (i + 1, cut));
        state.done("create", first.0, first.1, &End::Rejoined(Span::s(12)));
        state.done("create", second.0, second.1, &End::Same);
        // Half a line, as a kill leaves it.
        let mut torn = OpenOptions::new().append(true).open(&file).expect("the file");
        write!(torn, "create {}:{} rej", third.0, third.1).expect("written");

        let state = open(&file);
        assert_eq!(state.left(&one, &plan).remove(0), all[2..]);
        let ends = state.tried(&one).into_iter().map(|t| format!("{:?}", t.end));
        assert_eq!(ends.collect::<Vec<_>>(), ["Rejoined(Span(12000000))", "Same"]);
        state.done("create", third.0, third.1, &End::Same);
        assert_eq!(open(&file).left(&one, &plan).remove(0), all[3..]);
        let refused = State::open(&file, &two, &other);
        fs::remove_file(&file).expect("it was there");
        assert!(matches!(refused, Err(Trouble::Broken(why)) if why.contains("of other stories")));
    }
}
