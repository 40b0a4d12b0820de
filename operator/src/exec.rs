//! Commands in containers, over a WebSocket through the API server.

use ivory_core::Kind;
use ivory_core::command::Command;
use ivory_core::grants::Grant;
use ivory_core::read::{Output, Target};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use kube::Client;
use kube::api::{Api, AttachParams};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};

use crate::fault::{Fault, FaultKind};
use crate::wire::Wire;

/// A program that says more is cut off here; `pgbackrest info` of years of backups stays below 1 MB.
const OUTPUT_MAX_BYTES: u64 = 8 << 20;

/// Runs a command to its end; the caller limits the time. `needs` is what the API server may find missing.
///
/// # Errors
/// As the request fails. A program that ran is no failure, whatever its exit status.
pub async fn run(
    client: Client,
    target: &Target,
    command: &Command,
    needs: Vec<Grant>,
) -> Result<Output, Fault> {
    let rendered = command.render();
    let params = AttachParams {
        container: Some(target.container.clone()),
        stdin: rendered.stdin.is_some(),
        max_stdin_buf_size: Some(64 << 10),
        max_stdout_buf_size: Some(64 << 10),
        max_stderr_buf_size: Some(64 << 10),
        ..AttachParams::default()
    };
    let api: Api<Wire> = Api::namespaced_with(client, &target.namespace, &Kind::Pod);
    let mut process = api
        .exec(&target.pod, rendered.argv, &params)
        .await
        .map_err(|error| Fault::of(error, || needs))?;
    let status = process.take_status();
    let (stdin, stdout, stderr) = (process.stdin(), process.stdout(), process.stderr());
    let feed = async {
        if let (Some(mut stdin), Some(text)) = (stdin, &rendered.stdin) {
            // A program may end without reading all; its exit status tells.
            let _ = stdin.write_all(text.expose()).await;
            let _ = stdin.shutdown().await;
        }
    };
    let status = async {
        match status {
            Some(status) => status.await,
            None => None,
        }
    };
    let ((), stdout, stderr, status) = tokio::join!(feed, drain(stdout), drain(stderr), status);
    Ok(Output { exit: exit_status(status.as_ref())?, stdout: stdout.into(), stderr: stderr.into() })
}

async fn drain(stream: Option<impl AsyncRead + Unpin>) -> String {
    let Some(stream) = stream else {
        return String::new();
    };
    let mut stream = stream.take(OUTPUT_MAX_BYTES);
    let mut bytes = Vec::new();
    // What came before the stream broke still counts; that it broke is seen by the missing status.
    let _ = stream.read_to_end(&mut bytes).await;
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The exit status, from the Status object that ends a command's stream.
fn exit_status(status: Option<&Status>) -> Result<i32, Fault> {
    let Some(status) = status else {
        return Err(Fault::unknown("the stream broke before the command ended"));
    };
    if status.status.as_deref() == Some("Success") {
        return Ok(0);
    }
    let causes = status.details.as_ref().and_then(|d| d.causes.as_ref());
    let code = causes
        .into_iter()
        .flatten()
        .find(|c| c.reason.as_deref() == Some("ExitCode"))
        .and_then(|c| c.message.as_deref()?.parse().ok());
    code.ok_or_else(|| Fault {
        kind: FaultKind::Unknown,
        text: status.message.clone().unwrap_or_else(|| "the command could not be run".into()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn exit_statuses_are_read_from_the_last_message() {
        let failure = |details: Value| json!({"status": "Failure", "message": "command terminated", "details": details});
        let exit = |n: &str| failure(json!({"causes": [{"reason": "ExitCode", "message": n}]}));
        for (status, expected) in [
            (json!({"status": "Success"}), Some(0)),
            (exit("2"), Some(2)),
            (exit("126"), Some(126)),
            (failure(json!({})), None),
            (failure(json!({"causes": [{"reason": "Other"}]})), None),
        ] {
            let status: Status = serde_json::from_value(status).unwrap();
            assert_eq!(exit_status(Some(&status)).ok(), expected);
        }
        assert_eq!(exit_status(None).unwrap_err().kind, FaultKind::Unknown);
    }
}
