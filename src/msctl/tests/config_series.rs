//! A change of many transactions, several on their way at once, that stops halfway: what is written
//! is said exactly, and the same command goes on from there.

use tests::proxy::{Mode, Proxy};

use crate::terminal::Terminal;
use crate::world::{World, over_both, until};

const KEYS: usize = 2_000;

const TRANSACTIONS: usize = 16;

/// `config apply` of two thousand keys at a terminal, waiting for its confirmation.
fn asked(world: &World, endpoint: &str, timeout: &str) -> Terminal {
    let keys: String = (0..KEYS).map(|i| format!("  k{i:04}: {i}\n")).collect();
    let file = world.home.path().join("many.yaml");
    std::fs::write(&file, format!("order:\n{keys}")).unwrap();
    let home = world.home.path().to_str().unwrap().to_owned();
    let variables = [
        ("HOME", home.as_str()),
        ("XDG_CONFIG_HOME", &home),
        ("USER", "tester"),
    ];
    let arguments = [
        "--endpoints",
        endpoint,
        "--timeout",
        timeout,
        "config",
        "apply",
        "-f",
        file.to_str().unwrap(),
    ];
    let binary = env!("CARGO_BIN_EXE_msctl");
    let terminal = Terminal::start(binary, &arguments, &variables, (240, 40));
    terminal.wait_for("the question", |text| {
        text.contains(&format!("{KEYS} keys in {TRANSACTIONS} transactions"))
            && text.contains("Save to")
    });
    terminal
}

/// How many keys and how many records there are.
fn stand(world: &World) -> (usize, usize) {
    let count = |prefix| {
        let keys = world.etcdctl(&["get", "--prefix", "--keys-only", prefix]);
        keys.lines().filter(|line| !line.is_empty()).count()
    };
    (count("/config/order/k"), count("/msctl/releases/order/"))
}

fn applied_again(world: &World) {
    let file = world.home.path().join("many.yaml");
    let again = ["config", "apply", "-f", file.to_str().unwrap()];
    world.msctl(&again).ok();
    let nothing = world.msctl(&again).ok();
    assert!(nothing.out.starts_with("nothing to write"), "{nothing:?}");
    assert_eq!(stand(world).0, KEYS);
}

#[test]
fn a_key_that_changed_meanwhile_stops_the_rest_and_what_is_written_is_said() {
    over_both(|world| {
        world.register("o-1");
        let mut terminal = asked(world, &world.endpoint, "10s");
        let text = terminal.text();
        assert!(text.contains("reaches 1 instance"), "{text}");
        // In the second transaction: the first may be written, and what is on its way beside it.
        world.etcdctl(&["put", "/config/order/k0200", "theirs"]);
        terminal.keys("y\r");
        let text = terminal.wait_for_texts(&["order/k0200", "repeat it to go on"]);
        assert_eq!(terminal.wait_for_end(), 3, "{text}");
        let (keys, records) = stand(world);
        let (mine, unwrapped) = (keys - 1, text.replace('\n', " "));
        assert!(mine < KEYS, "{text}");
        assert!(
            unwrapped.contains(&format!("{mine} of {KEYS} keys are written")),
            "{mine}: {text}"
        );
        assert_eq!(records, mine.div_ceil(126), "each with its record");
        // Its refusal comes among the first answers; without a stop all others are written.
        assert!(
            records < TRANSACTIONS - 4,
            "{records} were written beside one that was refused"
        );
        assert_eq!(
            world.etcdctl(&["get", "--print-value-only", "/config/order/k0200"]),
            "theirs\n"
        );
        applied_again(world);
    });
}

#[test]
fn answers_that_never_come_leave_unknown_what_was_on_its_way_and_no_more() {
    let world = World::real();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let proxy = runtime.block_on(Proxy::start(world.endpoint.parse().unwrap()));
    let through = format!("127.0.0.1:{}", proxy.address().port());
    let mut terminal = asked(&world, &through, "2s");
    proxy.set(Mode::HoldAnswers);
    terminal.keys("y\r");
    until("something is written", || stand(&world).1 > 0);
    let text = terminal.wait_for_texts(&["it is unknown whether transaction 1 of 16 was written"]);
    assert_eq!(terminal.wait_for_end(), 1, "{text}");
    // HTTP/2 lets no more than a window through whose answers are held.
    let (keys, records) = stand(&world);
    assert!(records <= 4, "nothing was sent after what was on its way");
    assert_eq!(keys, records * 126, "{text}");
    applied_again(&world);
}
