//! An empty cluster on a loopback port, for trying `kubectl` against.
//!
//! `cargo run -p karpenter-apiserver --example serve -- 8901 kubeconfig.yaml`
#![allow(clippy::print_stdout)]

use std::sync::Arc;

use karpenter_apiserver::{Options, Server, http, kubeconfig};

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let port = arguments.next().unwrap_or_else(|| "8901".to_owned());
    let listener = tokio::net::TcpListener::bind(format!("127.0.0.1:{port}")).await?;
    let url = format!("http://{}", listener.local_addr()?);
    match arguments.next() {
        Some(path) => std::fs::write(path, kubeconfig(&url))?,
        None => println!("{}", kubeconfig(&url)),
    }
    let server = Server::new(Options::new(Arc::new(jiff::Timestamp::now)));
    http::serve(server, listener, std::future::pending::<()>()).await;
    Ok(())
}
