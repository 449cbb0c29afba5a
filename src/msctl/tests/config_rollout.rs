//! Which instance runs what: status, `--wait`, canaries and explain, from what instances write.

use serde_json::json;

use crate::world::over_both;

#[test]
fn a_rollout_is_what_the_instances_say() {
    over_both(|world| {
        for id in ["o-1", "o-2", "o-3"] {
            world.register(id);
        }
        let at = world.set(&["order/timeout.write", "1x", "--no-check"]);
        world.says("o-1", at, &json!([]));
        world.says("o-2",
            at,
            &json!([{"key": "order/timeout.write", "revision": at, "error": "\"1x\" is no duration"}]),
        );
        world.says("o-3", 1, &json!([]));
        let status = world.msctl(&["config", "status", "order", "-o", "json"]);
        assert_eq!(status.code, 1, "{status:?}");
        let status = status.json();
        let answers: Vec<_> = status["answers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["answer"].as_str().unwrap())
            .collect();
        assert_eq!(
            (answers, &status["applied"]),
            (vec!["applied", "refused", "waiting"], &1.into())
        );
        let text = world.msctl(&["config", "status", "order"]);
        assert!(
            text.out
                .contains("o-2 refused order/timeout.write: \"1x\" is no duration"),
            "{text:?}"
        );

        let waited = world.msctl(&[
            "config",
            "set",
            "order/timeout.write",
            "5s",
            "--wait",
            "200ms",
        ]);
        assert_eq!(waited.code, 1, "{waited:?}");
        assert!(
            waited.out.starts_with("saved as revision") && waited.err.contains("0 of 3"),
            "{waited:?}"
        );

        let newest = world.set(&["order/timeout.write", "6s"]);
        for id in ["o-1", "o-2", "o-3"] {
            world.says(id, newest, &json!([]));
        }
        world
            .msctl(&["config", "status", "order", "--wait", "20s"])
            .ok();
        let explained = world
            .msctl(&["config", "explain", "order/timeout.write", "-o", "json"])
            .ok()
            .json();
        assert_eq!(explained["layers"][0]["value"], "6s");
        assert_eq!(explained["layers"][0]["release"]["author"], "tester");
        assert_eq!(explained["instances"].as_array().unwrap().len(), 3);
    });
}

#[test]
fn a_refusal_and_an_unset_stay_visible_when_another_key_is_written_later() {
    over_both(|world| {
        world.register("o-1");
        let refused = world.set(&["order/timeout.write", "1x", "--no-check"]);
        let other = world.set(&["order/page.size", "20"]);
        let error =
            json!([{"key": "order/timeout.write", "revision": refused, "error": "no duration"}]);
        world.says("o-1", other, &error);
        let status = world.msctl(&["config", "status", "order", "-o", "json"]);
        assert_eq!(status.code, 1, "{status:?}");
        assert_eq!(status.json()["answers"][0]["answer"], "refused");

        let unset = ["config", "unset", "order/timeout.write", "-o", "json"];
        let unset = world.msctl(&unset).ok().json()["revision"]
            .as_i64()
            .unwrap();
        world.says("o-1", other, &json!([]));
        let status = world.msctl(&["config", "status", "order", "-o", "json"]);
        assert_eq!(
            (status.code, &status.json()["answers"][0]["answer"]),
            (1, &"waiting".into()),
            "the unset is a change like any other"
        );
        world.says("o-1", unset, &json!([]));
        world.msctl(&["config", "status", "order"]).ok();
        world
            .msctl(&["config", "status", "order/timeout.write"])
            .ok();
    });
}

#[test]
fn an_instance_that_runs_another_value_of_its_own_is_no_success() {
    over_both(|world| {
        world.register("o-1");
        let at = world.set(&["order/timeout.write", "5s"]);
        let status = json!({"revision": at + 5, "taken": {"service": at, "global": at + 5}, "rejected": [], "liveness": {"alive": true}, "watch": {"revision": at},
            "overridden": [{"path": "timeout.write", "variable": "ORDER__TIMEOUT__WRITE"}], "written_at": "2026-11-22T10:00:00Z"});
        world.etcdctl(&["put", "/status/order/o-1", &status.to_string()]);
        let said = world.msctl(&["config", "status", "order", "--wait", "20s"]);
        assert_eq!(said.code, 1, "{said:?}");
        assert!(
            said.out.contains(
                "runs the environment's ORDER__TIMEOUT__WRITE in place of order/timeout.write"
            ),
            "{said:?}"
        );
        // What was taken in of the global keys says nothing of the service's own.
        let later = world.set(&["order/page.size", "20"]);
        assert!(later <= at + 5, "the case needs it: {later} {at}");
        let said = world.msctl(&["config", "status", "order/page.size"]);
        assert!(
            said.code == 1 && said.out.contains("has not answered"),
            "{said:?}"
        );
    });
}

#[test]
fn explain_shows_every_layer_and_who_wrote_it() {
    over_both(|world| {
        world
            .msctl(&[
                "config",
                "set",
                "global/timeout.write",
                "3s",
                "-m",
                "for all",
            ])
            .ok();
        world
            .msctl(&[
                "config",
                "set",
                "order/timeout.write",
                "5s",
                "-m",
                "slow disk",
            ])
            .ok();
        let text = world
            .msctl(&["config", "explain", "order/timeout.write"])
            .ok()
            .out;
        let lines: Vec<_> = text.lines().collect();
        assert!(
            lines[2].contains("service r")
                && lines[2].contains("5s")
                && lines[2].contains("counts")
                && lines[2].contains("slow disk"),
            "{text}"
        );
        assert!(
            lines[3].contains("global r")
                && lines[3].contains("hidden")
                && lines[3].contains("for all"),
            "{text}"
        );
        assert_eq!(
            world
                .msctl(&["config", "explain", "order/timeout.wrote"])
                .code,
            4
        );
        assert_eq!(
            world
                .msctl(&["config", "explain", "global/timeout.write"])
                .code,
            2
        );
    });
}

#[test]
fn a_canary_is_begun_shown_promoted_and_aborted() {
    over_both(|world| {
        world.register("o-1");
        world.register("o-2");
        world.set(&["order/timeout.write", "2s"]);
        assert_eq!(world.msctl(&["config", "promote", "order"]).code, 4);
        let nobody = world.msctl(&[
            "config",
            "set",
            "order/timeout.write",
            "5s",
            "--canary",
            "o-9",
        ]);
        assert_eq!(nobody.code, 4, "{nobody:?}");
        let begun = world
            .msctl(&[
                "config",
                "set",
                "order/timeout.write",
                "5s",
                "--canary",
                "o-1",
                "-m",
                "try",
            ])
            .ok();
        assert!(
            begun.out.starts_with("tried as revision") && begun.out.contains("promote order"),
            "{begun:?}"
        );
        assert_eq!(
            world
                .msctl(&["config", "get", "order/timeout.write"])
                .ok()
                .out,
            "2s\n"
        );
        let second = world.msctl(&["config", "set", "order/page.size", "5", "--canary", "o-2"]);
        assert_eq!(second.code, 3, "{second:?}");
        let status = world
            .msctl(&["config", "status", "order", "-o", "json"])
            .json();
        assert_eq!(status["canary"]["instances"], json!(["o-1"]));
        let explained = world
            .msctl(&["config", "explain", "order/timeout.write"])
            .ok()
            .out;
        assert!(explained.contains("on trial"), "{explained}");
        world.msctl(&["config", "export", "order"]).ok();

        world.msctl(&["config", "promote", "order"]).ok();
        assert_eq!(
            world
                .msctl(&["config", "get", "order/timeout.write"])
                .ok()
                .out,
            "5s\n"
        );
        world
            .msctl(&[
                "config",
                "set",
                "order/timeout.write",
                "9s",
                "--canary",
                "o-1",
            ])
            .ok();
        world.msctl(&["config", "abort", "order"]).ok();
        assert_eq!(
            world
                .msctl(&["config", "get", "order/timeout.write"])
                .ok()
                .out,
            "5s\n"
        );
        let actions: Vec<_> = world
            .msctl(&["config", "history", "order", "-o", "json"])
            .ok()
            .json()
            .as_array()
            .unwrap()
            .iter()
            .map(|one| {
                one["action"].as_object().map_or("change".into(), |action| {
                    action.keys().next().unwrap().clone()
                })
            })
            .collect();
        assert_eq!(actions, ["abort", "canary", "promote", "canary", "change"]);

        // A key that somebody changed meanwhile is not overwritten by a promotion.
        world
            .msctl(&[
                "config",
                "set",
                "order/timeout.write",
                "9s",
                "--canary",
                "o-1",
            ])
            .ok();
        world.set(&["order/timeout.write", "7s"]);
        let conflict = world.msctl(&["config", "promote", "order"]);
        assert_eq!(conflict.code, 3, "{conflict:?}");
        assert_eq!(
            world
                .msctl(&["config", "get", "order/timeout.write"])
                .ok()
                .out,
            "7s\n"
        );
    });
}

#[test]
fn a_watched_canary_ends_by_itself() {
    over_both(|world| {
        world.register("o-1");
        let at = world.set(&["order/timeout.write", "2s"]);
        world.says("o-1", at + 1000, &json!([]));
        let promoted = world
            .msctl(&[
                "config",
                "set",
                "order/timeout.write",
                "5s",
                "--canary",
                "o-1",
                "--auto",
                "10ms",
            ])
            .ok();
        assert!(promoted.out.contains("saved as revision"), "{promoted:?}");
        assert_eq!(
            world
                .msctl(&["config", "get", "order/timeout.write"])
                .ok()
                .out,
            "5s\n"
        );

        world.says(
            "o-1",
            at + 1000,
            &json!([{"key": "order/timeout.write", "revision": at + 1000, "error": "too slow"}]),
        );
        let aborted = world.msctl(&[
            "config",
            "set",
            "order/timeout.write",
            "9s",
            "--canary",
            "o-1",
            "--auto",
            "10ms",
        ]);
        assert_eq!(aborted.code, 1, "{aborted:?}");
        assert!(
            aborted
                .err
                .contains("o-1 refused order/timeout.write: too slow"),
            "{aborted:?}"
        );
        assert_eq!(
            world
                .msctl(&["config", "get", "order/timeout.write"])
                .ok()
                .out,
            "5s\n"
        );
        assert_eq!(world.msctl(&["config", "abort", "order"]).code, 4);
    });
}
