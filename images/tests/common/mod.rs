//! A registry in memory that misbehaves on demand, and images to move.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its part of it")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this is a part of tests")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use limitless_faas_images::{Definition, Digest, Entry, Image, Layer, Recipe, Tree};
use tokio::net::TcpListener;

/// What happens to a request instead of the right thing.
#[derive(Clone, Debug)]
pub enum Fault {
    /// This status, with these headers.
    Status(u16, Vec<(&'static str, String)>),
    /// The connection ends without an answer.
    HangUp,
    /// Taken, and forgotten.
    Forget,
    /// Kept, and told under another digest.
    OtherDigest,
    /// Something else is sent.
    OtherBytes,
}

type Script = Box<dyn Fn(&Method, &str, usize) -> Option<Fault> + Send + Sync>;

#[derive(Default)]
struct State {
    blobs: BTreeMap<String, Bytes>,
    manifests: BTreeMap<String, Bytes>,
    requests: Vec<String>,
}

/// A registry on loopback.
pub struct Fake {
    pub address: std::net::SocketAddr,
    state: Arc<Mutex<State>>,
}

/// The token that the registry's token service gives to `me:secret`.
const TOKEN: &str = "Bearer good";

impl Fake {
    /// A registry for everybody, whose `n`th request of a kind may go wrong as `script` says.
    pub async fn start(
        script: impl Fn(&Method, &str, usize) -> Option<Fault> + Send + Sync + 'static,
    ) -> Self {
        Self::start_with(false, script).await
    }

    /// A registry that wants a token.
    pub async fn start_closed() -> Self {
        Self::start_with(true, |_, _, _| None).await
    }

    async fn start_with(
        is_closed: bool,
        script: impl Fn(&Method, &str, usize) -> Option<Fault> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let script: Arc<Script> = Arc::new(Box::new(script));
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (state, script) = (Arc::clone(&shared), Arc::clone(&script));
                tokio::spawn(async move {
                    let service = service_fn(move |request| {
                        let (state, script) = (Arc::clone(&state), Arc::clone(&script));
                        async move { answer(&state, &script, is_closed, address, request).await }
                    });
                    let _gone = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { address, state }
    }

    pub fn name(&self, repository: &str) -> String {
        format!("{}/{repository}", self.address)
    }

    pub fn has_manifest(&self, version: &str) -> bool {
        self.state.lock().unwrap().manifests.contains_key(version)
    }

    pub fn requests(&self, method: &str) -> usize {
        self.state.lock().unwrap().requests.iter().filter(|line| line.starts_with(method)).count()
    }
}

#[derive(Debug)]
struct HungUp;

impl std::fmt::Display for HungUp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("hung up")
    }
}

impl std::error::Error for HungUp {}

async fn answer(
    state: &Mutex<State>,
    script: &Script,
    is_closed: bool,
    address: std::net::SocketAddr,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, HungUp> {
    let (head, body) = request.into_parts();
    let (method, path) = (head.method, head.uri.path().to_owned());
    let body = body.collect().await.map_err(|_| HungUp)?.to_bytes();
    let authorization = head.headers.get("authorization").map(|it| it.to_str().unwrap().to_owned());
    if path == "/token" {
        let is_me = authorization.as_deref() == Some("Basic bWU6c2VjcmV0");
        return Ok(if is_me { plain(200, r#"{"token":"good"}"#) } else { plain(401, "") });
    }
    if is_closed && authorization.as_deref() != Some(TOKEN) {
        let challenge = format!(r#"Bearer realm="http://{address}/token",service="fake""#);
        return Ok(with(plain(401, ""), "www-authenticate", &challenge));
    }
    let mut state = state.lock().unwrap();
    state.requests.push(format!("{method} {path}"));
    let kind = kind(&path);
    let turn =
        state.requests.iter().filter(|line| line.starts_with(method.as_str()) && line.contains(kind)).count();
    let fault = script(&method, &path, turn);
    match &fault {
        Some(Fault::HangUp) => return Err(HungUp),
        Some(Fault::Status(status, headers)) => {
            let plain = plain(*status, r#"{"errors":[{"message":"no \u001b[31mway\nat all"}]}"#);
            return Ok(headers.iter().fold(plain, |reply, (name, value)| with(reply, name, value)));
        }
        _ => {}
    }
    Ok(serve(&mut state, &method, &path, head.uri.query(), body, fault.as_ref()))
}

fn kind(path: &str) -> &'static str {
    if path.contains("/uploads/") {
        "/uploads/"
    } else if path.contains("/blobs/") {
        "/blobs/"
    } else {
        "/manifests/"
    }
}

fn serve(
    state: &mut State,
    method: &Method,
    path: &str,
    query: Option<&str>,
    body: Bytes,
    fault: Option<&Fault>,
) -> Response<Full<Bytes>> {
    let last = path.rsplit('/').next().unwrap_or_default().to_owned();
    let forgets = matches!(fault, Some(Fault::Forget));
    let told = |digest: String| match fault {
        Some(Fault::OtherDigest) => format!("sha256:{}", "0".repeat(64)),
        _ => digest,
    };
    match (method.as_str(), kind(path)) {
        ("POST", "/uploads/") => with(plain(202, ""), "location", &format!("{path}session")),
        ("PUT", "/uploads/") => {
            let digest =
                query.unwrap_or_default().strip_prefix("digest=").unwrap_or_default().replace("%3A", ":");
            if Digest::of(&body).as_str() != digest {
                return plain(400, "wrong digest");
            }
            if !forgets {
                state.blobs.insert(digest.clone(), body);
            }
            with(plain(201, ""), "docker-content-digest", &told(digest))
        }
        ("PUT", "/manifests/") => {
            let digest = Digest::of(&body).to_string();
            if !forgets {
                state.manifests.insert(last, body.clone());
                state.manifests.insert(digest.clone(), body);
            }
            with(plain(201, ""), "docker-content-digest", &told(digest))
        }
        ("GET" | "HEAD", kind) => {
            let kept = if kind == "/blobs/" { &state.blobs } else { &state.manifests };
            let Some(bytes) = kept.get(&last).cloned() else { return plain(404, "") };
            let digest = Digest::of(&bytes).to_string();
            let bytes = match fault {
                Some(Fault::OtherBytes) => Bytes::from(bytes.iter().map(|b| b ^ 1).collect::<Vec<u8>>()),
                _ => bytes,
            };
            let mut reply =
                Response::new(Full::new(if method == Method::HEAD { Bytes::new() } else { bytes }));
            let kind = if kind == "/blobs/" {
                "application/octet-stream"
            } else {
                "application/vnd.oci.image.manifest.v1+json"
            };
            reply.headers_mut().insert("content-type", kind.parse().unwrap());
            with(reply, "docker-content-digest", &digest)
        }
        _ => plain(405, ""),
    }
}

fn plain(status: u16, body: &'static str) -> Response<Full<Bytes>> {
    let mut reply = Response::new(Full::new(Bytes::from_static(body.as_bytes())));
    *reply.status_mut() = StatusCode::from_u16(status).unwrap();
    reply
}

fn with(mut reply: Response<Full<Bytes>>, name: &'static str, value: &str) -> Response<Full<Bytes>> {
    reply.headers_mut().insert(name, value.parse().unwrap());
    reply
}

/// An image of one file.
pub fn image(content: &str) -> Image {
    let definition =
        Definition::read("port = 8080\nuser = 65532\nprogram = \"/function\"\nfolder = \"/\"\n").unwrap();
    let layer = |name: &str, bytes: &[u8]| {
        let mut tree = Tree::new();
        tree.add(name, Entry::Bytes { mode: 0o755, bytes: bytes.to_vec() }).unwrap();
        Layer::pack(name, &tree).unwrap()
    };
    let recipe =
        Recipe { definition: &definition, architecture: "amd64", environment: &BTreeMap::new(), base: None };
    Image::assemble(vec![layer("base", b"base"), layer("function", content.as_bytes())], &recipe).unwrap()
}
