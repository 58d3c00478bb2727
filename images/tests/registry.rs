//! Pushing to and pulling from registries that are slow, closed, broken or dishonest.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::{Fake, Fault, image};
use hyper::Method;
use limitless_faas_images::Image;
use limitless_faas_images::registry::{Credentials, Pushed, Registry, RegistryError, RegistryErrorKind};

fn registry(fake: &Fake, credentials: Credentials) -> Registry {
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    Registry::new(http, &fake.name("team/factors").parse().unwrap(), credentials)
}

async fn push(fake: &Fake, image: &Image) -> Result<Pushed, RegistryError> {
    registry(fake, Credentials::Anonymous).push(image, "v1", &|_| {}).await
}

fn me() -> Credentials {
    Credentials::Basic { user: "me".to_owned(), password: "secret".to_owned() }
}

#[tokio::test]
async fn what_is_there_is_not_sent_again() {
    let fake = Fake::start(|_, _, _| None).await;
    let first = push(&fake, &image("one")).await.unwrap();
    assert_eq!((first.sent_bytes, first.present_bytes), (image("one").size(), 0));
    // Only the application and the configuration are new.
    let second = push(&fake, &image("two")).await.unwrap();
    assert_eq!(second.present_bytes, image("two").layers[0].blob.size());
    let uploads = fake.requests("PUT");
    let third = push(&fake, &image("two")).await.unwrap();
    assert_eq!((third.sent_bytes, fake.requests("PUT")), (0, uploads));
}

#[tokio::test]
async fn a_closed_registry_gets_a_token_for_our_credentials() {
    let fake = Fake::start_closed().await;
    registry(&fake, me()).push(&image("x"), "v1", &|_| {}).await.unwrap();
    assert!(fake.has_manifest("v1"));
    let wrong = Credentials::Basic { user: "me".to_owned(), password: "guess".to_owned() };
    for nobody in [wrong, Credentials::Anonymous] {
        let error = registry(&fake, nobody).push(&image("y"), "v2", &|_| {}).await.unwrap_err();
        assert_eq!(error.kind(), RegistryErrorKind::Unauthorized, "{error}");
        assert!(!error.to_string().contains("guess"), "{error}");
    }
}

#[tokio::test]
async fn credentials_are_not_shown() {
    assert!(!format!("{:?}", me()).contains("secret"));
}

/// Every request of a push, answered once with each refusal that matters: it ends in the right error or, where trying
/// again helps, in a whole image. The name never leads to half an image, and a second push mends everything.
#[tokio::test]
async fn a_refusal_at_each_step_leaves_nothing_half_there() {
    use RegistryErrorKind as Kind;
    let steps = [
        (Method::HEAD, "/manifests/"),
        (Method::HEAD, "/blobs/"),
        (Method::POST, "/uploads/"),
        (Method::PUT, "/uploads/"),
        (Method::PUT, "/manifests/"),
    ];
    for (method, kind) in steps {
        for status in [400, 401, 403, 409, 413, 429, 500, 503] {
            let (meant, place) = (method.clone(), kind);
            let fake = Fake::start(move |method, path, turn| {
                let is_meant = *method == meant
                    && path.contains(place)
                    && (place == "/uploads/" || !path.contains("/uploads/"));
                // Busy once, refusing for ever.
                let is_passing = matches!(status, 429 | 500 | 503);
                (is_meant && (turn == 1 || !is_passing))
                    .then(|| Fault::Status(status, vec![("retry-after", "0".to_owned())]))
            })
            .await;
            let pushed = push(&fake, &image("x")).await;
            let step = format!("{method} {kind} answered {status}");
            match status {
                429 | 500 | 503 => drop(pushed.unwrap_or_else(|error| panic!("{step}: {error}"))),
                401 | 403 => assert_eq!(pushed.unwrap_err().kind(), Kind::Unauthorized, "{step}"),
                _ => assert_eq!(pushed.unwrap_err().kind(), Kind::Refused, "{step}"),
            }
            assert_eq!(fake.has_manifest("v1"), matches!(status, 429 | 500 | 503), "{step}");
        }
    }
}

#[tokio::test]
async fn an_upload_that_breaks_off_is_begun_anew() {
    let fake = Fake::start(|method, path, turn| {
        (*method == Method::PUT && path.contains("/uploads/") && turn <= 2).then_some(Fault::HangUp)
    })
    .await;
    push(&fake, &image("x")).await.unwrap();
    assert!(fake.has_manifest("v1"));
}

#[tokio::test]
async fn a_refusal_is_told_in_one_harmless_line() {
    let fake =
        Fake::start(|method, _, _| (*method == Method::POST).then_some(Fault::Status(400, vec![]))).await;
    let text = push(&fake, &image("x")).await.unwrap_err().to_string();
    assert!(text.ends_with("400 Bad Request: no [31mway"), "{text}");
}

#[tokio::test]
async fn a_registry_that_lies_is_found_out() {
    for fault in [Fault::Forget, Fault::OtherDigest] {
        for place in ["/uploads/", "/manifests/"] {
            let told = fault.clone();
            let fake = Fake::start(move |method, path, _| {
                (*method == Method::PUT && path.contains(place)).then(|| told.clone())
            })
            .await;
            let error = push(&fake, &image("x")).await.unwrap_err();
            assert_eq!(error.kind(), RegistryErrorKind::Lies, "{fault:?} of {place}: {error}");
        }
    }
}

#[tokio::test]
async fn our_code_goes_to_no_other_host() {
    let elsewhere = vec![("location", "http://127.0.0.1:1/upload".to_owned())];
    let fake = Fake::start(move |method, _, _| {
        (*method == Method::POST).then(|| Fault::Status(202, elsewhere.clone()))
    })
    .await;
    assert_eq!(push(&fake, &image("x")).await.unwrap_err().kind(), RegistryErrorKind::Lies);
}

#[tokio::test]
async fn our_credentials_go_to_no_token_service_without_encryption() {
    let challenge = r#"Bearer realm="http://tokens.example/token",service="x""#;
    let fake = Fake::start(move |_, _, _| {
        Some(Fault::Status(401, vec![("www-authenticate", challenge.to_owned())]))
    })
    .await;
    let error = registry(&fake, me()).push(&image("x"), "v1", &|_| {}).await.unwrap_err();
    assert_eq!(error.kind(), RegistryErrorKind::Lies, "{error}");
}

#[tokio::test]
async fn a_base_image_is_pulled_and_checked() {
    let folder = tempfile::tempdir().unwrap();
    let fake = Fake::start(|_, _, _| None).await;
    push(&fake, &image("base")).await.unwrap();
    let name = fake.name("team/factors:v1").parse().unwrap();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let registry = Registry::new(http, &name, Credentials::Anonymous);
    let base = registry.pull("amd64", folder.path()).await.unwrap();
    let ids = |layers: &[limitless_faas_images::Layer]| {
        layers.iter().map(|it| it.diff_id.clone()).collect::<Vec<_>>()
    };
    assert_eq!(ids(&base.layers), ids(&image("base").layers));
    assert_eq!(base.layers[1].blob.bytes().unwrap(), image("base").layers[1].blob.bytes().unwrap());
    // A second time nothing but the documents is asked for.
    let before = fake.requests("GET");
    registry.pull("amd64", folder.path()).await.unwrap();
    assert_eq!(fake.requests("GET"), before + 2);
}

#[tokio::test]
async fn a_base_image_that_was_tampered_with_is_refused() {
    for place in ["/manifests/", "/blobs/"] {
        let folder = tempfile::tempdir().unwrap();
        let fake = Fake::start(move |method, path, _| {
            (*method == Method::GET && path.contains(place)).then_some(Fault::OtherBytes)
        })
        .await;
        push(&fake, &image("base")).await.unwrap();
        let name = format!("{}@{}", fake.name("team/factors"), image("base").digest()).parse().unwrap();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let pulled = Registry::new(http, &name, Credentials::Anonymous).pull("amd64", folder.path()).await;
        assert_eq!(pulled.unwrap_err().kind(), RegistryErrorKind::Lies, "{place}");
        let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

#[tokio::test]
async fn a_registry_that_is_away_is_said_to_be_away() {
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let name = format!("{}/x", listener.local_addr().unwrap()).parse().unwrap();
    drop(listener);
    let error = Registry::new(http, &name, Credentials::Anonymous)
        .push(&image("x"), "v1", &|_| {})
        .await
        .unwrap_err();
    assert_eq!(error.kind(), RegistryErrorKind::Retry, "{error}");
}
