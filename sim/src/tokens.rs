//! The tokens of a text, of which names and addresses of Kubernetes are made. What is put in their place is for
//! others to say: aliases for people ([`crate::scenario::alias`]), normal forms for comparisons
//! ([`crate::world::fingerprint`]).

/// Whether a character belongs to a token.
#[must_use]
pub fn in_token(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.'
}

/// The text with every token as `show` writes it, and everything else as it was.
pub fn replace(text: &str, mut show: impl FnMut(&str, &mut String)) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c| !in_token(c)).unwrap_or(rest.len());
        if end == 0 {
            let next = rest.chars().next().map_or(1, char::len_utf8);
            shown.push_str(&rest[..next]);
            rest = &rest[next..];
            continue;
        }
        show(&rest[..end], &mut shown);
        rest = &rest[end..];
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_token_stays_as_it_is() {
        let marked = |text| replace(text, |token, shown| *shown += &format!("[{token}]"));
        assert_eq!(
            marked("Pod hippo-00-abcd/x: ä 10.0.0.1"),
            "P[od] [hippo-00-abcd]/[x]: ä [10.0.0.1]"
        );
        assert_eq!(marked(""), "");
    }
}
