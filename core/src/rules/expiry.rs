//! Certificates of the user's own Secrets that come to their end: the condition `CustomTLSExpiring`, which is there only
//! while there is something to say. Renewing them is not ours; the operator's own renew themselves (`pki`).

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::crypto::pki::Authority;
use crate::kind::Kind;
use crate::object::time_text;
use crate::pass::Pass;
use crate::read::Read;
use crate::rules::status::{condition, remove};
use crate::rules::validate::key_of;

/// The condition's type.
pub const TYPE: &str = "CustomTLSExpiring";
/// So long before the end it is said at the earliest.
const AHEAD: SignedDuration = SignedDuration::from_hours(30 * 24);

/// A certificate, or the authority behind it, that ends.
struct End {
    at: Timestamp,
    /// From when on it is said: of a short life, a sixth is left. Who renews after two thirds, as cert-manager does, is
    /// never told.
    said_from: Timestamp,
    what: String,
}

/// Writes the condition, and wakes when the next certificate has to be spoken of.
pub fn tell(pass: &mut Pass<'_>) {
    let Some(mut ends) = ends(pass) else { return };
    let now = pass.context.now;
    ends.sort_by_key(|e| e.at);
    let next = ends.iter().flat_map(|e| [e.said_from, e.at]).filter(|at| *at > now).min();
    if let Some(next) = next {
        let seconds = u64::try_from(next.as_second() - now.as_second()).unwrap_or(0);
        pass.look_again(Duration::from_secs(seconds.max(1)));
    }
    ends.retain(|e| e.said_from <= now);
    let Some(first) = ends.first() else { return remove(pass, TYPE) };
    let reason = if first.at <= now { "Expired" } else { "ExpiresSoon" };
    let said: Vec<String> = ends
        .iter()
        .map(|e| {
            let verb = if e.at <= now { "ended" } else { "ends" };
            format!("{} {verb} at {}", e.what, time_text(e.at))
        })
        .collect();
    let text = format!("{}: renew it; new content is loaded without a restart", said.join("; "));
    condition(pass, TYPE, Some(true), reason, &text);
}

/// All that can end; none when a Secret could not be read.
fn ends(pass: &Pass<'_>) -> Option<Vec<End>> {
    let spec = &pass.cluster.spec;
    let mut all = Vec::new();
    for projection in
        [&spec.custom_tls_secret, &spec.custom_replication_tls_secret].into_iter().flatten()
    {
        let name = &projection.name;
        let secret = match pass.observed.one(Kind::Secret, name) {
            Read::Unknown(_) => return None,
            Read::Absent => continue,
            Read::Known(secret) => secret,
        };
        let certificates = |path: &str| {
            let text = key_of(projection, path).and_then(|key| secret.data(key));
            text.and_then(|t| t.expose_text().map(Authority::list)).unwrap_or_default()
        };
        let leaf = certificates("tls.crt").into_iter().next();
        // Of several authorities the last that ends decides: the others may be those of before.
        let authority = certificates("ca.crt").into_iter().max_by_key(Authority::not_after);
        for (certificate, path) in [(leaf, "tls.crt"), (authority, "ca.crt")] {
            let Some((begin, at)) = certificate.map(|c| c.validity()) else { continue };
            let life = at.duration_since(begin);
            let what = format!("the certificate for {path} in Secret {name}");
            all.push(End { at, said_from: at - AHEAD.min(life / 6), what });
        }
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde_json::json;

    use super::*;
    use crate::crypto::pki::Root;
    use crate::object::Object;
    use crate::test_support::{NAMESPACE, World};

    /// A cluster with Secrets of the user's own, and the day on which its leaves end.
    fn world() -> (World, Timestamp) {
        let mut world = World::settled(1);
        let issued = Root::generate(&[9; 32], world.now);
        let root = Root::read(&issued.certificate, &issued.key).expect("a root");
        let leaf = root.issue(&[3; 32], "x", &["x".to_owned()], world.now).expect("a leaf");
        let end = Authority::list(&leaf.certificate)[0].not_after();
        for name in ["server", "client"] {
            let secret = Object::new(Kind::Secret, NAMESPACE, name).with(
                "data",
                json!({
                    "tls.crt": STANDARD.encode(&leaf.certificate),
                    "tls.key": STANDARD.encode(leaf.key.expose()),
                    "ca.crt": STANDARD.encode(&issued.certificate),
                }),
            );
            world.put(secret);
        }
        world.edit(|s| {
            s["customTLSSecret"] = json!({"name": "server"});
            s["customReplicationTLSSecret"] = json!({"name": "client"});
        });
        world.settle();
        (world, end)
    }

    #[test]
    fn the_end_of_a_users_certificate_is_told_thirty_days_ahead_and_when_it_has_come() {
        let (mut world, end) = world();
        let days = |n: i64| SignedDuration::from_hours(24 * n);
        for (ahead, told) in [
            (days(200), None),
            (days(31), None),
            (days(29), Some(("True", "ExpiresSoon"))),
            (days(-1), Some(("True", "Expired"))),
        ] {
            world.now = end - ahead;
            world.settle();
            let told = told.map(|(status, reason)| (status.to_owned(), reason.to_owned()));
            assert_eq!(world.condition(TYPE), told, "{ahead:?} before the end");
            let said = world.cluster().condition(TYPE).map(|c| c["message"].to_string());
            let will_end = said.map(|text| text.contains(" ends at "));
            assert_eq!(will_end, told.map(|told| told.1 == "ExpiresSoon"));
            if ahead == days(31) {
                world.now = end - days(30);
                let texts = crate::test_support::texts(&world.plan()).join("\n");
                assert!(texts.contains("ExpiresSoon"), "to the second: {texts}");
            }
        }
        let reasons: Vec<String> = world
            .all(Kind::Event)
            .iter()
            .filter(|e| e.str_at(&["type"]) == Some("Warning"))
            .filter_map(|e| e.str_at(&["reason"]).map(str::to_owned))
            .filter(|r| r.starts_with("Expire"))
            .collect();
        assert_eq!(reasons.len(), 2, "{reasons:?}");
        world.edit(|s| {
            s["customTLSSecret"] = json!(null);
            s["customReplicationTLSSecret"] = json!(null);
        });
        world.settle();
        assert_eq!(world.condition(TYPE), None);
    }

    #[test]
    fn a_secret_that_can_not_be_read_takes_no_warning_back() {
        let (mut world, end) = world();
        world.now = end - SignedDuration::from_hours(24);
        world.settle();
        let told = world.condition(TYPE);
        assert!(told.is_some());
        world.unknown.insert(crate::read::ReadKey::One {
            kind: Kind::Secret,
            namespace: NAMESPACE.into(),
            name: "client".into(),
        });
        world.edit(|s| s["customTLSSecret"] = json!({"name": "client"}));
        (0..3).for_each(|_| {
            world.round();
        });
        assert_eq!(world.condition(TYPE), told);
    }
}
