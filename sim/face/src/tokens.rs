//! Bearer tokens: who holds one, and for how long it is good. A token of a ServiceAccount dies with that life of the
//! account, and one that is bound to a Pod with that life of the Pod (Kubernetes, "Managing Service Accounts").

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use ivory_core::object::Uid;
use ivory_core::{Kind, Sensitive};
use ivory_sim::kube::ApiServer;

/// Whom a token names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Holder {
    /// Somebody who may do everything.
    Admin,
    /// A ServiceAccount.
    Account {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// The Pod in whose volume the token lies; none for a token that is bound to nothing.
        pod: Option<String>,
    },
}

impl Holder {
    /// The user's name, as the API server says it.
    #[must_use]
    pub fn user(&self) -> String {
        match self {
            Self::Admin => "kubernetes-admin".to_owned(),
            Self::Account { namespace, name, .. } => {
                format!("system:serviceaccount:{namespace}:{name}")
            }
        }
    }

    /// The name in records and rules of faults: the Pod's, else the account's.
    #[must_use]
    pub fn short(&self) -> &str {
        match self {
            Self::Admin => "admin",
            Self::Account { pod: Some(pod), .. } => pod,
            Self::Account { name, .. } => name,
        }
    }

    /// The lives that a token of this holder depends on, as they are now; `None` if one is missing.
    fn lives(&self, api: &ApiServer) -> Option<Vec<Uid>> {
        let Self::Account { namespace, name, pod } = self else {
            return Some(Vec::new());
        };
        let account = api.get(Kind::ServiceAccount, namespace, name)?;
        let mut lives = vec![account.meta.uid.clone()];
        if let Some(pod) = pod {
            lives.push(api.get(Kind::Pod, namespace, pod)?.meta.uid.clone());
        }
        Some(lives)
    }
}

/// All tokens that were given out.
#[derive(Default)]
pub struct Tokens(Mutex<BTreeMap<String, (Holder, Vec<Uid>)>>);

impl Tokens {
    /// Makes a token for somebody.
    ///
    /// # Errors
    /// If the account or the Pod is not there, or the machine gives no random bytes.
    pub fn issue(&self, api: &ApiServer, holder: Holder) -> anyhow::Result<Sensitive> {
        let lives = holder
            .lives(api)
            .ok_or_else(|| anyhow::anyhow!("{} or its Pod is not there", holder.user()))?;
        let mut bytes = [0; 24];
        getrandom::fill(&mut bytes).map_err(|error| anyhow::anyhow!("no random bytes: {error}"))?;
        let token: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
        let secret = Sensitive::text(token.as_str());
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(token, (holder, lives));
        Ok(secret)
    }

    /// Whom the header `Authorization` names, if its token is good.
    #[must_use]
    pub fn holder(&self, api: &ApiServer, authorization: Option<&str>) -> Option<Holder> {
        let token = authorization?.strip_prefix("Bearer ")?.trim();
        let tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (holder, lives) = tokens.get(token)?;
        (holder.lives(api).as_ref() == Some(lives)).then(|| holder.clone())
    }
}
