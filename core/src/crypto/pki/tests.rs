//! Authorities and leaves: issuing, reading back, and every reason not to keep one.

use super::*;
use x509_cert::ext::pkix::AuthorityKeyIdentifier;

const NOW: Timestamp = Timestamp::constant(1_790_000_000, 0);

fn root(n: u8) -> (Issued, Root) {
    let issued = Root::generate(&[n; 32], NOW);
    let root = Root::read(&issued.certificate, &issued.key).expect("a new root is readable");
    (issued, root)
}

fn names() -> Vec<String> {
    crate::names::dns_names(
        "hippo-primary",
        "a-namespace-of-some-length-to-exceed-sixty-four",
        "cluster.local.",
    )
}

fn days(n: i64) -> Timestamp {
    later(NOW, SignedDuration::from_hours(24 * n))
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    assert_eq!(root(1).0, root(1).0);
    assert_ne!(root(1).0, root(2).0);
    let leaf = |n| root(1).1.issue(&[n; 32], "_ivoryrepl", &[], NOW).expect("issued");
    assert_eq!(leaf(3), leaf(3));
    assert_ne!(leaf(3), leaf(4));
}

#[test]
fn a_leaf_is_checked_for_every_reason() {
    let ((_, ca), (_, other)) = (root(1), root(2));
    let cn = &names()[0];
    assert!(cn.len() > 64 && cn.ends_with('.'));
    let made = ca.issue(&[9; 32], cn, &names(), NOW).expect("issued");
    assert!(made.key.expose().starts_with(b"-----BEGIN EC PRIVATE KEY-----\n"));
    let leaf = Leaf::read(&made.certificate, &made.key).expect("readable");
    let reversed: Vec<String> = names().into_iter().rev().collect();
    let check = |ca: &Root, cn: &str, sans: &[String], now| {
        let own = leaf.check(ca.into(), cn, sans, now);
        assert_eq!(leaf.check(ca.authority().into(), cn, sans, now), own);
        own
    };

    assert_eq!(check(&ca, cn, &names(), NOW), Ok(()));
    assert_eq!(check(&other, cn, &names(), NOW), Err(Why::OtherAuthority));
    assert_eq!(check(&ca, "other", &names(), NOW), Err(Why::WrongNames));
    assert_eq!(check(&ca, cn, &reversed, NOW), Err(Why::WrongNames));
    assert_eq!(check(&ca, cn, &names()[..3], NOW), Err(Why::WrongNames));
    assert_eq!(check(&ca, cn, &names(), days(243)), Ok(()));
    assert_eq!(check(&ca, cn, &names(), leaf.renew_at()), Err(Why::Due));
    assert_eq!(check(&ca, cn, &names(), days(244)), Err(Why::Due));
    assert_eq!(check(&ca, cn, &names(), leaf.not_after()), Err(Why::Expired));
    // A clock that went back is no reason to throw a certificate away.
    assert_eq!(check(&ca, cn, &names(), days(-30)), Ok(()));

    let stranger = ca.issue(&[8; 32], cn, &names(), NOW).expect("issued");
    let mixed = Leaf::read(&made.certificate, &stranger.key).expect("readable");
    assert_eq!(mixed.check((&ca).into(), cn, &names(), NOW), Err(Why::KeyMismatch));
    for (certificate, key) in [("", made.key.clone()), (&made.certificate, Sensitive::text("x"))] {
        assert_eq!(Leaf::read(certificate, &key).err(), Some(Why::Unreadable));
    }
    // The same key under another name: verifiers would not find the issuer.
    let contents = Contents {
        common_name: "other",
        dns_names: &[],
        not_before: NOW,
        not_after: days(1),
        key: ca.key.verifying_key(),
        serial: [1; 16],
    };
    let renamed = x509::build_authority(&contents, &ca.key).expect("built");
    assert!(!leaf.signed_by(&Authority(renamed)));
    // A root under a leaf's name is still no leaf.
    let (issued, _) = root(1);
    let leaf = Leaf::read(&issued.certificate, &issued.key).expect("readable");
    assert_eq!(leaf.check((&ca).into(), ROOT_NAME, &[], NOW), Err(Why::OtherAuthority));
}

/// With the private key at hand a signature is verified by another formula; whatever is wrong, it says the same.
#[test]
fn own_signatures_are_verified_as_strictly_as_those_of_others() {
    use der::{Decode as _, Encode as _};
    let ((_, ca), (_, other)) = (root(1), root(2));
    let made = ca.issue(&[9; 32], "x", &["x".into()], NOW).expect("issued");
    let leaf = Leaf::read(&made.certificate, &made.key).expect("readable");
    let bytes = leaf.certificate.to_der().expect("written");
    let verdict = |bytes: &[u8], ca: &Root| {
        let certificate = Certificate::from_der(bytes).ok()?;
        let leaf = Leaf { certificate, key: leaf.key.clone() };
        let own = leaf.signed_by(ca);
        assert_eq!(leaf.signed_by(ca.authority()), own);
        Some(own)
    };
    assert_eq!(verdict(&bytes, &ca), Some(true));
    assert_eq!(verdict(&bytes, &other), Some(false));
    let mut readable = 0;
    let unused = bytes.len() - leaf.certificate.signature().raw_bytes().len() - 1;
    for at in 0..bytes.len() {
        let mut bytes = bytes.clone();
        bytes[at] ^= 1;
        if let Some(right) = verdict(&bytes, &ca) {
            readable += 1;
            // Nobody looks at how many bits of the signature's last byte are unused.
            assert!(!right || at == unused, "byte {at} of {} may change", bytes.len());
        }
    }
    assert!(readable > bytes.len() / 2, "{readable} of {}", bytes.len());
}

#[test]
fn a_private_key_must_agree_with_the_public_key_beside_it() {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let pem = |bytes: &[u8]| {
        let text = STANDARD.encode(bytes).into_bytes();
        let lines = text.chunks(64).map(|line| String::from_utf8_lossy(line).into_owned());
        let text = lines.collect::<Vec<_>>().join("\n");
        Sensitive::text(&format!(
            "-----BEGIN EC PRIVATE KEY-----\n{text}\n-----END EC PRIVATE KEY-----\n"
        ))
    };
    let made = root(1).1.issue(&[9; 32], "x", &[], NOW).expect("issued");
    let text = made.key.expose_text().expect("text");
    let text: String = text.lines().filter(|l| !l.starts_with('-')).collect();
    let bytes = STANDARD.decode(text).expect("base64");
    // SEQUENCE, version, the key at 7, the curve's name, the public key up to the end.
    let key = x509::read_key(&pem(&bytes)).expect("readable");
    assert_eq!(key.to_bytes()[..], bytes[7..39]);
    for at in [4, 8, 40, 50, 55, 60, bytes.len() - 1] {
        let mut bytes = bytes.clone();
        bytes[at] ^= 1;
        assert!(x509::read_key(&pem(&bytes)).is_none(), "byte {at} of {}", bytes.len());
    }
    let bare = [&[0x30, 37][..], &bytes[2..39]].concat();
    assert_eq!(x509::read_key(&pem(&bare)).map(|k| k.to_bytes()), Some(key.to_bytes()));
    assert!(x509::read_key(&pem(&[&bytes[..], b"x"].concat())).is_none());
}

#[test]
fn a_root_is_checked_for_every_reason() {
    let (issued, ca) = root(1);
    assert_eq!(ca.check(days(-400)), Ok(()));
    assert_eq!(ca.check(days(2433)), Ok(()));
    assert_eq!(ca.check(ca.renew_at()), Err(Why::Due));
    assert_eq!(ca.check(days(3650)), Err(Why::Expired));
    let read = |certificate: &str, key: &Sensitive| Root::read(certificate, key).err();
    assert_eq!(read("", &issued.key), Some(Why::Unreadable));
    assert_eq!(read(&issued.certificate, &Sensitive::text("")), Some(Why::Unreadable));
    assert_eq!(read(&issued.certificate, &root(2).0.key), Some(Why::KeyMismatch));
    let leaf = ca.issue(&[3; 32], "x", &[], NOW).expect("issued");
    assert_eq!(read(&leaf.certificate, &leaf.key), Some(Why::NotAnAuthority));
}

#[test]
fn a_bundle_holds_each_authority_once_in_order() {
    let ((a, old), (b, new)) = (root(1), root(2));
    let bundle = Authority::bundle([new.authority(), old.authority(), new.authority()]);
    assert_eq!(bundle, format!("{}{}", b.certificate, a.certificate));
    let list = Authority::list(&format!("# a comment\n{bundle}\n-----BEGIN CERTIFICATE-----"));
    assert_eq!(list, [new.authority().clone(), old.authority().clone()]);
    assert!(list[0].not_after() > days(3649));
    // A leaf of the old root is told from one of the new root in the bundle.
    let made = old.issue(&[5; 32], "x", &["x".into()], NOW).expect("issued");
    let leaf = Leaf::read(&made.certificate, &made.key).expect("readable");
    assert!(!leaf.signed_by(&list[0]) && leaf.signed_by(&list[1]));
    // Two bundles go together if some authority is in both.
    assert!(Authority::shared(&bundle, &a.certificate));
    assert!(!Authority::shared(&b.certificate, &a.certificate));
    assert!(!Authority::shared("", ""));
}

/// Written with openssl 3.0: a SHA-384 root as the Go operator makes, a leaf with a PKCS#8 key.
#[test]
fn certificates_of_other_tools_are_read() {
    let ca = include_str!("testdata/ca.crt");
    let root = Root::read(ca, &Sensitive::text(include_str!("testdata/ca.key"))).expect("root");
    let leaf = Leaf::read(
        include_str!("testdata/leaf.crt"),
        &Sensitive::text(include_str!("testdata/leaf.key")),
    )
    .expect("leaf");
    let sans = ["a.b.svc.cluster.local.".to_owned(), "a_b".to_owned()];
    let at: Timestamp = leaf.renew_at() - SignedDuration::from_hours(1);
    assert_eq!(leaf.check((&root).into(), "a.b.svc.cluster.local.", &sans, at), Ok(()));
    // Our leaves carry the root's own key identifier, whatever rule it was made by; verifiers look
    // for the issuer by it.
    let made = root.issue(&[1; 32], "x", &[], NOW).expect("issued");
    let ours = Leaf::read(&made.certificate, &made.key).expect("readable");
    assert_eq!(ours.check((&root).into(), "x", &[], NOW), Ok(()));
    let extension = ours.certificate.tbs_certificate().get_extension();
    let id: Option<(bool, AuthorityKeyIdentifier)> = extension.expect("readable");
    let id = id.and_then(|(_, id)| id.key_identifier).expect("there");
    assert_eq!(id.as_bytes(), [1, 2, 3, 4]);
}

#[test]
fn private_keys_are_not_shown() {
    let (issued, root) = root(1);
    let made = root.issue(&[1; 32], "x", &[], NOW).expect("issued");
    let leaf = Leaf::read(&made.certificate, &made.key).expect("readable");
    let shown = format!("{issued:?} {root:?} {made:?} {leaf:?}");
    assert!(!shown.contains("PRIVATE") && !shown.contains("SigningKey"));
}
