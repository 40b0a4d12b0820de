//! Whether a client may come in: its password against the role's verifier, and the server's certificate
//! against the client's root certificates.

use std::collections::VecDeque;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ivory_core::Sensitive;
use ivory_core::crypto::pki::{Authority, Leaf};
use ivory_core::crypto::scram;
use jiff::Timestamp;

/// What a server presents to its clients: PEM texts of `tls.crt` and `tls.key`.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// The certificate.
    pub certificate: Arc<str>,
    /// Its key.
    pub key: Sensitive,
}

impl Certificate {
    /// Whether PostgreSQL can load the pair. One that it can't leaves the former in force.
    #[must_use]
    pub fn loads(&self) -> bool {
        Leaf::read(&self.certificate, &self.key).is_ok()
    }

    /// Whether it has not ended.
    #[must_use]
    pub fn holds(&self, now: Timestamp) -> bool {
        Authority::list(&self.certificate).first().is_some_and(|c| now < c.not_after())
    }
}

/// How many answers of a kind are remembered.
const REMEMBERED: usize = 64;

/// Answers to costly questions, which don't change. A few are asked again and again, so that looking through
/// what was asked is cheaper than a digest of a question, which is long.
#[derive(Clone, Debug, Default)]
pub struct Checked {
    /// Password, verifier.
    passwords: Answers<(Sensitive, Sensitive)>,
    certificates: Answers<Shown>,
}

/// The hour, to which host a client connected, the certificate that it was shown, and its roots.
type Shown = (i64, Arc<str>, Arc<str>, Arc<str>);

/// Questions and answers, the oldest first.
#[derive(Clone, Debug)]
struct Answers<Q>(Arc<VecDeque<(Q, bool)>>);

impl<Q> Default for Answers<Q> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<Q: Clone> Answers<Q> {
    fn to(&self, same: impl Fn(&Q) -> bool) -> Option<bool> {
        self.0.iter().rev().find(|(question, _)| same(question)).map(|(_, answer)| *answer)
    }

    fn keep(&mut self, question: Q, answer: bool) -> bool {
        let all = Arc::make_mut(&mut self.0);
        if all.len() >= REMEMBERED {
            all.pop_front();
        }
        all.push_back((question, answer));
        answer
    }
}

impl Checked {
    /// Whether a password fits a SCRAM verifier.
    pub fn password(&mut self, password: &Sensitive, verifier: &Sensitive) -> bool {
        let known = self.passwords.to(|(p, v)| p == password && v == verifier);
        known.unwrap_or_else(|| {
            let question = (password.clone(), verifier.clone());
            self.passwords.keep(question, fits(password, verifier))
        })
    }

    /// Whether a client with these roots (PEM) that connected to this host accepts the certificate
    /// (`sslmode=verify-full`) in this hour.
    pub fn certificate(
        &mut self,
        presented: &Certificate,
        (roots, host): (&Arc<str>, &Arc<str>),
        now: Timestamp,
    ) -> bool {
        let hour = now.as_second() / 3600;
        let certificate = &presented.certificate;
        let known = self.certificates.to(|(then, to, shown, by)| {
            *then == hour && to == host && shown == certificate && by == roots
        });
        known.unwrap_or_else(|| {
            let question = (hour, host.clone(), certificate.clone(), roots.clone());
            self.certificates.keep(question, accepts(presented, roots, host, now))
        })
    }
}

/// Computes the verifier anew with the same salt. MD5 verifiers and other iteration counts never fit.
fn fits(password: &Sensitive, verifier: &Sensitive) -> bool {
    let salt = verifier
        .expose_text()
        .and_then(|text| text.strip_prefix("SCRAM-SHA-256$4096:"))
        .and_then(|rest| rest.split('$').next())
        .and_then(|salt| STANDARD.decode(salt).ok())
        .and_then(|salt| <[u8; 16]>::try_from(salt).ok());
    salt.is_some_and(|salt| scram::verifier(password.expose(), &salt) == *verifier)
}

fn accepts(presented: &Certificate, roots: &str, host: &str, now: Timestamp) -> bool {
    let Ok(leaf) = Leaf::read(&presented.certificate, &presented.key) else {
        return false;
    };
    let host = host.trim_end_matches('.');
    let named = leaf.dns_names();
    now < leaf.not_after()
        && named.iter().any(|n| n.trim_end_matches('.').eq_ignore_ascii_case(host))
        && Authority::list(roots).iter().any(|a| leaf.signed_by(a))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ivory_core::crypto::pki::Root;

    #[test]
    fn a_password_fits_only_its_own_verifier() {
        let verifier = scram::verifier(b"secret", &[7; 16]);
        let mut checked = Checked::default();
        for (password, expected) in [("secret", true), ("Secret", false), ("secret", true)] {
            assert_eq!(checked.password(&Sensitive::text(password), &verifier), expected);
        }
        let md5 = Sensitive::text("md5aaaa");
        assert!(!checked.password(&Sensitive::text("secret"), &md5));
    }

    #[test]
    fn a_certificate_must_be_of_the_root_and_name_the_host() {
        let now = crate::time::Time::START.timestamp();
        let text = |text: &str| Arc::<str>::from(text);
        let root = |seed: u8| {
            let issued = Root::generate(&[seed; 32], now);
            let root = Root::read(&issued.certificate, &issued.key).expect("a root");
            (issued.certificate, root)
        };
        let ((pem, ours), (other, _)) = (root(1), root(2));
        let names = vec!["hippo-primary.db.svc".to_owned()];
        let leaf = ours.issue(&[3; 32], "hippo", &names, now).expect("a leaf");
        let presented =
            Certificate { certificate: leaf.certificate.as_str().into(), key: leaf.key };
        let mut checked = Checked::default();
        let later = now + jiff::SignedDuration::from_hours(366 * 24);
        for (roots, host, now, expected) in [
            (&pem, "hippo-primary.db.svc", now, true),
            (&pem, "hippo-primary.db.svc.", now, true),
            (&pem, "hippo-primary.db.svc", later, false),
            (&pem, "hippo-replicas.db.svc", now, false),
            (&other, "hippo-primary.db.svc", now, false),
        ] {
            assert_eq!(
                checked.certificate(&presented, (&text(roots), &text(host)), now),
                expected,
                "{host}"
            );
        }
    }
}
