//! Tokens of Pods. They name the life of a service account and are bound to a Pod; what the kubelet keeps in a Pod is
//! replaced when four fifths of its hour are over (Kubernetes, "Managing Service Accounts"; measured on 1.34: a
//! deleted account makes running clients get 401 although it was made anew).

use ivory_core::Kind;
use jiff::Timestamp;

use super::store::ApiServer;

/// So old a token grows in a Pod.
const REFRESH_S: i64 = 2880;
/// So long an API server remembers at most that a token was good (`TokenSuccessCacheTTL`). Whoever asks all the time is
/// refused so much later: measured on 1.34, a replica still took the lead 2.6 s after its account was deleted.
const REMEMBERED_S: i64 = 10;

impl ApiServer {
    /// Whether the token that is in a Pod now is still good.
    pub(crate) fn token_lives(&self, now: Timestamp, namespace: &str, pod: &str) -> bool {
        if !self.service_accounts {
            return true;
        }
        let Some(pod) = self.get(Kind::Pod, namespace, pod) else { return false };
        let account = pod.str_at(&["spec", "serviceAccountName"]).unwrap_or("default");
        let account = self.get(Kind::ServiceAccount, namespace, account);
        let (Some(account), Some(from)) = (account, pod.meta.created_at) else { return false };
        let age_s = now.as_second() - from.as_second();
        let made_s = from.as_second() + age_s - age_s.rem_euclid(REFRESH_S);
        // An account that was deleted is made anew at once.
        let remembered = |at: Timestamp| now.as_second() < at.as_second() + REMEMBERED_S;
        account.meta.created_at.is_none_or(|at| at.as_second() <= made_s || remembered(at))
    }
}
