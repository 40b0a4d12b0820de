//! What must be done once only: a change of passwords by SQL, a switchover, a Job, the deletion of one life of an object.

use std::collections::BTreeMap;

use ivory_core::Kind;
use ivory_face::Told;
use tokio::time::Instant;

/// Commands that may not be repeated for one token, by the first words of what they do.
const COMMANDS: [&str; 3] = ["set up users", "switch ", "fail "];

/// What was done twice, one sentence each; `led` is when a member became leader. Asked for once are: the same command in
/// the same life of a Pod, as long as no other of its sort came in between and nobody else led; the deletion of one life
/// of an object; and a Job until it is deleted, since its name is made of what it is for.
pub(super) fn twice(told: &[Told], led: &[Instant]) -> Vec<String> {
    let mut last: BTreeMap<(&str, &str), (&str, usize)> = BTreeMap::new();
    let mut done: BTreeMap<String, usize> = BTreeMap::new();
    let mut deleted: BTreeMap<&str, usize> = BTreeMap::new();
    let mut again = Vec::new();
    for told in told.iter().filter(|t| t.code.is_some_and(|c| c < 300)) {
        let asked = &told.asked;
        let (name, detail) = (&*asked.name, &*asked.detail);
        if asked.is("delete", Kind::Job) {
            *deleted.entry(name).or_default() += 1;
        }
        let says = detail.split_once(' ').map_or("", |(_, says)| says);
        let what = match (asked.verb, &*asked.resource) {
            (_, "pods/exec") => {
                let Some(sort) = COMMANDS.iter().find(|c| says.starts_with(**c)) else { continue };
                let token = (detail, led.iter().filter(|at| **at <= told.at).count());
                if last.insert((name, sort), token) == Some(token) {
                    again.push(format!("twice in Pod {name}: {detail}"));
                }
                continue;
            }
            ("delete", resource) => format!("the deletion of {resource} {name} {detail}"),
            (_, "jobs") if told.code == Some(201) => {
                let life = deleted.get(name).copied().unwrap_or_default();
                format!("the creation of Job {name}, life {life}")
            }
            _ => continue,
        };
        *done.entry(what).or_default() += 1;
    }
    let more = done.into_iter().filter(|(_, times)| *times > 1);
    again.extend(more.map(|(what, times)| format!("{times} times: {what}")));
    again
}

#[cfg(test)]
mod tests {
    use super::*;
    use ivory_face::Asked;

    fn told(at: Instant, verb: &'static str, kind: Kind, name: &str, detail: &str) -> Told {
        let resource = if verb == "exec" { "pods/exec" } else { kind.plural() };
        let asked = Asked {
            by: String::new(),
            verb,
            kind,
            resource: resource.to_owned(),
            namespace: "a".to_owned(),
            name: name.to_owned(),
            detail: detail.to_owned(),
        };
        let code = if verb == "create" { 201 } else { 200 };
        Told { at, asked, code: Some(code), arrived: true, holder: String::new() }
    }

    #[test]
    fn a_token_is_used_once() {
        let at = Instant::now();
        let check = |all: &[(&'static str, Kind, &str, &str)], led: usize, wrong: usize| {
            let told: Vec<Told> = all.iter().map(|(v, k, n, d)| told(at, v, *k, n, d)).collect();
            // The second of them comes after the change of leaders, if there is one.
            let mut told = told;
            if let Some(later) = told.get_mut(1) {
                later.at += std::time::Duration::from_secs(2);
            }
            let led = vec![at + std::time::Duration::from_secs(1); led];
            assert_eq!(twice(&told, &led).len(), wrong, "{all:?}");
        };
        let exec = |says| ("exec", Kind::Pod, "p", says);
        check(&[exec("u switch a"), exec("u switch a")], 0, 1);
        check(&[exec("u switch a"), exec("u switch a")], 1, 0);
        check(&[exec("u set up users a 1"), exec("u set up users a 2")], 0, 0);
        check(&[exec("u checkpoint"), exec("u checkpoint")], 0, 0);
        let (made, gone) = (("create", Kind::Job, "j", ""), ("delete", Kind::Job, "j", "u"));
        check(&[made, made], 0, 1);
        check(&[made, gone, made], 0, 0);
        check(&[gone, gone], 0, 1);
        check(&[("delete", Kind::Secret, "s", "u"), ("delete", Kind::Secret, "s", "v")], 0, 0);
    }
}
