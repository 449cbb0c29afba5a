//! Calls of the demo's services, right ones and wrong ones, with a token and without.

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::demo::Demo;
use crate::main_job::http;
use crate::world::{Running, World, over_both, until};

#[test]
fn every_kind_of_call_answers_in_json_and_with_the_status_as_exit_code() {
    over_both(|world| {
        let demo = Demo::start(world);
        for target in [
            "user.Get",
            "user.get",
            "user/Get",
            "user.v1.UserService/Get",
            "user/user.v1.UserService.Get",
        ] {
            let done = demo.call(&[target, "-d", "{\"id\":\"1\"}"], b"").ok();
            assert_eq!(done.json()["name"], "Ada", "{target}");
        }
        let address = demo.address("user");
        let done = demo
            .call(
                &["--address", address, "UserService/Get", "-o", "ndjson"],
                b"{\"id\":\"1\"}",
            )
            .ok();
        assert_eq!(done.json()["id"], "1");
        assert_eq!(done.out.lines().count(), 1);

        let order = b"{\"userId\":\"1\",\"items\":[{\"sku\":\"a\",\"quantity\":2}]}\n";
        let created = demo.call(&["order.Create"], order).ok().json();
        assert_eq!(created["userName"], "Ada");
        let imported = demo
            .call(&["order.Import"], &[&order[..], order, order].concat())
            .ok()
            .json();
        assert!(imported.to_string().contains('3'), "{imported}");

        let chat = demo
            .call(
                &["order.Chat", "-o", "ndjson"],
                b"{\"text\":\"one\"} {\"text\":\"two\"}",
            )
            .ok();
        assert_eq!(chat.out.lines().count(), 2, "{chat:?}");

        let watch = demo.call(
            &[
                "user.Watch",
                "-d",
                "{\"includeExisting\":true}",
                "--max-time",
                "2s",
                "-o",
                "ndjson",
                "--drop-unknown",
            ],
            b"",
        );
        assert_eq!(
            watch.code,
            64 + 4,
            "a stream without end ends with its deadline: {watch:?}"
        );

        let missing = demo.call(&["user.Get", "-d", "{\"id\":\"777\"}"], b"");
        assert_eq!(missing.code, 64 + 5, "{missing:?}");
        assert!(
            missing.err.starts_with("error: NOT_FOUND (5): "),
            "{missing:?}"
        );
        let missing = demo.call(&["user.Get", "-d", "{\"id\":\"777\"}", "-o", "json"], b"");
        let error: Value = serde_json::from_str(&missing.err).unwrap();
        assert_eq!(error["code"], 5);
        assert!(error["details"].is_array());

        let envelope = demo
            .call(&["user.Get", "-d", "{\"id\":\"1\"}", "--envelope"], b"")
            .ok()
            .json();
        assert_eq!(envelope["status"]["name"], "OK");
        assert_eq!(envelope["messages"][0]["name"], "Ada");
        assert!(envelope["timings_ms"]["total"].as_f64().unwrap() > 0.0);

        let names = demo
            .call(
                &[
                    "user.Get",
                    "-d",
                    "{\"id\":\"1\"}",
                    "--proto-names",
                    "--emit-defaults",
                ],
                b"",
            )
            .ok()
            .json();
        assert!(
            names["created_at"].is_string() && names["tags"].is_array(),
            "{names}"
        );
    });
}

#[test]
fn a_wrong_call_is_told_where_it_is_wrong_before_it_is_sent() {
    over_both(|world| {
        let demo = Demo::start(world);
        for (arguments, code, message) in [
            (
                &["user.Gte"][..],
                4,
                "error: user.v1.UserService has no method 'Gte'. Did you mean 'Get'?",
            ),
            (
                &["usr.Get"],
                4,
                "error: no service 'usr' is registered. Did you mean 'user'?",
            ),
            (
                &["nobody.at.all/Get"],
                4,
                "error: no service 'nobody' is registered. Registered: order, user.",
            ),
            (
                &["Get"],
                2,
                "error: 'Get' is ambiguous: order/order.v1.OrderService/Get, user/user.v1.UserService/Get.",
            ),
            (&["user."], 2, "error: 'user.' names no method."),
            (
                &["user.Get", "-d", "{\"id\":"],
                2,
                "error: the request is no user.v1.GetRequest: id: ",
            ),
            (
                &["user.Get", "-d", "nonsense"],
                2,
                "error: the request is no user.v1.GetRequest: ",
            ),
            (
                &["user.Get", "-d", "{\"idd\":\"1\"}"],
                2,
                "error: the request is no user.v1.GetRequest: idd: ",
            ),
            (
                &["user.Get", "-d", "{\"id\":7}"],
                2,
                "error: the request is no user.v1.GetRequest: id: ",
            ),
            (
                &["user.Get", "-d", "{} {}"],
                2,
                "error: user.v1.UserService/Get takes one request",
            ),
            (
                &[
                    "order.Create",
                    "-d",
                    "{\"items\":[{},{\"quantity\":\"x\"}]}",
                ],
                2,
                "error: the request is no order.v1.CreateRequest: items[1].quantity: ",
            ),
            (
                &["order.Import", "-d", "{} {\"userId\":1}"],
                2,
                "error: request 2 is no order.v1.CreateRequest: userId: ",
            ),
            (
                &["user.Get", "-H", "nonsense"],
                2,
                "error: header 'nonsense' has no colon",
            ),
            (
                &["user.Get", "-H", "a: ${MSCTL_TEST_UNSET}"],
                2,
                "error: environment variable MSCTL_TEST_UNSET is not set",
            ),
            (
                &["user.Get", "-H", "grpc-timeout: 1S"],
                2,
                "error: header \"grpc-timeout\": ",
            ),
            (&["user.Get", "-d", "@/nowhere"], 2, "error: /nowhere: "),
            (
                &["user.Get", "--instance", "nobody"],
                4,
                "error: user has no instance 'nobody'.",
            ),
            (
                &["--address", "127.0.0.1:1", "a.B/C"],
                64 + 14,
                "error: 127.0.0.1:1: connection refused.",
            ),
            (&["--address", "nonsense", "a.B/C"], 2, "error: nonsense: "),
            (
                &["user.Get", "--max-time", "soon"],
                2,
                "error: invalid value 'soon'",
            ),
        ] {
            let done = demo.call(arguments, b"");
            assert_eq!(done.code, code, "{arguments:?} {done:?}");
            assert!(done.err.starts_with(message), "{arguments:?} {done:?}");
            assert_eq!(done.out, "", "{arguments:?}");
        }
        let described = world.msctl(&["describe", "user", "-o", "json"]).ok().json();
        assert!(described.to_string().contains("user.v1.UserService/Watch"));
        let message = world.msctl(&["describe", "user.v1.User"]).ok().out;
        assert!(message.contains("message user.v1.User {"), "{message}");
        let template = world
            .msctl(&["describe", "order.Create", "--template"])
            .ok()
            .json();
        assert!(template["items"][0].get("sku").is_some(), "{template}");
        assert_eq!(world.msctl(&["describe", "user.v1.Usr"]).code, 4);
    });
}

#[test]
fn with_a_token_both_protocols_want_it_and_answer_the_same_with_it() {
    over_both(|world| {
        let file = world.home.path().join("token");
        fs::write(&file, "s3cret\n").unwrap();
        let mut started = world.command(&[
            "demo",
            "--headless",
            "-o",
            "ndjson",
            "--token-file",
            file.to_str().unwrap(),
        ]);
        let demo = Demo::of(world, Running::start(&mut started));
        let at = demo.address("user");
        let get = ["user.Get", "-d", "{\"id\":\"1\"}", "--emit-defaults"];
        let refused = demo.call(&get, b"");
        assert_eq!(refused.code, 64 + 16, "{refused:?}");
        let (status, body) = http(at, "GET", "/v1/users/1", "");
        assert_eq!(status, 401, "{body}");
        assert_eq!(
            serde_json::from_str::<Value>(&body).unwrap()["code"],
            16,
            "{body}"
        );

        let with = [&get[..], &["-H", "authorization: Bearer s3cret"]].concat();
        let user = demo.call(&with, b"").ok().json();
        let curl = Command::new("curl")
            .args(["-s", "-H", "authorization: Bearer s3cret"])
            .arg(format!("http://{at}/v1/users/1"))
            .output()
            .unwrap();
        assert!(curl.status.success(), "{curl:?}");
        assert_eq!(serde_json::from_slice::<Value>(&curl.stdout).unwrap(), user);
        // The services carry it to each other, and health is open to those who look.
        let order = "{\"userId\":\"1\",\"items\":[{\"sku\":\"a\",\"quantity\":2}]}";
        let made = [
            "order.Create",
            "-d",
            order,
            "-H",
            "authorization: Bearer s3cret",
        ];
        assert_eq!(demo.call(&made, b"").ok().json()["userName"], "Ada");
        until("all serve", || {
            let rows = world.msctl(&["services", "-o", "json"]).ok().json();
            let mut rows = rows.as_array().unwrap().iter();
            rows.all(|row| row["health"]["status"] == "serving")
        });
        let children = demo.children();
        for child in children {
            let words = fs::read(format!("/proc/{child}/cmdline")).unwrap();
            assert!(!String::from_utf8_lossy(&words).contains("s3cret"));
        }
    });
    let world = World::embedded();
    let empty = world.home.path().join("empty");
    fs::write(&empty, "\n").unwrap();
    for (file, told) in [
        ("/nowhere", "/nowhere: "),
        (empty.to_str().unwrap(), "holds no token"),
    ] {
        let done = world.msctl(&["demo", "--headless", "--token-file", file]);
        assert_eq!(done.code, 2, "{done:?}");
        assert!(done.err.contains(told), "{done:?}");
    }
}
