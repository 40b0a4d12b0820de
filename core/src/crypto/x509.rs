//! Certificates as bytes: builds, reads and verifies them with ECDSA over P-256. Who gets one, for
//! how long and when it is renewed stands in `pki`.

use der::asn1::{
    Any, BitStringRef, ContextSpecific, GeneralizedTime, Ia5String, ObjectIdentifier,
    OctetStringRef, Utf8StringRef,
};
use der::{Decode as _, DecodePem as _, Encode as _, EncodePem as _, Reader as _};
use der::{SliceReader, TagNumber, pem::LineEnding};
use jiff::Timestamp;
use p256::ecdsa::signature::hazmat::PrehashVerifier as _;
use p256::ecdsa::{DerSignature, Signature, SigningKey, VerifyingKey};
use p256::elliptic_curve::group::Group as _;
use p256::elliptic_curve::ops::{Invert as _, Reduce as _};
use p256::elliptic_curve::point::AffineCoordinates as _;
use p256::{FieldBytes, ProjectivePoint, Scalar};
use sha2::{Digest as _, Sha256, Sha384};
use x509_cert::attr::AttributeTypeAndValue;
use x509_cert::builder::profile::BuilderProfile;
use x509_cert::builder::{Builder as _, CertificateBuilder};
use x509_cert::certificate::{Certificate, TbsCertificate};
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{
    AuthorityKeyIdentifier, BasicConstraints, KeyUsage, KeyUsages, SubjectAltName,
    SubjectKeyIdentifier,
};
use x509_cert::ext::{Extension, ToExtension as _};
use x509_cert::name::{Name, RdnSequence, RelativeDistinguishedName};
use x509_cert::serial_number::SerialNumber;
use x509_cert::spki::{SubjectPublicKeyInfoOwned, SubjectPublicKeyInfoRef};
use x509_cert::time::{Time, Validity};

use super::expand::Stream;
use super::pem;
use crate::sensitive::Sensitive;

/// The error of building: it can only come from names that no certificate can hold.
pub(super) type Built = Result<Certificate, x509_cert::builder::Error>;

/// What a certificate says.
pub(super) struct Contents<'a> {
    pub(super) common_name: &'a str,
    /// DNS names, in order; none for an authority.
    pub(super) dns_names: &'a [String],
    pub(super) not_before: Timestamp,
    pub(super) not_after: Timestamp,
    pub(super) key: &'a VerifyingKey,
    pub(super) serial: [u8; 16],
}

/// A private key made from a seed. About one seed in 2^32 gives a number outside the curve's order;
/// then the stream's next bytes are taken.
pub(super) fn key_from(stream: &mut Stream) -> SigningKey {
    loop {
        if let Ok(key) = SigningKey::from_slice(&stream.array::<32>()) {
            return key;
        }
    }
}

/// 128 random bits as a positive serial number of fixed length.
pub(super) fn serial_from(stream: &mut Stream) -> [u8; 16] {
    let mut serial = stream.array::<16>();
    serial[0] = serial[0] & 0x7f | 0x40;
    serial
}

/// Builds a certificate that signs itself and others.
pub(super) fn build_authority(contents: &Contents<'_>, key: &SigningKey) -> Built {
    build(contents, None, key)
}

/// Builds a certificate that is issued by an authority.
pub(super) fn build_leaf(contents: &Contents<'_>, issuer: &Certificate, key: &SigningKey) -> Built {
    build(contents, Some(issuer), key)
}

fn build(contents: &Contents<'_>, issuer: Option<&Certificate>, key: &SigningKey) -> Built {
    let names = contents.dns_names.iter();
    let profile = Profile {
        subject: name(contents.common_name)?,
        issuer: issuer.map(|c| c.tbs_certificate().subject().clone()),
        issuer_key_id: issuer.and_then(key_id),
        names: names
            .map(|n| Ia5String::new(n).map(GeneralName::DnsName))
            .collect::<Result<_, _>>()?,
    };
    CertificateBuilder::new(
        profile,
        SerialNumber::new(&contents.serial)?,
        Validity::new(time(contents.not_before)?, time(contents.not_after)?),
        SubjectPublicKeyInfoOwned::from_key(contents.key)?,
    )?
    .build::<_, DerSignature>(key)
}

/// A distinguished name with nothing but a common name. It is assembled as DER, because the textual
/// constructor enforces limits (64 characters) that long DNS names break and nobody checks.
fn name(common_name: &str) -> der::Result<Name> {
    let attribute = AttributeTypeAndValue {
        oid: const_oid::db::rfc4519::COMMON_NAME,
        value: Any::from(Utf8StringRef::new(common_name)?),
    };
    let rdn = RelativeDistinguishedName::try_from(vec![attribute])?;
    Name::from_der(&RdnSequence::from(vec![rdn]).to_der()?)
}

fn time(at: Timestamp) -> der::Result<Time> {
    let seconds = u64::try_from(at.as_second()).unwrap_or(0);
    GeneralizedTime::from_unix_duration(std::time::Duration::from_secs(seconds))
        .map(Time::GeneralTime)
}

struct Profile {
    subject: Name,
    /// None for a certificate that signs itself.
    issuer: Option<Name>,
    issuer_key_id: Option<Vec<u8>>,
    names: Vec<GeneralName>,
}

impl BuilderProfile for Profile {
    fn get_issuer(&self, subject: &Name) -> Name {
        self.issuer.clone().unwrap_or_else(|| subject.clone())
    }

    fn get_subject(&self) -> Name {
        self.subject.clone()
    }

    fn build_extensions(
        &self,
        key: SubjectPublicKeyInfoRef<'_>,
        issuer_key: SubjectPublicKeyInfoRef<'_>,
        tbs: &TbsCertificate,
    ) -> x509_cert::builder::Result<Vec<Extension>> {
        let subject = tbs.subject();
        let authority = self.issuer.is_none();
        let usage = if authority {
            KeyUsages::KeyCertSign | KeyUsages::CRLSign
        } else {
            KeyUsages::DigitalSignature | KeyUsages::KeyEncipherment
        };
        let constraints =
            BasicConstraints { ca: authority, path_len_constraint: authority.then_some(0) };
        let mut list = vec![
            KeyUsage(usage).to_extension(subject, &[])?,
            constraints.to_extension(subject, &[])?,
        ];
        if authority {
            list.push(SubjectKeyIdentifier::try_from(key)?.to_extension(subject, &[])?);
        } else {
            // The issuer's own identifier is repeated, whatever rule it was made by.
            let mut id = AuthorityKeyIdentifier::try_from(issuer_key)?;
            if let Some(bytes) = &self.issuer_key_id {
                id.key_identifier = Some(der::asn1::OctetString::new(bytes.as_slice())?);
            }
            list.push(id.to_extension(subject, &[])?);
        }
        if !self.names.is_empty() {
            list.push(SubjectAltName(self.names.clone()).to_extension(subject, &[])?);
        }
        Ok(list)
    }
}

/// The first certificate in a text.
pub(super) fn read(text: &str) -> Option<Certificate> {
    read_all(text).into_iter().next()
}

/// Every readable certificate in a text.
pub(super) fn read_all(text: &str) -> Vec<Certificate> {
    let blocks = pem::blocks(text).into_iter();
    blocks
        .filter(|b| b.label == "CERTIFICATE")
        .filter_map(|b| Certificate::from_pem(b.text).ok())
        .collect()
}

/// The PEM text of a certificate.
pub(super) fn write(certificate: &Certificate) -> Option<String> {
    certificate.to_pem(LineEnding::LF).ok()
}

/// The first private key in a text, as SEC1 (`EC PRIVATE KEY`) or PKCS#8 (`PRIVATE KEY`).
pub(super) fn read_key(text: &Sensitive) -> Option<SigningKey> {
    let blocks = pem::blocks(text.expose_text()?).into_iter();
    let mut keys = blocks.filter(|b| b.label == SEC1 || b.label == "PRIVATE KEY");
    let block = keys.next()?;
    if block.label == SEC1 {
        let (_, bytes) = der::pem::decode_vec(block.text.as_bytes()).ok()?;
        return sec1_key(&bytes);
    }
    p256::SecretKey::from_pem(block.text).ok().map(SigningKey::from)
}

const SEC1: &str = "EC PRIVATE KEY";

/// A key as RFC 5915 writes it, whose public key must be its own if it is there. The same is in [`p256`], but
/// there the public key, which costs more than everything else here, is computed once for the comparison and
/// once more for the result.
fn sec1_key(bytes: &[u8]) -> Option<SigningKey> {
    let mut reader = SliceReader::new(bytes).ok()?;
    let (key, curve, public) = reader
        .sequence(|fields| -> der::Result<_> {
            let version = u8::decode(fields)?;
            let key = <&OctetStringRef>::decode(fields)?;
            let curve = ContextSpecific::<ObjectIdentifier>::decode_explicit(fields, TagNumber(0))?;
            let public =
                ContextSpecific::<BitStringRef<'_>>::decode_explicit(fields, TagNumber(1))?;
            Ok(((version == 1).then_some(key), curve, public))
        })
        .ok()?;
    reader.finish().ok()?;
    if curve.is_some_and(|c| c.value != const_oid::db::rfc5912::SECP_256_R_1) {
        return None;
    }
    let key = SigningKey::from_slice(key?.as_bytes()).ok()?;
    if let Some(public) = public {
        let public = public.value.as_bytes()?;
        let compressed = public.len() < 64;
        if key.verifying_key().to_sec1_point(compressed).as_bytes() != public {
            return None;
        }
    }
    Some(key)
}

/// The PEM text of a private key, as SEC1, which the Go operator can read too.
pub(super) fn write_key(key: &SigningKey) -> Option<Sensitive> {
    let secret = p256::SecretKey::from(key.as_nonzero_scalar());
    let text = secret.to_sec1_pem(LineEnding::LF).ok()?;
    Some(Sensitive::text(&text))
}

/// The public key, if it is one of ours (P-256).
pub(super) fn public_key(certificate: &Certificate) -> Option<VerifyingKey> {
    let info = certificate.tbs_certificate().subject_public_key_info();
    let bytes = info.subject_public_key.as_bytes()?;
    (info.algorithm.oid == const_oid::db::rfc5912::ID_EC_PUBLIC_KEY)
        .then(|| VerifyingKey::from_sec1_bytes(bytes).ok())
        .flatten()
}

/// Whose signature is looked for.
#[derive(Clone, Copy)]
pub(super) enum Signer<'a> {
    /// Somebody of whom the public key is known.
    Other(&'a VerifyingKey),
    /// We ourselves: the private key is known too.
    Own(&'a SigningKey),
}

/// Whether `key` signed the certificate, with SHA-256 (ours) or SHA-384 (the Go operator's).
pub(super) fn signed_by(certificate: &Certificate, key: Signer<'_>) -> bool {
    use const_oid::db::rfc5912::{ECDSA_WITH_SHA_256, ECDSA_WITH_SHA_384};
    let Ok(signed) = certificate.tbs_certificate().to_der() else {
        return false;
    };
    let digest = match certificate.signature_algorithm().oid {
        ECDSA_WITH_SHA_256 => Sha256::digest(&signed).to_vec(),
        ECDSA_WITH_SHA_384 => Sha384::digest(&signed).to_vec(),
        _ => return false,
    };
    let signature = DerSignature::from_bytes(certificate.signature().raw_bytes());
    let Ok(signature) = signature.and_then(Signature::try_from) else {
        return false;
    };
    match key {
        Signer::Other(key) => key.verify_prehash(&digest, &signature).is_ok(),
        Signer::Own(key) => own_signature(key, &digest, &signature),
    }
}

/// What ECDSA verifies, of a signature by a key that we have: r is the x-coordinate of u₁G + u₂Q with u₁ = z/s,
/// u₂ = r/s. Since Q = dG, that point is ((z + rd)/s)G: one multiplication by the generator, for which there are
/// tables, in place of one by a point for which there are none. The factor is the signature's secret nonce when
/// the signature is right, so nothing that depends on it runs in variable time.
fn own_signature(key: &SigningKey, digest: &[u8], signature: &Signature) -> bool {
    // The leftmost bits of a longer digest count, as in FIPS 186-5 §6.4.2.
    let Some(z) = digest.get(..32).and_then(|d| FieldBytes::try_from(d).ok()) else {
        return false;
    };
    let z = Scalar::reduce(&z);
    let (r, s) = signature.split_scalars();
    let factor = (z + *r * key.as_nonzero_scalar().as_ref()) * *s.invert_vartime();
    let x = ProjectivePoint::mul_by_generator(&factor).to_affine().x();
    *r == Scalar::reduce(&x)
}

/// Whether the certificate may issue others.
pub(super) fn is_authority(certificate: &Certificate) -> bool {
    let constraints = certificate.tbs_certificate().get_extension::<BasicConstraints>();
    matches!(constraints, Ok(Some((_, c))) if c.ca)
}

/// The subject key identifier, if there is one.
pub(super) fn key_id(certificate: &Certificate) -> Option<Vec<u8>> {
    let id = certificate.tbs_certificate().get_extension::<SubjectKeyIdentifier>();
    id.ok()?.map(|(_, id)| id.0.as_bytes().to_vec())
}

/// The common name, if there is one and it is text.
pub(super) fn common_name(certificate: &Certificate) -> Option<String> {
    let subject = certificate.tbs_certificate().subject();
    let found = subject.iter().find(|a| a.oid == const_oid::db::rfc4519::COMMON_NAME)?;
    String::from_utf8(found.value.value().to_vec()).ok()
}

/// The DNS names, in order. None if there are names of other kinds.
pub(super) fn dns_names(certificate: &Certificate) -> Option<Vec<String>> {
    let names = certificate.tbs_certificate().get_extension::<SubjectAltName>();
    let Some((_, names)) = names.ok()? else {
        return Some(Vec::new());
    };
    let texts = names.0.iter().map(|name| match name {
        GeneralName::DnsName(text) => Some(text.to_string()),
        _ => None,
    });
    texts.collect()
}

/// First and last moment of validity.
pub(super) fn validity(certificate: &Certificate) -> (Timestamp, Timestamp) {
    let validity = certificate.tbs_certificate().validity();
    let at = |time: Time| {
        let seconds = i64::try_from(time.to_unix_duration().as_secs()).unwrap_or(i64::MAX);
        Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX)
    };
    (at(validity.not_before), at(validity.not_after))
}
