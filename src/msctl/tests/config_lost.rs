//! etcd that goes away in the middle of a change: what was written is never in doubt without being
//! said to be, and no text is lost.

use std::path::PathBuf;

use tests::proxy::{Mode, Proxy};
use tokio::runtime::Runtime;

use crate::terminal::Terminal;
use crate::world::{World, over_both, until};

/// An editor's change of a key, seen through a proxy, that waits for its confirmation.
struct Asked<'w> {
    world: &'w World,
    terminal: Terminal,
    proxy: Proxy,
    _runtime: Runtime,
}

fn asked<'w>(world: &'w World, timeout: &str) -> Asked<'w> {
    world.set(&["order/timeout.write", "2s"]);
    let runtime = Runtime::new().unwrap();
    let proxy = runtime.block_on(Proxy::start(world.endpoint.parse().unwrap()));
    let through = format!("127.0.0.1:{}", proxy.address().port());
    let home = world.home.path().to_str().unwrap().to_owned();
    let variables = [
        ("HOME", home.as_str()),
        ("XDG_CONFIG_HOME", &home),
        ("XDG_STATE_HOME", &home),
        ("USER", "tester"),
        ("VISUAL", ""),
        ("EDITOR", "sed -i 's/2s/5s/'"),
    ];
    let arguments = [
        "--endpoints",
        &through,
        "--timeout",
        timeout,
        "config",
        "edit",
        "order",
    ];
    let binary = env!("CARGO_BIN_EXE_msctl");
    let terminal = Terminal::start(binary, &arguments, &variables, (160, 40));
    terminal.wait_for("the question", |text| {
        text.contains("2s → 5s") && text.contains("Save to")
    });
    Asked {
        world,
        terminal,
        proxy,
        _runtime: runtime,
    }
}

impl Asked<'_> {
    fn value(&self) -> String {
        let key = "/config/order/timeout.write";
        self.world.etcdctl(&["get", "--print-value-only", key])
    }

    fn drafts(&self) -> Vec<PathBuf> {
        let folder = self.world.home.path().join("msctl/drafts");
        let files = std::fs::read_dir(folder).unwrap();
        files.map(|file| file.unwrap().path()).collect()
    }

    /// It is said to be saved, was written once, and its text is kept nowhere.
    fn is_saved_once(&mut self) {
        self.terminal.wait_for_texts(&["saved as revision"]);
        assert_eq!(self.terminal.wait_for_end(), 0);
        assert!(self.drafts().is_empty(), "{:?}", self.drafts());
        let history = ["config", "history", "order", "-o", "json"];
        let history = self.world.msctl(&history).ok().json();
        let releases = history.as_array().unwrap();
        assert_eq!(releases.len(), 2, "written once: {history}");
    }

    /// The text is where it says, and holds the change.
    fn keeps_the_draft(&self) {
        let drafts = self.drafts();
        assert_eq!(drafts.len(), 1, "{drafts:?}");
        let text = std::fs::read_to_string(&drafts[0]).unwrap();
        assert!(text.contains("timeout.write: 5s"), "{text}");
    }
}

#[test]
fn an_answer_that_never_comes_leaves_the_change_unknown_and_the_draft_kept() {
    over_both(|world| {
        let mut asked = asked(world, "10s");
        asked.proxy.set(Mode::HoldAnswers);
        asked.terminal.keys("y\r");
        until("it is written all the same", || asked.value() == "5s\n");
        asked.terminal.wait_for_texts(&[
            "it is unknown whether the change was written",
            "msctl config history order",
            "Your text is kept in",
        ]);
        assert_eq!(asked.terminal.wait_for_end(), 1);
        asked.keeps_the_draft();
    });
}

#[test]
fn an_answer_that_comes_late_is_waited_for_or_asked_for_again() {
    over_both(|world| {
        let mut asked = asked(world, "10s");
        asked.proxy.set(Mode::HoldAnswers);
        asked.terminal.keys("y\r");
        until("it is written", || asked.value() == "5s\n");
        asked.proxy.set(Mode::Forward);
        asked.is_saved_once();
    });
}

#[test]
fn an_answer_that_is_cut_off_is_asked_for_until_etcd_is_back() {
    over_both(|world| {
        let mut asked = asked(world, "40s");
        asked.proxy.set(Mode::HoldAnswers);
        asked.terminal.keys("y\r");
        until("it is written", || asked.value() == "5s\n");
        // The answer that is held is cut off, too.
        asked.proxy.set(Mode::CutAfter(0));
        let before = asked.proxy.accepted();
        until("it was tried again and again", || {
            asked.proxy.accepted() >= before + 3
        });
        asked.proxy.set(Mode::Refuse);
        until("nobody listens", || {
            std::net::TcpStream::connect(asked.proxy.address()).is_err()
        });
        asked.proxy.set(Mode::Forward);
        asked.is_saved_once();
    });
}

#[test]
fn an_etcd_that_is_gone_when_the_change_is_sent_is_told_and_the_draft_kept() {
    over_both(|world| {
        let mut asked = asked(world, "10s");
        asked.proxy.set(Mode::Refuse);
        asked.terminal.keys("y\r");
        let text = asked.terminal.wait_for_texts(&["Your text is kept in"]);
        // Whether the loss is noticed before the change is on its way is a matter of who is faster; what
        // may have been on its way is never said not to be written.
        let wanted = if text.contains("it is unknown whether") {
            1
        } else {
            6
        };
        assert_eq!(asked.terminal.wait_for_end(), wanted, "{text}");
        asked.keeps_the_draft();
        assert_eq!(asked.value(), "2s\n");
    });
}
