//! OpenFaaS's gateway.
use crate::limits::Limits;
use crate::platform::Shared;
use crate::server::{Reply, text};
use hyper::{Request, StatusCode, body::Incoming};
use std::net::SocketAddr;
use std::sync::Arc;
pub(crate) struct Gateway;
impl Gateway {
    pub(crate) fn new(_: &Limits) -> Self {
        Self
    }
    pub(crate) fn start_workers(&self, _: &Arc<Shared>) {}
}
pub(crate) async fn answer(_: &Arc<Shared>, _: SocketAddr, _: Request<Incoming>) -> Reply {
    text(StatusCode::NOT_IMPLEMENTED, "OpenFaaS's gateway is not there yet")
}
