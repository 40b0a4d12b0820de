//! The text form of certificates and keys: finds the blocks in files that people and other tools
//! wrote, which may hold comments, several blocks, or Windows line ends.

/// One block: its label (the words after `BEGIN`) and its whole text, both marker lines included.
pub(super) struct Block<'a> {
    pub(super) label: &'a str,
    pub(super) text: &'a str,
}

/// All complete blocks, in order. What stands between them, and a block that never ends, is passed over.
pub(super) fn blocks(text: &str) -> Vec<Block<'_>> {
    const BEGIN: &str = "-----BEGIN ";
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find(BEGIN) {
        let from = &rest[start..];
        let Some(label) = from[BEGIN.len()..].split("-----").next() else {
            break;
        };
        let end_mark = format!("-----END {label}-----");
        if let Some(end) = from.find(&end_mark) {
            let length = end + end_mark.len();
            found.push(Block { label, text: &from[..length] });
            rest = &from[length..];
        } else {
            rest = &from[BEGIN.len()..];
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_found_among_other_text() {
        let text = "note\n-----BEGIN A-----\nx\n-----END A-----\n-----BEGIN LOST-----\n\
                    -----BEGIN B C-----\r\ny\r\n-----END B C-----";
        let labels: Vec<_> = blocks(text).iter().map(|b| b.label).collect();
        assert_eq!(labels, ["A", "B C"]);
        assert!(blocks("-----BEGIN ").is_empty());
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_survived(text in "(-----BEGIN |-----END |A-----|\\PC|\n){0,40}") {
            for block in blocks(&text) {
                assert!(block.text.contains(block.label));
            }
        }
    }
}
