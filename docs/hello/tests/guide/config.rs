//! Config: layers, typed values that change, and the type that is default, check and schema.

use std::fs;
use std::time::Duration;

use platform::Platform;
use platform::config::Size;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tests::realetcd::RealEtcd;

use super::{PATIENCE, alone, eventually, record};

#[derive(Debug, Clone, PartialEq, Deserialize)]
struct Retry {
    attempts: u32,
    hosts: Vec<String>,
}

#[tokio::test(flavor = "multi_thread")]
async fn config_is_layers_and_typed_values_that_change() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("config.yaml");
    fs::write(
        &path,
        "timeout: {write: 5s}\nretry: {attempts: 3, hosts: [a, b]}\n",
    )?;
    let platform = alone("hello")
        .default("timeout.write", "2s")
        .default("upload.max", "10MiB")
        .config_file(&path)
        .environment([("HELLO__UPLOAD__MAX".to_owned(), "20MiB".to_owned())])
        // Not there, and nothing waits for it.
        .etcd(["127.0.0.1:1"])
        .start()
        .await?;

    let config = platform.config();
    let timeout = config.live::<Duration>("timeout.write")?;
    let upload = config.live::<Size>("upload.max")?;
    let page = config.live_or("page.size", 50_u64)?;
    let retry = config.live_as::<Retry>("retry")?;
    let hosts: Vec<String> = config.read("retry.hosts")?;

    assert_eq!(timeout.get(), Duration::from_secs(5));
    assert_eq!(upload.get(), Size(20 << 20));
    assert_eq!(page.get(), 50);
    assert_eq!((retry.get().attempts, hosts.len()), (3, 2));

    let mut changes = timeout.changes();
    let _subscription = page.on_change(|size| tracing::info!(size, "another page size"));

    fs::write(&path, "timeout: {write: 1m30s}\n")?;
    let newest = tokio::time::timeout(PATIENCE, changes.next()).await?;
    assert_eq!(newest, Some(Duration::from_secs(90)));
    fs::write(&path, "timeout: {write: soon}\n")?;
    let mut standing = config.standing();
    let refused = standing.wait_for(|standing| !standing.rejected.is_empty());
    tokio::time::timeout(PATIENCE, refused).await??;
    assert_eq!(timeout.get(), Duration::from_secs(90));

    for (layer, found) in config.explain("upload.max") {
        tracing::info!(?layer, origin = %found.origin, "upload.max");
    }
    assert_eq!(config.explain("upload.max").len(), 2);
    let error = config
        .live::<Duration>("nothing.here")
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("msctl config set hello/nothing.here"),
        "{error}"
    );
    Ok(())
}

#[derive(Debug, Serialize, JsonSchema)]
struct Settings {
    /// What people are greeted with.
    greeting: String,
    limits: Limits,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Limits {
    /// Names on one page.
    #[schemars(range(min = 1, max = 500))]
    page: u64,
    /// The largest request.
    #[schemars(extend("x-maximum" = "64MiB"))]
    upload: Size,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            greeting: "Hello".into(),
            limits: Limits {
                page: 50,
                upload: Size(10 << 20),
            },
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_type_of_the_config_is_its_defaults_its_check_and_its_published_schema()
-> anyhow::Result<()> {
    let etcd = RealEtcd::start().await;

    let builder = Platform::builder("hello").schema::<Settings>();

    let builder = builder.environment([]).no_config_cache();
    let platform = builder.etcd([etcd.endpoint()]).start().await?;
    let page = platform.config().live::<u64>("limits.page")?;
    assert_eq!(page.get(), 50);
    eventually("published", || record(&etcd, "/schema/hello")).await;
    etcd.etcdctl(&["put", "/config/hello/limits.page", "501"])
        .await;
    let mut standing = platform.config().standing();
    let refused = standing.wait_for(|standing| !standing.rejected.is_empty());
    tokio::time::timeout(PATIENCE, refused).await??;
    assert_eq!(page.get(), 50);
    Ok(())
}
