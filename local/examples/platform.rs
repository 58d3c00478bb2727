//! A platform for given programs, until its standard input ends:
//! `cargo run -p limitless-faas-local --example platform -- factors=target/debug/factors`
#![allow(clippy::print_stdout, reason = "it speaks to a person")]

use limitless_faas_local::{Config, Image, Limits, Platform};
use tokio::io::AsyncReadExt as _;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut config = Config { limits: Limits::generous(), ..Config::default() };
    for image in std::env::args().skip(1) {
        let (name, program) = image.split_once('=').ok_or("an argument is not NAME=PROGRAM")?;
        config.images.insert(name.to_owned(), Image::new(program));
    }
    let platform = Platform::start(config).await?;
    println!("{}\n{}", platform.url(), platform.api_key().as_str());
    let mut events = platform.events();
    let told = tokio::spawn(async move {
        while let Ok(event) = events.recv().await {
            println!("{event:?}");
        }
    });
    // What is typed is ignored; the end of the input ends the platform.
    tokio::io::stdin().read_to_end(&mut Vec::new()).await?;
    platform.shutdown().await;
    told.await?;
    Ok(())
}
