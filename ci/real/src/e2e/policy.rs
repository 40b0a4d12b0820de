//! The fault `refuse` on a real cluster: a ValidatingAdmissionPolicy that denies what creates or changes objects of one
//! kind, wherever they are. A quota or a webhook answers the same way (403).

use std::time::Duration;

use ivory_core::Kind;
use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
};
use kube::api::{Api, DeleteParams, PostParams};
use serde_json::json;

const NAME: &str = "ivory-e2e-refuses";
/// The API server hears of a policy a moment after it was made.
const TAKES_EFFECT: Duration = Duration::from_secs(3);

/// Refuses objects of a kind, and takes that back after so long.
///
/// # Errors
/// When the API server does not take the policy.
pub(crate) async fn refuse(
    client: &kube::Client,
    kind: Kind,
    updates: bool,
    because: &str,
    how_long: Duration,
) -> anyhow::Result<()> {
    end(client).await?;
    let operations = if updates { json!(["CREATE", "UPDATE"]) } else { json!(["CREATE"]) };
    let policy = serde_json::from_value(json!({
        "metadata": {"name": NAME},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {"resourceRules": [{
                "apiGroups": [kind.group()],
                "apiVersions": ["*"],
                "operations": operations,
                "resources": [kind.plural()],
            }]},
            "validations": [{"expression": "false", "message": because, "reason": "Forbidden"}],
        },
    }))?;
    let binding = serde_json::from_value(json!({
        "metadata": {"name": NAME},
        "spec": {"policyName": NAME, "validationActions": ["Deny"]},
    }))?;
    let params = PostParams::default();
    Api::<ValidatingAdmissionPolicy>::all(client.clone()).create(&params, &policy).await?;
    Api::<ValidatingAdmissionPolicyBinding>::all(client.clone()).create(&params, &binding).await?;
    tokio::time::sleep(TAKES_EFFECT).await;
    let client = client.clone();
    tokio::spawn(async move {
        tokio::time::sleep(how_long).await;
        if let Err(error) = end(&client).await {
            eprintln!("the policy {NAME} is still there: {error:#}");
        }
    });
    Ok(())
}

/// Takes it back, or what a run left that was stopped.
///
/// # Errors
/// When the API server does not let it go.
pub(crate) async fn end(client: &kube::Client) -> anyhow::Result<()> {
    let params = DeleteParams::default();
    let gone = |result: Result<(), kube::Error>| match result {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        other => other,
    };
    let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(client.clone());
    gone(bindings.delete(NAME, &params).await.map(|_| ()))?;
    let policies: Api<ValidatingAdmissionPolicy> = Api::all(client.clone());
    gone(policies.delete(NAME, &params).await.map(|_| ()))?;
    Ok(())
}
