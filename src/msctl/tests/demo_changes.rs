//! What is changed while the demo runs, as its processes and those who look at them see it.

use std::time::Instant;

use crate::demo::Demo;
use crate::main_job::runs;
use crate::world::{PATIENCE, over_both, until};

#[test]
fn a_change_of_config_is_seen_by_every_process_and_a_bad_value_is_named() {
    over_both(|world| {
        let _demo = Demo::start(world);
        let set = world
            .msctl(&[
                "config",
                "set",
                "order/timeout.write",
                "5s",
                "--wait",
                "30s",
                "-o",
                "json",
            ])
            .ok()
            .json();
        assert_eq!(set["rollout"]["instances"], 2);
        assert_eq!(set["rollout"]["applied"], 2);
        let refused = world.msctl(&[
            "config",
            "set",
            "order/timeout.write",
            "soon",
            // The published schema refuses it before; here the processes are to.
            "--no-check",
            "--wait",
            "30s",
        ]);
        assert_eq!(refused.code, 1, "{refused:?}");
        assert!(
            refused.err.contains("refused order/timeout.write"),
            "{refused:?}"
        );
    });
}

#[test]
fn an_instance_that_hangs_is_shown_as_hung_and_calls_go_past_it() {
    over_both(|world| {
        let demo = Demo::start(world);
        let rows = world.msctl(&["services", "user", "-o", "json"]).ok().json();
        let victim = rows[0]["instance"].as_str().unwrap().to_owned();
        demo.call(
            &[
                "user/FaultService.Set",
                "--instance",
                &victim,
                "-d",
                "{\"mode\":\"HANG\"}",
            ],
            b"",
        )
        .ok();
        until("it is shown as hung", || {
            let rows = world.msctl(&["services", "user", "-o", "json"]).ok().json();
            rows.as_array().unwrap().iter().any(|row| {
                row["instance"] == victim.as_str()
                    && row["health"]["status"] == "hung"
                    && row["findings"][0]["code"] == "hung"
            })
        });
        for _ in 0..5 {
            demo.call(&["user.Get", "-d", "{\"id\":\"1\"}"], b"").ok();
        }
    });
}

#[test]
fn an_edit_is_run_by_both_processes_and_how_soon_is_printed() {
    over_both(|world| {
        let demo = Demo::start(world);
        let orders: Vec<&str> = demo
            .instances
            .iter()
            .filter(|(service, _)| service == "order")
            .map(|(_, address)| address.as_str())
            .collect();
        assert_eq!(orders.len(), 2);
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let client = {
            let _within = runtime.enter();
            etcd::Client::new(etcd::Settings::new(vec![world.endpoint.clone()])).unwrap()
        };
        let mut slowest = Vec::new();
        for round in 1..=10_u64 {
            let wanted = format!("{round}s");
            let key: fleet::Key = "/config/order/timeout.write".into();
            let (seen, _) = runtime.block_on(client.get(&key)).unwrap();
            let edit = fleet::Edit::put(key, seen.into(), wanted.clone().into_bytes());
            let plan = fleet::Plan::new([edit]).unwrap();
            let begun = Instant::now();
            runtime.block_on(client.commit(&plan)).unwrap();
            let took = std::thread::scope(|scope| {
                let waits: Vec<_> = orders
                    .iter()
                    .map(|address| {
                        scope.spawn(|| {
                            // No pause between two looks: each is a request that takes its time.
                            while runs(address, "timeout.write").as_ref() != Some(&wanted) {
                                assert!(begun.elapsed() < PATIENCE, "it never ran {wanted}");
                            }
                            begun.elapsed()
                        })
                    })
                    .collect();
                waits
                    .into_iter()
                    .map(|wait| wait.join().unwrap())
                    .max()
                    .unwrap()
            });
            slowest.push(took);
        }
        slowest.sort();
        println!(
            "an edit runs in both processes, the slower of them, over {}: median {:.1?}, slowest {:.1?}",
            world.endpoint, slowest[5], slowest[9]
        );
    });
}
