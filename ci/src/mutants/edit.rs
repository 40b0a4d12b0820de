//! The text of a file with its switches in it. Switches nest: what stands between two texts stays as it is.

use std::ops::Range;

use super::sites::{ON, Site};

/// A file with its switches, and where each ended up.
pub(super) struct Edited {
    pub(super) text: String,
    pub(super) places: Vec<Place>,
}

/// Where the switch of one mutant stands in the new text.
pub(super) struct Place {
    key: (String, String),
    /// The texts of the switch itself.
    inserted: [Range<usize>; 2],
}

impl Place {
    fn whole(&self) -> Range<usize> {
        self.inserted[0].start..self.inserted[1].end
    }
}

/// Leaves out each site that would cut into one before it: those come first that must stay.
pub(super) fn nested(sites: Vec<Site>) -> Vec<Site> {
    let mut kept: Vec<Site> = Vec::new();
    for site in sites {
        let (start, end) = (site.switch.start, site.switch.end);
        let cuts = |other: &Site| {
            let (a, b) = (other.switch.start, other.switch.end);
            other.file == site.file
                && (a < start && start < b && b < end || start < a && a < end && end < b)
        };
        if !kept.iter().any(cuts) {
            kept.push(site);
        }
    }
    kept
}

/// Puts the switches of these sites into the text of their file.
pub(super) fn edit(text: &str, sites: &[&Site]) -> Edited {
    let mut order = sites.to_vec();
    // Outer ones first. The sort is stable, so that of equal spans the first found is the outer one.
    order.sort_by_key(|s| (s.switch.start, std::cmp::Reverse(s.switch.end)));
    // At one place: what ends there, the inner first; what has no inside; what begins there, the outer first.
    let mut inserts: Vec<(usize, u8, usize, usize, usize)> = Vec::new();
    for (rank, site) in order.iter().enumerate() {
        let (start, end) = (site.switch.start, site.switch.end);
        if start == end {
            inserts.push((start, 1, rank, rank, 0));
        } else {
            inserts.push((start, 2, rank, rank, 0));
            inserts.push((end, 0, usize::MAX - rank, rank, 1));
        }
    }
    inserts.sort_unstable();
    let mut places: Vec<Place> =
        order.iter().map(|site| Place { key: site.key(), inserted: [0..0, 0..0] }).collect();
    let (mut out, mut done) = (String::with_capacity(text.len() * 2), 0);
    for (at, _, _, rank, side) in inserts {
        out.push_str(&text[done..at]);
        done = at;
        let site = order[rank];
        let insert = if side == 0 { &site.switch.open } else { &site.switch.close };
        let start = out.len();
        out.push_str(&insert.replace(ON, &format!("crate::mutant::on({})", site.number())));
        places[rank].inserted[side] = start..out.len();
        if site.switch.start == site.switch.end {
            places[rank].inserted[1] = places[rank].inserted[0].clone();
        }
    }
    out.push_str(&text[done..]);
    Edited { text: out, places }
}

/// Whose switch an error is about that the compiler reports of these spans, its main ones first: by name and text.
pub(super) fn culprits(places: &[Place], spans: &[Range<usize>]) -> Vec<(String, String)> {
    let meets = |a: &Range<usize>, b: &Range<usize>| a.start < b.end && b.start < a.end;
    let holds = |a: &Range<usize>, b: &Range<usize>| a.start <= b.start && b.end <= a.end;
    // What has a whole switch in it is about that one only if it is all of it: others are deeper inside.
    let cuts = |a: &Range<usize>, b: &Range<usize>| meets(a, b) && !holds(b, a);
    let keys = |fits: &dyn Fn(&Place) -> bool| -> Vec<(String, String)> {
        places.iter().filter(|p| fits(p)).map(|p| p.key.clone()).collect()
    };
    for span in spans {
        let of_texts = |relation: &dyn Fn(&Range<usize>, &Range<usize>) -> bool| {
            keys(&|place| place.inserted.iter().any(|text| relation(text, span)))
        };
        let all_of_it = keys(&|place| place.whole() == *span);
        let found = [all_of_it, of_texts(&holds), of_texts(&cuts)];
        if let Some(found) = found.into_iter().find(|found| !found.is_empty()) {
            return found;
        }
    }
    let around = |span: &Range<usize>| {
        let around = places.iter().filter(|place| holds(&place.whole(), span));
        around.min_by_key(|place| place.whole().len()).map(|place| place.key.clone())
    };
    spans.iter().find_map(around).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn switches_nest_and_an_error_finds_the_one_it_is_about() {
        let text = "fn a() -> bool { b == c && d }\n";
        let sites = crate::mutants::sites::sites("f.rs", text).expect("Rust");
        let edited = edit(text, &sites.iter().collect::<Vec<_>>());
        let mut expected = "fn a() -> bool { if ON0 { return true; }  if ON1 { return false; }  (if ON2 { (b == c) || (d) } \
            else { ((b == c) != ON3) && d }) }\n"
            .to_owned();
        for (n, site) in sites.iter().enumerate() {
            let on = format!("crate::mutant::on({})", site.number());
            expected = expected.replace(&format!("ON{n}"), &on);
        }
        assert_eq!(edited.text, expected);
        let find = |text: &str| {
            let start = edited.text.find(text).expect("there");
            let keys = culprits(&edited.places, std::slice::from_ref(&(start..start + text.len())));
            keys.into_iter().map(|key| key.0.replace("f.rs::a ", "")).collect::<String>()
        };
        assert_eq!(find("return false"), "returns false #1");
        assert_eq!(find("(b == c) ||"), "&& to || #1");
        assert_eq!(find("& d"), "&& to || #1", "the innermost around it");
        let whole = edited.text.find("(if").expect("there")..edited.text.len() - " }\n".len();
        let key = |key: (String, String)| key.0;
        let about: Vec<_> = culprits(&edited.places, &[whole]).into_iter().map(key).collect();
        assert_eq!(about, ["f.rs::a && to || #1"], "and none of those inside");
    }
}
