//! What PostgreSQL says to the options of a role. Owns their grammar (PostgreSQL's reference, ALTER ROLE) as far as
//! an answer of yes or no needs it; what an option does to the role is not modelled.

/// Options that stand alone, each with a `NO…` beside it.
const SWITCHES: [&str; 7] =
    ["SUPERUSER", "CREATEDB", "CREATEROLE", "INHERIT", "LOGIN", "REPLICATION", "BYPASSRLS"];

/// Why `ALTER ROLE … WITH options` fails, in the server's words; none if it does not.
#[must_use]
pub fn refusal(options: &str) -> Option<String> {
    let mut words = options.split_whitespace();
    while let Some(word) = words.next() {
        let upper = word.to_uppercase();
        let plain = upper.strip_prefix("NO").unwrap_or(&upper);
        let known = match &*upper {
            "CONNECTION" => {
                let limit = words.next().is_some_and(|w| w.eq_ignore_ascii_case("LIMIT"));
                limit && words.next().is_some_and(|n| n.parse::<i64>().is_ok_and(|n| n >= -1))
            }
            "VALID" => {
                let until = words.next().is_some_and(|w| w.eq_ignore_ascii_case("UNTIL"));
                until && quoted(&mut words)
            }
            _ if SWITCHES.contains(&plain) => true,
            _ if word.chars().all(|c| c.is_alphanumeric() || c == '_') => {
                return Some(format!(
                    "ERROR:  unrecognized role option \"{}\"",
                    word.to_lowercase()
                ));
            }
            _ => false,
        };
        if !known {
            return Some(format!("ERROR:  syntax error at or near \"{word}\""));
        }
    }
    None
}

/// Takes a text in single quotes, which may hold spaces.
fn quoted<'a>(words: &mut impl Iterator<Item = &'a str>) -> bool {
    let Some(first) = words.next().and_then(|w| w.strip_prefix('\'')) else { return false };
    let mut word = Some(first);
    while let Some(part) = word {
        if part.ends_with('\'') {
            return true;
        }
        word = words.next();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_taken_or_refused_as_the_server_does() {
        for fine in [
            "",
            "CREATEDB",
            "nosuperuser NOLOGIN",
            "CONNECTION LIMIT 5 CREATEROLE",
            "VALID UNTIL '2030-01-01 00:00' CREATEDB",
        ] {
            assert_eq!(refusal(fine), None, "{fine}");
        }
        for (options, said) in [
            ("CREATDB", "unrecognized role option \"creatdb\""),
            ("CREATEDB KING", "unrecognized role option \"king\""),
            ("CONNECTION 5", "syntax error"),
            ("VALID UNTIL 2030", "syntax error"),
            ("VALID UNTIL '2030", "syntax error"),
            ("CREATEDB; DROP TABLE x", "syntax error"),
        ] {
            let answer = refusal(options).unwrap_or_default();
            assert!(answer.contains(said), "{options}: {answer}");
        }
    }
}
