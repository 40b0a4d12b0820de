//! SCRAM-SHA-256 verifiers as PostgreSQL stores them (RFC 5802, RFC 7677): they let the server check
//! a password that it never sees, so no password has to travel in SQL.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

use crate::sensitive::Sensitive;

/// PostgreSQL's own number of rounds.
const ITERATIONS: u32 = 4096;

/// The verifier of a password: `SCRAM-SHA-256$4096:<salt>$<StoredKey>:<ServerKey>`, base64 with padding.
///
/// `password` is what stands in the Secret; bytes that are not UTF-8 are used as they are.
#[must_use]
pub fn verifier(password: &[u8], salt: &[u8; 16]) -> Sensitive {
    let prepared = prepare(password);
    let salted: [u8; 32] = pbkdf2::pbkdf2_hmac_array::<Sha256, 32>(&prepared, salt, ITERATIONS);
    let stored = Sha256::digest(hmac(&salted, b"Client Key"));
    let server = hmac(&salted, b"Server Key");
    Sensitive::text(&format!(
        "SCRAM-SHA-256${ITERATIONS}:{}${}:{}",
        STANDARD.encode(salt),
        STANDARD.encode(stored),
        STANDARD.encode(server)
    ))
}

/// SASLprep as PostgreSQL does it: plain ASCII, invalid UTF-8, prohibited characters and a result
/// that would be empty leave the password as it is.
fn prepare(password: &[u8]) -> Vec<u8> {
    let raw = || password.to_vec();
    if password.is_ascii() {
        return raw();
    }
    let Ok(text) = std::str::from_utf8(password) else {
        return raw();
    };
    match stringprep::saslprep(text) {
        Ok(prepared) if !prepared.is_empty() => prepared.as_bytes().to_vec(),
        Ok(_) | Err(_) => raw(),
    }
}

fn hmac(key: &[u8; 32], label: &[u8]) -> [u8; 32] {
    let mut mac = <Hmac<Sha256>>::new_from_slice(key)
        .unwrap_or_else(|_| unreachable!("HMAC takes keys of any length"));
    mac.update(label);
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(password: &[u8], salt: &[u8; 16]) -> String {
        let made = verifier(password, salt);
        made.expose_text().unwrap_or_default().to_owned()
    }

    /// RFC 7677 section 3 gives this exchange for password `pencil`; its ServerSignature proves
    /// ServerKey, and its ClientProof proves StoredKey.
    #[test]
    fn the_keys_prove_the_exchange_of_the_rfc() {
        let salt: [u8; 16] = STANDARD
            .decode("W22ZaJ0SNY7soEsUEjb6gQ==")
            .ok()
            .and_then(|s| s.try_into().ok())
            .unwrap_or_default();
        let made = text(b"pencil", &salt);
        let (head, keys) = made.rsplit_once('$').unwrap_or_default();
        assert_eq!(head, "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==");
        let (stored, server) = keys.split_once(':').unwrap_or_default();
        let key = |k: &str| -> [u8; 32] {
            let bytes = STANDARD.decode(k).unwrap_or_default();
            bytes.try_into().unwrap_or_default()
        };
        let message = b"n=user,r=rOprNGfwEbeRWgbNEkqO,\
            r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,\
            c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let signature = hmac(&key(server), message);
        assert_eq!(STANDARD.encode(signature), "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
        let proof =
            STANDARD.decode("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=").unwrap_or_default();
        let client_signature = hmac(&key(stored), message);
        let client_key: Vec<u8> = proof.iter().zip(client_signature).map(|(a, b)| a ^ b).collect();
        assert_eq!(Sha256::digest(client_key).as_slice(), key(stored));
    }

    #[test]
    fn preparation_follows_postgresql() {
        for (password, prepared) in [
            (&b"pl ain\x07"[..], &b"pl ain\x07"[..]),
            ("I\u{ad}X".as_bytes(), b"IX"),
            ("\u{2168}".as_bytes(), b"IX"),
            ("\u{ad}".as_bytes(), "\u{ad}".as_bytes()),
            ("ä\u{7}".as_bytes(), "ä\u{7}".as_bytes()),
            (b"\xff\xfe", b"\xff\xfe"),
            (b"", b""),
        ] {
            assert_eq!(prepare(password), prepared, "{password:?}");
        }
    }
}
