//! Contexts: chosen, narrowed, refused.

use std::os::unix::fs::PermissionsExt;

use crate::world::{World, over_both, run};

fn write(world: &World, text: &str, mode: u32) {
    let folder = world.home.path().join("msctl");
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("config.yaml");
    std::fs::write(&path, text.replace("ETCD", &world.endpoint)).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn msctl(world: &World, arguments: &[&str]) -> crate::world::Done {
    run(
        crate::world::command(world.home.path()).args(arguments),
        b"",
    )
}

#[test]
fn a_read_only_context_refuses_every_write_and_reads() {
    over_both(|world| {
        write(
            world,
            "current: look\ncontexts:\n  look: {endpoints: ['http://ETCD'], read_only: true}\n",
            0o644,
        );
        for arguments in [
            &["config", "set", "order/x", "5s"][..],
            &["config", "set", "order/x", "5s", "--yes"],
            &["config", "unset", "order/x", "--yes"],
        ] {
            let done = msctl(world, arguments);
            assert_eq!(done.code, 5, "{done:?}");
            assert!(
                done.err.starts_with("error: context 'look' is read-only. "),
                "{done:?}"
            );
        }
        assert_eq!(msctl(world, &["config", "list"]).code, 0);
    });
}

#[test]
fn a_production_context_wants_yes_from_a_script() {
    over_both(|world| {
        write(
            world,
            "contexts:\n  prod: {endpoints: ['http://ETCD'], production: true}\n",
            0o644,
        );
        let asked = msctl(
            world,
            &["--context", "prod", "config", "set", "order/x", "5s"],
        );
        assert_eq!(asked.code, 5, "{asked:?}");
        assert!(asked.err.contains("--yes"), "{asked:?}");
        let sure = msctl(
            world,
            &[
                "--context",
                "prod",
                "config",
                "set",
                "order/x",
                "5s",
                "--yes",
            ],
        );
        assert_eq!(sure.code, 0, "{sure:?}");
    });
}

#[test]
fn prefixes_of_a_context_are_honoured() {
    over_both(|world| {
        write(
            world,
            "current: a\ncontexts:\n  a: {endpoints: ['http://ETCD'], prefixes: {config: /a/config, releases: /a/releases}}\n",
            0o644,
        );
        assert_eq!(msctl(world, &["config", "set", "order/x", "5s"]).code, 0);
        assert_eq!(
            world.etcdctl(&["get", "--print-value-only", "/a/config/order/x"]),
            "5s\n"
        );
        assert_eq!(
            world.etcdctl(&["get", "--prefix", "--keys-only", "/msctl/"]),
            ""
        );
    });
}

#[test]
fn a_file_with_a_password_that_others_can_read_is_refused() {
    let world = World::embedded();
    let text =
        "current: a\ncontexts:\n  a: {endpoints: ['http://ETCD'], user: root, password: hunter2}\n";
    write(&world, text, 0o644);
    let done = msctl(&world, &["services"]);
    assert_eq!(done.code, 5, "{done:?}");
    assert!(done.err.contains("chmod 600"), "{done:?}");
    assert!(!done.err.contains("hunter2"), "{done:?}");
}

#[test]
fn contexts_are_added_used_and_removed() {
    let world = World::embedded();
    let endpoint = format!("http://{}", world.endpoint);
    msctl(&world, &["context", "set", "one", "--endpoint", &endpoint]).ok();
    msctl(
        &world,
        &[
            "context",
            "set",
            "two",
            "--endpoint",
            "http://127.0.0.1:1",
            "--read-only",
        ],
    )
    .ok();
    msctl(&world, &["config", "list"]).ok();
    msctl(&world, &["context", "use", "two"]).ok();
    assert_eq!(msctl(&world, &["config", "list"]).code, 6);
    let typo = msctl(&world, &["context", "use", "tow"]);
    assert_eq!(
        (typo.code, typo.err.contains("Did you mean 'two'?")),
        (4, true),
        "{typo:?}"
    );
    let listed = msctl(&world, &["context", "-o", "json"]).ok().json();
    assert_eq!(listed[1]["current"], true);
    msctl(&world, &["context", "remove", "two"]).ok();
    let both = msctl(
        &world,
        &["--context", "one", "--endpoints", "127.0.0.1:1", "services"],
    );
    assert_eq!(both.code, 2, "{both:?}");
}

#[test]
fn a_user_named_by_flag_has_the_password_of_the_context_unless_that_is_anothers() {
    let world = World::real();
    for arguments in [
        &["user", "add", "root:s3cret"][..],
        &["role", "add", "root"],
        &["user", "grant-role", "root", "root"],
        &["auth", "enable"],
    ] {
        world.etcdctl(arguments);
    }
    write(
        &world,
        "contexts:\n  nobodys: {endpoints: ['http://ETCD'], password_command: [printf, s3cret]}\n  roots: {endpoints: ['http://ETCD'], user: root, password_command: [printf, s3cret]}\n  others: {endpoints: ['http://ETCD'], user: lin, password_command: [printf, s3cret]}\n",
        0o600,
    );
    let with = |context| msctl(&world, &["--context", context, "--user", "root", "leases"]);
    with("nobodys").ok();
    with("roots").ok();
    let refused = with("others");
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(
        refused
            .err
            .starts_with("error: no password for etcd user 'root'"),
        "{refused:?}"
    );
}
