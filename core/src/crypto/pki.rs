//! The namespace's certificate authority and the certificates that it issues: who is named in one,
//! how long it lasts, when it is renewed and why it has to be. Secrets and their keys are not known here.
//!
//! Facts from `reference/reconcile.md` §5: root CN, ten years, path length 0; leaves one year,
//! dated back an hour, renewed in the last third. The Go operator signs with SHA-384; that is
//! understood, and SHA-256 is written.

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use p256::ecdsa::{SigningKey, VerifyingKey};
use x509_cert::certificate::Certificate;

use super::expand::Stream;
use super::pem;
use super::x509::{self, Contents, Signer};
use crate::sensitive::Sensitive;

/// The common name of every root.
pub const ROOT_NAME: &str = "ivory-operator-ca";
/// How long a root lasts.
pub const ROOT_LIFE: SignedDuration = SignedDuration::from_hours(10 * 365 * 24);
/// How long a leaf lasts.
pub const LEAF_LIFE: SignedDuration = SignedDuration::from_hours(365 * 24);
/// How far certificates are dated back, for clients whose clock is slow.
const BACKDATED: SignedDuration = SignedDuration::from_hours(1);

/// A new certificate and its key, both as PEM.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Issued {
    /// `CERTIFICATE`.
    pub certificate: String,
    /// `EC PRIVATE KEY`.
    pub key: Sensitive,
}

/// Why a certificate has to be replaced. The order is that in which reasons are looked for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Why {
    /// Certificate or key is missing or no PEM that can be read.
    Unreadable,
    /// The root is no authority, has no key identifier or did not sign itself.
    NotAnAuthority,
    /// The leaf was not issued by the current root.
    OtherAuthority,
    /// The key belongs to another certificate.
    KeyMismatch,
    /// Common name or DNS names (in order) are not those that are wanted.
    WrongNames,
    /// Its time is over.
    Expired,
    /// Two thirds of its life are over. It can be used until its replacement is there.
    Due,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unreadable => "it cannot be read",
            Self::NotAnAuthority => "it is no certificate authority",
            Self::OtherAuthority => "another certificate authority issued it",
            Self::KeyMismatch => "its key belongs to another certificate",
            Self::WrongNames => "it has other names",
            Self::Expired => "it has expired",
            Self::Due => "two thirds of its life are over",
        })
    }
}

/// Whether a text holds a private key in PEM, of whatever algorithm. Whose it is can't be told here: keys that we
/// did not make need not be ours to compute with.
#[must_use]
pub fn is_private_key(text: &str) -> bool {
    let is_key = |label: &str| label == "PRIVATE KEY" || label.ends_with(" PRIVATE KEY");
    let whole =
        |text: &str| der::pem::decode_vec(text.as_bytes()).is_ok_and(|(_, der)| !der.is_empty());
    // An encrypted key of the older form bears headers, which are no PEM of today's form; and nobody could read it.
    pem::blocks(text).iter().any(|b| is_key(b.label) && whole(b.text))
}

/// A certificate authority that is trusted, without its key. Two are equal when the certificates are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Authority(Certificate);

impl Authority {
    /// All authorities in a bundle such as `ca.crt`, in order. Blocks that are no certificate are passed over.
    #[must_use]
    pub fn list(bundle: &str) -> Vec<Self> {
        x509::read_all(bundle).into_iter().map(Self).collect()
    }

    /// One text that trusts all of these, each once, in the order given. During a change of root the
    /// new one comes first and the old ones after it.
    #[must_use]
    pub fn bundle<'a>(authorities: impl IntoIterator<Item = &'a Self>) -> String {
        let mut seen: Vec<&Self> = Vec::new();
        for authority in authorities {
            if !seen.contains(&authority) {
                seen.push(authority);
            }
        }
        seen.iter().filter_map(|a| x509::write(&a.0)).collect()
    }

    /// Whether some authority is in both bundles: certificates under the one are then trusted by who
    /// has the other, as the server and the replication client must trust each other.
    #[must_use]
    pub fn shared(one: &str, other: &str) -> bool {
        let other = Self::list(other);
        Self::list(one).iter().any(|a| other.contains(a))
    }

    /// When it ends.
    #[must_use]
    pub fn not_after(&self) -> Timestamp {
        self.validity().1
    }

    /// From when until when it holds.
    #[must_use]
    pub fn validity(&self) -> (Timestamp, Timestamp) {
        x509::validity(&self.0)
    }

    /// Whether both have the same name, as all roots that were made here have.
    #[must_use]
    pub fn named_like(&self, other: &Self) -> bool {
        self.0.tbs_certificate().subject() == other.0.tbs_certificate().subject()
    }

    fn key(&self) -> Option<VerifyingKey> {
        x509::public_key(&self.0)
    }
}

/// Who may have issued a leaf.
#[derive(Clone, Copy, Debug)]
pub enum Issuer<'a> {
    /// Somebody who is trusted.
    Trusted(&'a Authority),
    /// The root whose key is ours: its signatures are verified at a fraction of the cost.
    Own(&'a Root),
}

impl<'a> From<&'a Authority> for Issuer<'a> {
    fn from(authority: &'a Authority) -> Self {
        Self::Trusted(authority)
    }
}

impl<'a> From<&'a Root> for Issuer<'a> {
    fn from(root: &'a Root) -> Self {
        Self::Own(root)
    }
}

/// The root: an authority together with its key.
#[derive(Clone)]
pub struct Root {
    authority: Authority,
    key: SigningKey,
}

impl fmt::Debug for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Root").field(&self.authority).finish()
    }
}

impl Root {
    /// Makes a new root from a seed.
    ///
    /// # Panics
    /// Never: the only names in it are constants.
    #[must_use]
    pub fn generate(seed: &[u8; 32], now: Timestamp) -> Issued {
        let mut stream = Stream::new(seed, "root");
        let key = x509::key_from(&mut stream);
        let not_before = earlier(now, BACKDATED);
        let contents = Contents {
            common_name: ROOT_NAME,
            dns_names: &[],
            not_before,
            not_after: later(not_before, ROOT_LIFE),
            key: key.verifying_key(),
            serial: x509::serial_from(&mut stream),
        };
        issued(x509::build_authority(&contents, &key).ok(), &key)
            .unwrap_or_else(|| unreachable!("a constant name fits into a certificate"))
    }

    /// Reads a root from the PEM texts of its Secret.
    ///
    /// # Errors
    /// [`Why::Unreadable`], [`Why::NotAnAuthority`] or [`Why::KeyMismatch`]: it cannot issue anything.
    pub fn read(certificate: &str, key: &Sensitive) -> Result<Self, Why> {
        let certificate = x509::read(certificate).ok_or(Why::Unreadable)?;
        let key = x509::read_key(key).ok_or(Why::Unreadable)?;
        let public = x509::public_key(&certificate).ok_or(Why::Unreadable)?;
        let matches = public == *key.verifying_key();
        let signer = if matches { Signer::Own(&key) } else { Signer::Other(&public) };
        if !x509::is_authority(&certificate)
            || x509::key_id(&certificate).is_none()
            || !x509::signed_by(&certificate, signer)
        {
            return Err(Why::NotAnAuthority);
        }
        if !matches {
            return Err(Why::KeyMismatch);
        }
        let authority = Authority(certificate);
        Ok(Self { authority, key })
    }

    /// Whether the root is in the first two thirds of its life. A root whose life has not begun
    /// passes: a wrong clock must not make the operator throw away the trust of a namespace.
    ///
    /// # Errors
    /// [`Why::Expired`] or [`Why::Due`].
    pub fn check(&self, now: Timestamp) -> Result<(), Why> {
        check_age(&self.authority.0, now)
    }

    /// When [`Root::check`] starts to answer [`Why::Due`].
    #[must_use]
    pub fn renew_at(&self) -> Timestamp {
        renew_at(&self.authority.0)
    }

    /// The root without its key.
    #[must_use]
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Issues a leaf with a key made from the seed. Names may be of any length, end with a dot and
    /// hold underscores and `@`.
    ///
    /// # Errors
    /// [`Why::WrongNames`] if a name holds characters beyond ASCII, which no DNS name can.
    pub fn issue(
        &self,
        seed: &[u8; 32],
        common_name: &str,
        dns_names: &[String],
        now: Timestamp,
    ) -> Result<Issued, Why> {
        let mut stream = Stream::new(seed, "leaf");
        let key = x509::key_from(&mut stream);
        let not_before = earlier(now, BACKDATED);
        let contents = Contents {
            common_name,
            dns_names,
            not_before,
            not_after: later(not_before, LEAF_LIFE),
            key: key.verifying_key(),
            serial: x509::serial_from(&mut stream),
        };
        let built = x509::build_leaf(&contents, &self.authority.0, &self.key);
        issued(built.ok(), &key).ok_or(Why::WrongNames)
    }
}

/// A leaf as it was found in a Secret.
#[derive(Clone)]
pub struct Leaf {
    certificate: Certificate,
    key: SigningKey,
}

impl fmt::Debug for Leaf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Leaf").field(&self.certificate).finish()
    }
}

impl Leaf {
    /// Reads a leaf from the PEM texts of its Secret. The key may be SEC1 or PKCS#8.
    ///
    /// # Errors
    /// [`Why::Unreadable`].
    pub fn read(certificate: &str, key: &Sensitive) -> Result<Self, Why> {
        Ok(Self {
            certificate: x509::read(certificate).ok_or(Why::Unreadable)?,
            key: x509::read_key(key).ok_or(Why::Unreadable)?,
        })
    }

    /// Whether the leaf still serves.
    ///
    /// # Errors
    /// The first reason to replace it.
    pub fn check(
        &self,
        issuer: Issuer<'_>,
        common_name: &str,
        dns_names: &[String],
        now: Timestamp,
    ) -> Result<(), Why> {
        if !self.signed_by(issuer) {
            return Err(Why::OtherAuthority);
        }
        if x509::public_key(&self.certificate) != Some(*self.key.verifying_key()) {
            return Err(Why::KeyMismatch);
        }
        let name = x509::common_name(&self.certificate);
        let names = x509::dns_names(&self.certificate);
        if name.as_deref() != Some(common_name) || names.as_deref() != Some(dns_names) {
            return Err(Why::WrongNames);
        }
        check_age(&self.certificate, now)
    }

    /// The DNS names in it; none if there are none or they can't be read.
    #[must_use]
    pub fn dns_names(&self) -> Vec<String> {
        x509::dns_names(&self.certificate).unwrap_or_default()
    }

    /// Whether this authority issued the leaf, and the leaf is none itself.
    #[must_use]
    pub fn signed_by<'a>(&self, issuer: impl Into<Issuer<'a>>) -> bool {
        let issuer = issuer.into();
        let authority = match issuer {
            Issuer::Trusted(authority) => authority,
            Issuer::Own(root) => &root.authority,
        };
        let named = self.certificate.tbs_certificate().issuer();
        named == authority.0.tbs_certificate().subject()
            && !x509::is_authority(&self.certificate)
            && match issuer {
                Issuer::Trusted(authority) => authority
                    .key()
                    .is_some_and(|key| x509::signed_by(&self.certificate, Signer::Other(&key))),
                Issuer::Own(root) => x509::signed_by(&self.certificate, Signer::Own(&root.key)),
            }
    }

    /// When [`Leaf::check`] starts to answer [`Why::Due`].
    #[must_use]
    pub fn renew_at(&self) -> Timestamp {
        renew_at(&self.certificate)
    }

    /// When it ends.
    #[must_use]
    pub fn not_after(&self) -> Timestamp {
        x509::validity(&self.certificate).1
    }
}

fn issued(certificate: Option<Certificate>, key: &SigningKey) -> Option<Issued> {
    Some(Issued { certificate: x509::write(&certificate?)?, key: x509::write_key(key)? })
}

/// The end of the second third of a certificate's life.
fn renew_at(certificate: &Certificate) -> Timestamp {
    let (from, to) = x509::validity(certificate);
    earlier(to, to.duration_since(from) / 3)
}

fn check_age(certificate: &Certificate, now: Timestamp) -> Result<(), Why> {
    if now >= x509::validity(certificate).1 {
        Err(Why::Expired)
    } else if now >= renew_at(certificate) {
        Err(Why::Due)
    } else {
        Ok(())
    }
}

fn earlier(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.checked_sub(by).unwrap_or(Timestamp::MIN)
}

fn later(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.checked_add(by).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests;
