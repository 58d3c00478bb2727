//! Results in a database of CouchDB, or of what speaks its protocol: a document for each execution, under its id.

use limitless_faas_core::{Code, ExecutionId, Failure};
use reqwest::{Client, StatusCode};
use serde_json::Value;

use super::outgoing::{DELIVERY_TIMEOUT, accepted};

/// The HTTP URL of the database that `couchdb://user@host:port/database` names; `couchdbs://` for TLS. None for any other URL.
pub(super) fn database(to: &str) -> Option<String> {
    let (scheme, rest) = to.split_once("://")?;
    let http = match scheme {
        "couchdb" => "http",
        "couchdbs" => "https",
        _ => return None,
    };
    Some(format!("{http}://{}", rest.trim_end_matches('/')))
}

/// Creates the document. One that is there already is of this execution, delivered before: it has one result.
///
/// # Errors
/// [`Code::SuccessorRefused`] where another try may help, [`Code::NotConfigured`] where none will.
pub(super) async fn keep(
    client: &Client,
    database: &str,
    execution: &ExecutionId,
    body: String,
) -> Result<(), Failure> {
    let url = format!("{database}/{execution}");
    let put = client.put(&url).timeout(DELIVERY_TIMEOUT).header("content-type", "application/json");
    let sent = put.body(body).send().await;
    match sent.as_ref().map(reqwest::Response::status) {
        Ok(StatusCode::CONFLICT) => is_there(client, &url, execution).await,
        Ok(StatusCode::NOT_FOUND) => {
            let message = "the CouchDB database for results does not exist: create it with a PUT of its URL";
            Err(Failure::new(Code::NotConfigured, message))
        }
        _ => accepted(sent),
    }
}

/// Whether the document that stands in the way is the one that was to be created.
async fn is_there(client: &Client, url: &str, execution: &ExecutionId) -> Result<(), Failure> {
    let unread =
        |error: reqwest::Error| Failure::new(Code::SuccessorRefused, error.without_url().to_string());
    let found = client.get(url).timeout(DELIVERY_TIMEOUT).send().await.map_err(unread)?;
    let document: Value = serde_json::from_str(&found.text().await.map_err(unread)?).unwrap_or_default();
    if document["execution"] == execution.as_str() {
        return Ok(());
    }
    let message = format!("the CouchDB document {execution} is not of this execution, and is left as it is");
    Err(Failure::new(Code::NotConfigured, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_has_its_url() {
        assert_eq!(database("couchdb://me:pw@host:5984/results/").unwrap(), "http://me:pw@host:5984/results");
        assert_eq!(database("couchdbs://host/results").unwrap(), "https://host/results");
        assert!(database("https://host/results").is_none());
    }
}
