//! The service of the guide as a process.

use hello::pb::hello_service_server::HelloServiceServer;
use hello::{DESCRIPTORS, Hello};
use platform::{Platform, Service};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().init();
    let setting = |name: &str, usual: &str| std::env::var(name).unwrap_or(usual.into());
    let platform = Platform::builder("hello")
        .default("greeting", "Hello")
        .listen(setting("LISTEN", "127.0.0.1:9100"))
        .etcd([setting("ETCD", "127.0.0.1:2379")])
        .start()
        .await?;
    let hello = HelloServiceServer::new(Hello::new(platform.config())?);
    let service = Service::new().grpc(hello).descriptors(DESCRIPTORS);
    Ok(platform.serve(service).await?)
}
