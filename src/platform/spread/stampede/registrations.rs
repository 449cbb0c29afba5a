//! Two thousand instances register at one moment, each with its record and its report, and some of
//! them again when etcd has lost all: each asks for what it needs once. More asks at such a moment, for
//! whatever is late, and nothing would ever come to an end.

use fleet::{Endpoint, InstanceId, InstanceRecord, Prefix, Prefixes, ServiceName};
use tokio::sync::watch;

use super::*;
use crate::config::Standing;
use crate::liveness::Alive;
use crate::register::Registration;
use crate::status::Reporter;

const INSTANCES: usize = 2_000;

/// What one process keeps for its instance, but for its server and its config.
struct Instance {
    _keeper: LeaseKeeper,
    _registration: Registration,
    _reporter: AbortOnDropHandle<()>,
    fleet: FleetSize,
    _config: watch::Sender<Standing>,
    _alive: watch::Sender<Alive>,
}

impl Instance {
    fn start(client: &Client, number: usize) -> Instance {
        let fleet = FleetSize::default();
        let options = LeaseOptions {
            regrant_spread: fleet.leases(),
            ..LeaseOptions::new(Duration::from_secs(60))
        };
        let keeper = LeaseKeeper::spawn(client.clone(), options, Gate::Open);
        let prefixes = Prefixes::default();
        let service = ServiceName::new("order").unwrap();
        let id = InstanceId::new(format!("o-{number:04}")).unwrap();
        let mut record = InstanceRecord::new(service.clone(), id.clone());
        record.endpoints = vec![Endpoint::parse(&format!("grpc://h:{}", number + 1)).unwrap()];
        let key = prefixes.instance(&service, &id);
        let registration =
            Registration::spawn(client.clone(), keeper.state(), key, record, fleet.clone());
        let (config, standing) = watch::channel(Standing::default());
        let (liveness, alive) = watch::channel(Alive::Yes);
        let reporter = Reporter {
            client: client.clone(),
            key: prefixes.instance_status(&service, &id),
            services: prefixes.services,
            fleet: fleet.clone(),
            standing,
            alive,
            registration: registration.state(),
        };
        Instance {
            _keeper: keeper,
            _registration: registration,
            _reporter: AbortOnDropHandle::new(tokio::spawn(reporter.run())),
            fleet,
            _config: config,
            _alive: liveness,
        }
    }
}

/// Waits until so many keys stand under this prefix.
async fn stand(direct: &Client, prefix: &Prefix, many: usize) {
    let begun = Instant::now();
    loop {
        let count = direct.count(prefix).await.map(|(count, _)| count);
        if count == Ok(many as u64) {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{prefix}: {count:?} of {many}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// How many calls or streams of this method etcd has been asked for since it started.
async fn asked(etcd: &RealEtcd, method: &str) -> usize {
    let label = format!("grpc_method=\"{method}\"");
    let metrics = etcd.http("/metrics").await.unwrap();
    let started = metrics
        .lines()
        .filter(|line| line.starts_with("grpc_server_started_total{") && line.contains(&label));
    started
        .filter_map(|line| line.rsplit(' ').next()?.parse::<usize>().ok())
        .sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_instances_at_once_are_registered_and_report_and_none_asks_twice() {
    let _alone = ALONE.lock().await;
    let etcd = RealEtcd::start().await;
    let client = || Client::new(Settings::new([etcd.endpoint()])).unwrap();
    let clients: Vec<Client> = std::iter::repeat_with(client).take(CLIENTS).collect();
    let direct = client();
    let mut fleet: Vec<Instance> = (0..INSTANCES)
        .map(|number| Instance::start(&clients[number % CLIENTS], number))
        .collect();
    for after in ["at once", "after all was lost"] {
        let many = fleet.len();
        let begun = Instant::now();
        let (prefixes, took) = (Prefixes::default(), || begun.elapsed());
        stand(&direct, &prefixes.services, many).await;
        let registered = took();
        stand(&direct, &prefixes.status, many).await;
        let reported = took();
        let (grants, watches, writes) = (
            asked(&etcd, "LeaseGrant").await,
            asked(&etcd, "Watch").await,
            asked(&etcd, "Txn").await,
        );
        println!(
            "{many} instances {after}: registered after {registered:.1?}, reported after {reported:.1?}; \
             asked for: {grants} leases, {watches} watches, {writes} writes"
        );
        // A tenth more is chance; asking again for whatever is late would make multiples of it.
        let most = many + many / 10;
        assert!(grants <= most, "{grants} leases for {many}");
        assert!(watches <= 2 * most, "{watches} watches for {many}");
        assert!(writes <= 3 * most, "{writes} writes for {many}");
        if many < INSTANCES {
            break;
        }
        fleet.truncate(INSTANCES / 4);
        for one in &fleet {
            one.fleet.set(INSTANCES as u64);
        }
        etcd.wipe().await;
    }
}
