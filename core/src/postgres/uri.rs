//! Connection strings for applications, as the user Secrets carry them. Escaping is that of Go's
//! `net/url` (`reference/api.md` §4.6), so that a change of operator changes no byte of a Secret.

use crate::sensitive::Sensitive;

/// What a connection string says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Connection<'a> {
    /// The role.
    pub user: &'a str,
    /// Its password.
    pub password: &'a Sensitive,
    /// DNS name of the Service.
    pub host: &'a str,
    /// Port of the Service.
    pub port: u16,
    /// The database.
    pub database: &'a str,
}

impl Connection<'_> {
    /// `postgresql://user:password@host:port/database`
    #[must_use]
    pub fn uri(&self) -> Sensitive {
        let bare = b"-_.~$&+,;=";
        Sensitive::text(&format!(
            "postgresql://{}:{}@{}",
            percent(self.user.as_bytes(), bare),
            percent(self.password.expose(), bare),
            self.place()
        ))
    }

    /// `jdbc:postgresql://host:port/database?password=…&user=…`. Behind a pooler, named prepared
    /// statements have to be off.
    #[must_use]
    pub fn jdbc_uri(&self, pooled: bool) -> Sensitive {
        let pooled = if pooled { "&prepareThreshold=0" } else { "" };
        Sensitive::text(&format!(
            "jdbc:postgresql://{}?password={}{pooled}&user={}",
            self.place(),
            form(self.password.expose()),
            form(self.user.as_bytes())
        ))
    }

    fn place(&self) -> String {
        let database = percent(self.database.as_bytes(), b"-_.~$&+,/:;=@");
        format!("{}:{}/{database}", self.host, self.port)
    }
}

/// Letters, digits and the bytes in `bare` stay; every other byte becomes `%XX`.
fn percent(bytes: &[u8], bare: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for byte in bytes {
        if byte.is_ascii_alphanumeric() || bare.contains(byte) {
            text.push(char::from(*byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

/// Form encoding: as [`percent`], but a space becomes `+`.
fn form(bytes: &[u8]) -> String {
    percent(bytes, b"-_.~ ").replace(' ', "+")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::password::{Alphabet, generate};

    fn both(user: &str, password: &str, database: &str) -> (String, String) {
        let connection = Connection {
            user,
            password: &Sensitive::text(password),
            host: "hippo-primary.ns.svc",
            port: 5432,
            database,
        };
        let text = |s: Sensitive| s.expose_text().unwrap_or_default().to_owned();
        (text(connection.uri()), text(connection.jdbc_uri(false)))
    }

    #[test]
    fn escaping_is_that_of_go() {
        for (user, password, database, uri, jdbc) in [
            ("hippo", "secret", "zoo", "hippo:secret@H/zoo", "H/zoo?password=secret&user=hippo"),
            (
                "a b",
                "()*+,-./:;<=>?@[]^_{|}",
                "d?b%",
                "a%20b:%28%29%2A+,-.%2F%3A;%3C=%3E%3F%40%5B%5D%5E_%7B%7C%7D@H/d%3Fb%25",
                "H/d%3Fb%25?password=%28%29%2A%2B%2C-.%2F%3A%3B%3C%3D%3E%3F%40%5B%5D%5E_%7B%7C%7D&user=a+b",
            ),
            ("é", "$&", "a/b", "%C3%A9:$&@H/a/b", "H/a/b?password=%24%26&user=%C3%A9"),
        ] {
            let place = "hippo-primary.ns.svc:5432";
            let uri = uri.replace("@H", &format!("@{place}"));
            let jdbc = jdbc.replacen('H', place, 1);
            let expected = (format!("postgresql://{uri}"), format!("jdbc:postgresql://{jdbc}"));
            assert_eq!(both(user, password, database), expected);
        }
    }

    #[test]
    fn a_pooled_uri_has_its_keys_in_order() {
        let connection = Connection {
            user: "u",
            password: &Sensitive::text("p"),
            host: "h",
            port: 1,
            database: "d",
        };
        assert_eq!(
            connection.jdbc_uri(true).expose_text(),
            Some("jdbc:postgresql://h:1/d?password=p&prepareThreshold=0&user=u")
        );
    }

    /// Undoes percent encoding, as every consumer does.
    fn decoded(text: &str) -> Vec<u8> {
        let mut bytes = text.bytes();
        let mut out = Vec::new();
        while let Some(byte) = bytes.next() {
            if byte == b'%' {
                let hex: String = bytes.by_ref().take(2).map(char::from).collect();
                out.push(u8::from_str_radix(&hex, 16).unwrap_or(0));
            } else {
                out.push(byte);
            }
        }
        out
    }

    #[test]
    fn generated_passwords_come_back() {
        for n in 0..2_000u16 {
            let mut seed = [0; 32];
            seed[..2].copy_from_slice(&n.to_be_bytes());
            let password = generate(&seed, Alphabet::Ascii, 24);
            let password = password.expose_text().unwrap_or_default();
            let (uri, jdbc) = both("user", password, "db");
            let (head, _) = uri.split_once('@').unwrap_or_default();
            let (_, secret) = head.rsplit_once(':').unwrap_or_default();
            assert_eq!(decoded(secret), password.as_bytes(), "{uri}");
            let (_, query) = jdbc.split_once("?password=").unwrap_or_default();
            let (secret, _) = query.split_once('&').unwrap_or_default();
            assert_eq!(decoded(&secret.replace('+', " ")), password.as_bytes(), "{jdbc}");
        }
    }
}
