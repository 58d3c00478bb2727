//! The workloads of the paper *Chiron: efficient execution of serverless workflows* (SC '23), as handlers that really
//! compute, read, write and talk to a server on loopback: FINRA, `SLApp`, Social Network and Movie Reviewing.
//!
//! Their graphs stand in `graphs/`; profile the handlers and plan them:
//!
//! ```sh
//! cargo faas profile pi --input '{"digits": 600}' --release --out profiles.json
//! cargo faas graph examples/workloads/graphs/slapp.json
//! cargo faas plan examples/workloads/graphs/slapp.json --profiles profiles.json --cpus 2
//! ```
//!
//! `examples/workloads/profile` does so for all handlers of a graph.

#![allow(clippy::needless_pass_by_value, reason = "a handler owns its input")]

mod finra;
mod loopback;
mod movie_review;
mod slapp;
mod social_network;

use finra::{lastpx, margin_balance, marketdata, side, trddate, volume};
use movie_review::{
    compose_review, mr_compose_and_upload, mr_upload_text, mr_upload_unique_id, store_review,
    upload_movie_id, upload_movie_review, upload_user_id, upload_user_review,
};
use slapp::{disk_io, factorial, fibonacci, network_io, pbkdf2, pi};
use social_network::{
    compose_and_upload, compose_post, post_storage, upload_creator, upload_home_timeline, upload_media,
    upload_text, upload_unique_id, upload_user_mentions, upload_user_timeline,
};

fn main() {
    limitless_faas::serve!(
        marketdata,
        lastpx,
        side,
        trddate,
        volume,
        margin_balance,
        network_io,
        factorial,
        disk_io,
        fibonacci,
        pi,
        pbkdf2,
        compose_post,
        upload_user_mentions,
        upload_creator,
        upload_media,
        upload_text,
        upload_unique_id,
        compose_and_upload,
        post_storage,
        upload_home_timeline,
        upload_user_timeline,
        compose_review,
        upload_user_id,
        upload_movie_id,
        mr_upload_text,
        mr_upload_unique_id,
        mr_compose_and_upload,
        store_review,
        upload_user_review,
        upload_movie_review,
    );
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use limitless_faas_core::graph::Graph;

    /// The published shapes: nodes, and for each node how many others it waits for.
    #[test]
    fn graphs_have_the_published_shapes() {
        let shape = |text: &str| {
            let graph: Graph = serde_json::from_str(text).unwrap();
            graph.check().unwrap();
            let mut waits: BTreeMap<&str, usize> =
                graph.nodes.iter().map(|node| (node.name.as_str(), 0)).collect();
            for edge in &graph.edges {
                *waits.entry(&edge.to).or_default() += 1;
            }
            graph.nodes.iter().map(|node| waits[node.name.as_str()]).collect::<Vec<_>>()
        };
        assert_eq!(shape(include_str!("../graphs/finra-5.json")), [0, 0, 0, 0, 0, 5]);
        assert_eq!(shape(include_str!("../graphs/slapp.json")), [0, 0, 0, 0, 4, 4, 4]);
        let social = shape(include_str!("../graphs/social-network.json"));
        assert_eq!(social, [0, 1, 1, 1, 1, 1, 5, 1, 1, 1]);
        let movie = shape(include_str!("../graphs/movie-review.json"));
        assert_eq!(movie, [0, 1, 1, 1, 1, 4, 1, 1, 1]);
    }

    #[test]
    fn every_node_of_a_graph_is_a_handler_here() {
        let source = include_str!("main.rs");
        for text in [
            include_str!("../graphs/finra-5.json"),
            include_str!("../graphs/slapp.json"),
            include_str!("../graphs/social-network.json"),
            include_str!("../graphs/movie-review.json"),
        ] {
            let graph: Graph = serde_json::from_str(text).unwrap();
            for node in graph.nodes {
                assert!(source.contains(&format!("        {},\n", node.handler)), "{}", node.handler);
            }
        }
    }
}
