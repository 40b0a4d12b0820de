//! Requests as clients send them, and what is read from them.

use super::*;

fn ask(method: &str, url: &str, content_type: &str, body: &Value) -> Result<Call, Status> {
    let (path, query) = url.split_once('?').unwrap_or((url, ""));
    let head = Head { method, path, query, content_type, accept: "" };
    let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    read(&head, &Address::of(&head)?, &body)
}

fn verb_of(method: &str, url: &str, content_type: &str, body: &Value) -> Verb {
    match ask(method, url, content_type, body) {
        Ok(Call::Request { verb, .. }) => *verb,
        other => panic!("{method} {url}: {other:?}"),
    }
}

#[test]
fn what_is_asked() {
    let (none, pods) = (Value::Null, "/api/v1/namespaces/db/pods");
    let target = |kind, namespace: &str, name: &str| ObjectRef::new(kind, namespace, name);
    let pod = target(Kind::Pod, "db", "a");
    for (method, url, expected) in [
        ("GET", format!("{pods}/a"), Verb::Get(pod.clone())),
        ("GET", "/api/v1/namespaces/db".into(), Verb::Get(target(Kind::Namespace, "", "db"))),
        ("GET", "/api/v1/nodes/n%31".into(), Verb::Get(target(Kind::Node, "", "n1"))),
        (
            "DELETE",
            format!("{pods}/a?gracePeriodSeconds=0"),
            Verb::Delete {
                target: pod.clone(),
                options: DeleteOptions { grace_s: Some(0), ..DeleteOptions::default() },
            },
        ),
        (
            "GET",
            format!("{pods}?labelSelector=x%2Fa%3D1,b&limit=5"),
            Verb::List {
                kind: Kind::Pod,
                namespace: Some("db".into()),
                filter: Filter {
                    labels: Selector(
                        [("x/a".to_owned(), Some("1".to_owned())), ("b".to_owned(), None)].into(),
                    ),
                    ..Filter::default()
                },
                limit: 5,
                continue_token: None,
            },
        ),
    ] {
        assert_eq!(verb_of(method, &url, "", &none), expected, "{method} {url}");
    }
    let patch = json!({"metadata": {"annotations": {"a": null}}});
    let strategic = "application/strategic-merge-patch+json";
    let asked = verb_of("PATCH", &format!("{pods}/a/status"), strategic, &patch);
    let body = kube::Body::Strategic(Arc::new(patch));
    assert_eq!(asked, Verb::Patch { target: pod, subresource: Subresource::Status, body });
    let made = json!({"metadata": {"name": "a"}});
    let Verb::Create(made) = verb_of("POST", pods, "application/json", &made) else {
        panic!("no creation")
    };
    assert_eq!((made.kind, &*made.meta.namespace), (Kind::Pod, "db"));
}

#[test]
fn streams_are_told_apart() {
    for (value, watches) in
        [("true", true), ("True", true), ("1", true), ("", true), ("0", false), ("False", false)]
    {
        let url =
            format!("/apis/apps/v1/statefulsets?watch={value}&resourceVersion=7&timeoutSeconds=9");
        let asked = ask("GET", &url, "", &Value::Null);
        let watch =
            matches!(asked, Ok(Call::Watch { from: 7, timeout_s: Some(9), initial: false, .. }));
        assert_eq!(watch, watches, "{asked:?}");
    }
    let url = "/api/v1/namespaces/db/pods/a/exec?command=psql&command=a+b&stdin=true";
    let asked = ask("GET", url, "", &Value::Null).expect("readable");
    let argv = vec!["psql".to_owned(), "a b".to_owned()];
    assert_eq!(asked, Call::Exec { argv, container: None, stdin: true });
}

#[test]
fn what_can_not_be_read_is_refused() {
    let pods = "/api/v1/namespaces/db/pods";
    for (method, url, content_type, code) in [
        ("GET", "/api/v1/flowers".to_owned(), "", 404),
        ("GET", "/metrics".to_owned(), "", 404),
        ("GET", format!("{pods}/a/log"), "", 404),
        ("GET", format!("{pods}?labelSelector=a+in+(b)"), "", 400),
        ("GET", format!("{pods}?fieldSelector=status.phase=Running"), "", 400),
        ("GET", format!("{pods}/%zz"), "", 400),
        ("PATCH", format!("{pods}/a"), "text/plain", 415),
        ("POST", pods.to_owned(), "application/vnd.kubernetes.protobuf", 415),
        ("POST", pods.to_owned(), "application/json", 400),
        ("PUT", pods.to_owned(), "application/json", 405),
    ] {
        let asked = ask(method, &url, content_type, &Value::Null);
        assert_eq!(asked.as_ref().err().map(|s| s.code), Some(code), "{url}: {asked:?}");
    }
}

#[test]
fn metadata_alone_is_asked_for_in_the_form_of_what_is_there() {
    let metadata = |url: &str, form: &str| -> Result<bool, Status> {
        let (path, query) = url.split_once('?').unwrap_or((url, ""));
        let accept = format!("application/json;as={form};g=meta.k8s.io;v=v1");
        let head = Head { method: "GET", path, query, content_type: "", accept: &accept };
        let call = read(&head, &Address::of(&head)?, &[])?;
        super::metadata_alone(&head, &call)
    };
    let (one, list) = ("PartialObjectMetadata", "PartialObjectMetadataList");
    for (url, form, expected) in [
        ("/api/v1/secrets", list, Ok(true)),
        ("/api/v1/secrets", one, Err("NotAcceptable")),
        ("/api/v1/secrets?watch=true", one, Ok(true)),
        ("/api/v1/namespaces/db/secrets/a", one, Ok(true)),
        ("/api/v1/namespaces/db/secrets/a", list, Err("NotAcceptable")),
        ("/api/v1/namespaces/db/secrets/a", "Table", Ok(false)),
    ] {
        assert_eq!(metadata(url, form).map_err(|status| status.reason), expected, "{url} {form}");
    }
    let object = json!({"kind": "Secret", "apiVersion": "v1", "metadata": {"name": "a"}, "data": {"b": "Yw=="}});
    let bare = json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": {"name": "a"}});
    assert_eq!(without_content(&object), bare);
    let list = without_content(
        &json!({"kind": "SecretList", "metadata": {"resourceVersion": "7"}, "items": [object]}),
    );
    assert_eq!(
        (&list["items"], &list["metadata"]["resourceVersion"]),
        (&json!([bare]), &json!("7"))
    );
}
