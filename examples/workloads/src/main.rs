//! The workloads of the paper *Chiron: efficient execution of serverless workflows* (SC '23), as workflows of handlers
//! that really compute, read, write and talk to a server on loopback: FINRA, `SLApp`, Social Network and Movie Reviewing.
//!
//! ```sh
//! cargo faas run -p workloads slapp --input '{"size": 100}' --time-limit 500ms
//! cargo faas run -p workloads finra --input '{"rules": 50, "portfolio": 7, "count": 20000}' --time-limit 1s
//! cargo faas graph -p workloads social_network
//! examples/workloads/profile slapp profiles.json --release   # each handler of a workflow, alone
//! cargo faas plan -p workloads slapp --profiles profiles.json
//! cargo faas predict -p workloads --cases examples/workloads/cases.json --release   # all of them, under each model
//! ```

#![allow(clippy::needless_pass_by_value, reason = "a handler owns its input")]

mod finra;
mod loopback;
mod movie_review;
mod slapp;
mod social_network;

use finra::{check, finra_5, lastpx, margin_balance, marketdata, side, trddate, volume};
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
        finra::finra,
        finra_5,
        slapp::slapp,
        social_network::social_network,
        movie_review::movie_review,
        check,
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
