//! `config edit`: the text is never lost, whatever becomes of the change.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use crate::terminal::Terminal;
use crate::world::{Done, World, command, over_both, run, until};

fn edit(world: &World, editor: &str, more: &[&str]) -> Done {
    let mut edit = command(world.home.path());
    edit.env_remove("XDG_STATE_HOME")
        .env("VISUAL", "")
        .env("EDITOR", editor);
    edit.args(["--endpoints", &world.endpoint, "config", "edit", "order"]);
    edit.args(more);
    run(&mut edit, b"")
}

fn drafts(world: &World) -> Vec<PathBuf> {
    let folder = world.home.path().join(".local/state/msctl/drafts");
    let Ok(files) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    files.map(|file| file.unwrap().path()).collect()
}

#[test]
fn a_draft_stays_until_it_is_saved_and_is_its_owners_alone() {
    over_both(|world| {
        world.set(&["order/timeout.write", "2s"]);
        let shown = edit(world, "sed -i s/2s/5s/", &["--dry-run"]).ok();
        assert!(shown.out.contains("2s → 5s"), "{shown:?}");
        let kept = drafts(world);
        let [draft] = &kept[..] else {
            panic!("one draft: {kept:?}")
        };
        assert!(shown.err.contains(&*draft.to_string_lossy()), "{shown:?}");
        assert!(std::fs::read_to_string(draft).unwrap().contains("5s"));
        let mode = std::fs::metadata(draft).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{mode:o}");
        // It says how to go on, and that works.
        let draft = draft.to_str().unwrap();
        world.msctl(&["config", "apply", "-f", draft]).ok();
        assert_eq!(
            world.msctl(&["config", "get", "order/timeout.write"]).out,
            "5s\n"
        );
        // A second text never takes the place of the first.
        let failed = edit(world, "false", &[]);
        assert_eq!(failed.code, 1, "{failed:?}");
        assert_eq!(drafts(world).len(), 2);
        edit(world, "sed -i s/5s/6s/", &["--yes"]).ok();
        assert_eq!(drafts(world).len(), 2, "what is saved is removed");
        let broken = edit(world, "sed -i 's/6s/[6s/'", &["--yes"]);
        assert_eq!(broken.code, 2, "{broken:?}");
        assert!(broken.err.contains("Your text is kept in"), "{broken:?}");
        assert_eq!(drafts(world).len(), 3);
    });
}

#[test]
fn a_tree_with_a_fault_goes_back_to_the_editor_with_the_fault_on_top() {
    let world = World::embedded();
    world.set(&["order/timeout.write", "2s"]);
    let home = world.home.path().to_str().unwrap();
    // The first time it breaks the tree, the second time it keeps what it was given and mends it.
    let script = format!(
        "if grep -q '^#! ' \"$1\"; then cp \"$1\" {home}/seen; sed -i 's/\\[5s/5s/' \"$1\"; else sed -i 's/2s/[5s/' \"$1\"; fi\n"
    );
    std::fs::write(world.home.path().join("editor.sh"), script).unwrap();
    let editor = format!("sh {home}/editor.sh");
    let variables = [
        ("HOME", home),
        ("XDG_CONFIG_HOME", home),
        ("XDG_STATE_HOME", home),
        ("USER", "tester"),
        ("VISUAL", ""),
        ("EDITOR", &editor),
    ];
    let arguments = ["--endpoints", &world.endpoint, "config", "edit", "order"];
    let binary = env!("CARGO_BIN_EXE_msctl");
    let mut terminal = Terminal::start(binary, &arguments, &variables, (120, 40));
    terminal.wait_for("the fault and the question", |text| {
        text.contains("not YAML") && text.contains("Edit again? [y/N]")
    });
    terminal.keys("y\r");
    terminal.wait_for("the difference", |text| {
        text.contains("2s → 5s") && text.contains("Save to")
    });
    terminal.keys("y\r");
    until("it is saved", || {
        world.etcdctl(&["get", "--print-value-only", "/config/order/timeout.write"]) == "5s\n"
    });
    let seen = std::fs::read_to_string(world.home.path().join("seen")).unwrap();
    assert!(
        seen.starts_with("#! not YAML") && seen.contains("timeout.write: [5s"),
        "{seen}"
    );
}
