//! Everything a user can do, once: the list gives key bindings, palette entries, the footer, `?`
//! help and the documentation. An action without an entry here cannot be reached at all.

/// Where a key means something. A focus is a list of scopes, the innermost first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// Everywhere but in a text being typed.
    Global,
    /// In any list or pane one moves in.
    List,
    /// The services and their instances.
    Services,
    /// The list of services.
    ServiceList,
    /// The instances of a service, and one of them in full.
    Instances,
    /// The services that have config.
    ConfigScopes,
    /// The keys of a service.
    ConfigKeys,
    /// A config value being edited.
    ConfigValue,
    /// The pending changes, read before they are saved, with the message being typed.
    Review,
    /// What changed the config.
    History,
    /// A save that met someone else's change.
    Conflict,
    /// Methods.
    Methods,
    /// The request of a call being edited.
    Request,
    /// The answer of a call.
    Response,
    /// The headers of calls being edited.
    Headers,
    /// The requests sent before.
    CallHistory,
    /// Leases.
    Leases,
    /// The journal.
    Events,
    /// Raw keys.
    Keys,
    /// Findings.
    Findings,
    /// A text shown in full.
    Reader,
    /// The filter being typed.
    Filter,
    /// The palette.
    Palette,
    /// A question to be answered.
    Question,
    /// A line of text being asked for.
    Prompt,
}

macro_rules! actions {
    ($($name:ident = $id:literal, $title:literal, $hint:expr, [$($scope:ident),*], [$($key:literal),*], $help:literal;)*) => {
        /// Something a user can do.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Action {
            $(#[doc = $help] $name,)*
        }

        /// Every action, in the order help shows them.
        pub const ACTIONS: &[Spec] = &[
            $(Spec {
                action: Action::$name,
                name: $id,
                title: $title,
                hint: $hint,
                scopes: &[$(Scope::$scope),*],
                keys: &[$($key),*],
                help: $help,
            },)*
        ];
    };
}

/// How much a footer wants an action: the smaller comes first, `NEVER` not at all.
pub type Hint = u8;

/// Not worth a place in the footer.
pub const NEVER: Hint = u8::MAX;

/// What is to be known of an action.
#[derive(Debug)]
pub struct Spec {
    /// The action.
    pub action: Action,
    /// Its name in the palette and in keymap files.
    pub name: &'static str,
    /// A verb or two, for the footer.
    pub title: &'static str,
    /// Its place in the footer.
    pub hint: Hint,
    /// Where it works.
    pub scopes: &'static [Scope],
    /// Its keys; several keys in a row are separated by a space. The first is shown.
    pub keys: &'static [&'static str],
    /// One sentence.
    pub help: &'static str,
}

actions! {
    // Name = palette name, footer title, footer place, scopes, keys, help.
    Open = "open", "open", 1, [ServiceList, Instances, ConfigScopes, History, Leases, Events, Keys, Findings], ["enter", "right"], "Go into what is under the cursor.";
    EditValue = "edit-value", "edit", 1, [ConfigKeys], ["enter", "i"], "Edit the value under the cursor; nothing is written before the save.";
    OpenMethod = "open-method", "edit request", 1, [Methods], ["enter", "right"], "Unfold a service, or edit the request of a method.";
    Back = "back", "back", 90, [Global, List, Reader], ["esc", "left"], "Go back, drop a filter, close what is open.";
    CallService = "call-service", "call", 10, [Services], ["c"], "Call a method of this service or instance.";
    ConfigOfService = "config-of-service", "config", 11, [Services], ["e"], "Open the config of this service.";
    EventsOfThis = "events-of-this", "events", 12, [Services], ["o"], "Open the journal of this service or instance.";
    ProbeNow = "probe-now", "probe", 14, [Services], ["p"], "Ask the health and the lease of what is shown, now.";
    Drain = "drain", "drain", 12, [Instances], ["d"], "Take this instance, or the marked ones, out of the calls, after asking; the process goes on.";
    Undrain = "undrain", "undrain", NEVER, [Instances], ["u"], "Give this drained instance, or the marked ones, its calls back, after asking.";
    Deregister = "deregister", "deregister", 13, [Instances], ["x"], "Delete the record of this instance, or of the marked ones, after asking.";
    RawRecord = "raw-record", "raw", 15, [Instances, Leases], ["v"], "Show the record as it stands in etcd.";
    Save = "save", "save", 2, [ConfigKeys], ["ctrl-s"], "Read all pending changes, then save them in one guarded transaction.";
    NewKey = "new-key", "new", 3, [ConfigKeys], ["n"], "Add a key to this service.";
    Unset = "unset", "unset", 4, [ConfigKeys], ["x", "delete"], "Take the key away with the next save; the layer below shows through.";
    Discard = "discard", "undo", 5, [ConfigKeys], ["u"], "Drop the pending change of this key; after a save, take the save back.";
    Message = "message", "message", 6, [ConfigKeys], ["m"], "Say why: the message of the next save.";
    EditOutside = "edit-outside", "$EDITOR", 6, [ConfigKeys, ConfigValue, Request], ["ctrl-e"], "Edit the text in $VISUAL or $EDITOR.";
    Reveal = "reveal", "reveal", 7, [ConfigKeys], ["r"], "Show or mask values that look like secrets.";
    AcceptValue = "accept-value", "keep as pending", 1, [ConfigValue], ["enter", "ctrl-s"], "Check the value and keep it as a pending change.";
    BreakLine = "break-line", "new line", 2, [ConfigValue], ["alt-enter", "ctrl-j"], "Start a new line in the value.";
    LeaveValue = "leave-value", "cancel", 3, [ConfigValue], ["esc"], "Leave the value as it was.";
    Complete = "complete", "complete", 4, [ConfigValue, Prompt], ["tab"], "Complete what is typed: a value the key may have, the name of a key or an instance.";
    Commit = "commit", "save", 1, [Review], ["ctrl-s", "enter"], "Write the changes in one guarded transaction, with the message typed here.";
    SideBySide = "side-by-side", "side by side", 2, [Review], ["tab"], "Lay what goes and what comes beside each other, or one above the other.";
    TryOnSome = "try-on-some", "canary", 3, [Review], ["ctrl-t"], "Give the changes to chosen instances first.";
    RevealReview = "reveal-review", "reveal", 4, [Review], ["ctrl-r"], "Show or mask values that look like secrets.";
    LeaveReview = "leave-review", "back (drafts are kept)", 5, [Review], ["esc"], "Go back to the keys; changes and message are kept.";
    ReviewDown = "review-down", "down", NEVER, [Review], ["down"], "One row down.";
    ReviewUp = "review-up", "up", NEVER, [Review], ["up"], "One row up.";
    ReviewPageDown = "review-page-down", "page down", NEVER, [Review], ["pagedown"], "A page down.";
    ReviewPageUp = "review-page-up", "page up", NEVER, [Review], ["pageup"], "A page up.";
    KeyHistory = "key-history", "history", 8, [ConfigKeys], ["h"], "What changed this key, when, by whom and why.";
    ScopeHistory = "service-history", "history", 9, [ConfigKeys, ConfigScopes], ["H"], "What changed the config of this service.";
    ToggleTree = "toggle-tree", "tree", 12, [ConfigKeys], ["t"], "Lay the keys out as a tree of their dotted parts, or as a flat list.";
    Fold = "fold", "fold", NEVER, [ConfigKeys], ["space"], "Fold or unfold this folder of the tree; on a key, the folder it stands in.";
    Explain = "explain", "why", 10, [ConfigKeys], ["w"], "Why this key has its value: every layer, who wrote it, what each instance runs.";
    GoBackTo = "go-back-to", "back to here", 1, [History], ["b"], "Take back everything after this change: it becomes pending, to be read before it is saved.";
    TakeBack = "take-back", "take back this one", 2, [History], ["o"], "Take back this change alone: it becomes pending, to be read before it is saved.";
    Promote = "promote", "promote", 30, [ConfigKeys], ["P"], "Give the canary of this service to all its instances, after asking.";
    AbortCanary = "abort-canary", "abort canary", 31, [ConfigKeys], ["A"], "End the canary of this service, after asking.";
    WatchCanary = "watch-canary", "watch canary", 32, [ConfigKeys], ["W"], "Promote the canary by itself after a quiet minute, abort it at the first trouble; again: leave it.";
    TakeTheirs = "take-theirs", "take theirs", 1, [Conflict], ["t"], "For this key, take what the other one wrote.";
    TakeMine = "take-mine", "take mine", 2, [Conflict], ["m"], "For this key, write mine on top of theirs.";
    TakeBoth = "take-both", "keep both", 3, [Conflict], ["b"], "For this key, write both changes, where they are of different members of one mapping.";
    Resolve = "resolve", "save again", 4, [Conflict], ["ctrl-s"], "Save again, guarded by what stands there now.";
    LeaveConflict = "leave-conflict", "back to the draft", 5, [Conflict], ["esc"], "Keep the draft and write nothing.";
    Send = "send", "send", 2, [Methods, Request, Response, Headers], ["ctrl-enter", "alt-enter", "f5", "ctrl-j"], "Send the request.";
    SendShort = "send-now", "send", NEVER, [Methods, Response], ["s"], "Send the request as it is.";
    CancelCall = "cancel-call", "cancel call", 3, [Methods, Request, Response], ["ctrl-x"], "End the call that is running.";
    PickInstance = "pick-instance", "instance", 4, [Methods, Response], ["i"], "Choose the instance that gets the call; without one it is any healthy one.";
    EditHeaders = "edit-headers", "headers", 4, [Methods, Response], ["h"], "Edit the headers that go with every call of this service.";
    PastRequests = "call-history", "history", 5, [Methods, Request, Response], ["ctrl-r"], "Choose among the requests sent to this method before.";
    TakeRequest = "take-request", "take", 1, [CallHistory], ["enter"], "Edit this request again; nothing is sent yet.";
    ResetRequest = "reset-request", "template", 6, [Methods, Request], ["ctrl-t"], "Write the template of the request anew.";
    CopyCommand = "copy-command", "copy as msctl", 6, [Methods, Response], ["Y"], "Copy the call as a command line of msctl; again: as one of grpcurl.";
    LeaveRequest = "leave-request", "methods", 7, [Request, Headers], ["esc"], "Go back to the methods; what was typed is kept.";
    RevokeLease = "revoke-lease", "revoke", 10, [Leases], ["x"], "Revoke this lease and with it its keys, after asking.";
    Follow = "follow", "follow", 10, [Events], ["f"], "Follow the newest event, or hold still.";
    Mark = "mark", "mark", 20, [Instances], ["space"], "Mark the row, or take its mark away.";
    Copy = "copy", "copy", 21, [List, Reader], ["y"], "Copy the row to the clipboard (OSC 52).";
    NextPane = "next-pane", "pane", 22, [Services, ConfigScopes, ConfigKeys, Methods, Response], ["tab"], "Go to the next pane.";
    PreviousPane = "previous-pane", "pane back", NEVER, [Services, ConfigScopes, ConfigKeys, Methods, Response], ["shift-tab"], "Go to the pane before.";
    SortNext = "sort", "sort", 23, [Services, ConfigKeys, Leases, Events, Keys], ["S"], "Sort by the next column.";
    SortReverse = "sort-reverse", "reverse", NEVER, [Services, ConfigKeys, Leases, Events, Keys], ["R"], "Turn the order round.";
    StartFilter = "filter", "filter", 95, [List], ["/"], "Narrow the list: words, !words, ttl<10s, version=1.4.2.";
    OpenPalette = "palette", "palette", 96, [Global], [":"], "Run any action by its name.";
    Help = "help", "help", 97, [Global], ["?", "f1"], "Show the keys that work here.";
    Down = "down", "down", NEVER, [List, Reader], ["j", "down"], "One row down.";
    Up = "up", "up", NEVER, [List, Reader], ["k", "up"], "One row up.";
    Top = "top", "top", NEVER, [List, Reader], ["g g", "home"], "To the first row.";
    Bottom = "bottom", "bottom", NEVER, [List, Reader], ["G", "end"], "To the last row.";
    HalfDown = "half-down", "half down", NEVER, [List, Reader], ["ctrl-d"], "Half a page down.";
    HalfUp = "half-up", "half up", NEVER, [List, Reader], ["ctrl-u"], "Half a page up.";
    PageDown = "page-down", "page down", NEVER, [List, Reader], ["ctrl-f", "pagedown"], "A page down.";
    PageUp = "page-up", "page up", NEVER, [List, Reader], ["ctrl-b", "pageup"], "A page up.";
    ViewServices = "services", "services", NEVER, [Global], ["1"], "Services, their instances, and what is wrong with them.";
    ViewConfig = "config", "config", NEVER, [Global], ["2"], "Config: values, where they come from, who runs them.";
    ViewCalls = "calls", "calls", NEVER, [Global], ["3"], "Call any gRPC method.";
    ViewLeases = "leases", "leases", NEVER, [Global], ["4"], "Leases, the time they have left, and their keys.";
    ViewEvents = "events", "events", NEVER, [Global], ["5"], "The live journal of changes.";
    ViewKeys = "keys", "keys", NEVER, [Global], ["6"], "The raw keys of etcd below the context's prefixes.";
    ViewDoctor = "doctor", "doctor", NEVER, [Global], ["7"], "Findings over the whole fleet, with the next step.";
    ViewOverview = "overview", "overview", NEVER, [Global], ["0"], "The cluster, its freshness and the fleet's health at a glance.";
    ViewMessages = "messages", "messages", NEVER, [Global], ["M"], "Everything the console said.";
    HistoryBack = "history-back", "view before", NEVER, [Global], ["["], "The view before this one.";
    HistoryForward = "history-forward", "view after", NEVER, [Global], ["]"], "The view after this one.";
    NextTheme = "theme", "theme", NEVER, [Global], ["T"], "The next theme: dark, light, 16 colours, none, ASCII.";
    Redraw = "redraw", "redraw", NEVER, [Global], ["ctrl-l"], "Draw the whole screen anew.";
    Suspend = "suspend", "suspend", NEVER, [Global, Filter, Palette, Question, Prompt], ["ctrl-z"], "Go to the background; fg comes back.";
    Quit = "quit", "quit", 98, [Global], ["q", "ctrl-c"], "End the console.";
    Interrupt = "interrupt", "cancel", NEVER, [ConfigValue, Review, Request, Headers, Filter, Palette, Question, Prompt], ["ctrl-c"], "Leave what is being typed.";
    KeepFilter = "keep-filter", "keep", 1, [Filter], ["enter", "down"], "Keep the filter and go back to the list.";
    DropFilter = "drop-filter", "drop", 2, [Filter], ["esc"], "Drop the filter.";
    PaletteRun = "palette-run", "run", 1, [Palette], ["enter"], "Run the entry.";
    PaletteNext = "palette-next", "next", 2, [Palette], ["down", "tab", "ctrl-n"], "The next entry.";
    PalettePrevious = "palette-previous", "previous", 3, [Palette], ["up", "shift-tab", "ctrl-p"], "The entry before.";
    PaletteClose = "palette-close", "close", 4, [Palette], ["esc"], "Close the palette.";
    Yes = "yes", "yes", 1, [Question], ["y", "Y"], "Do it.";
    No = "no", "no", 2, [Question], ["n", "N", "esc", "enter", "q"], "Do nothing.";
    PromptAccept = "accept", "accept", 1, [Prompt], ["enter"], "Take what was typed.";
    PromptCancel = "cancel", "cancel", 2, [Prompt], ["esc"], "Do nothing.";
}

impl Action {
    /// What is to be known of it.
    pub fn spec(self) -> &'static Spec {
        // Every action has its entry: both come from one macro, in one order.
        &ACTIONS[self as usize]
    }

    /// The action of a palette name.
    pub fn named(name: &str) -> Option<Self> {
        ACTIONS
            .iter()
            .find(|spec| spec.name == name)
            .map(|spec| spec.action)
    }
}

impl Scope {
    /// What help calls it.
    pub fn heading(self) -> &'static str {
        match self {
            Self::Global => "everywhere",
            Self::List => "in a list",
            Self::Services => "services and instances",
            Self::ServiceList => "services",
            Self::Instances => "instances",
            Self::ConfigScopes => "who has config",
            Self::ConfigKeys => "config keys",
            Self::ConfigValue => "a value being edited",
            Self::Review => "changes before a save",
            Self::History => "history",
            Self::Conflict => "a conflict",
            Self::Methods => "methods",
            Self::Request => "a request being edited",
            Self::Response => "an answer",
            Self::Headers => "headers being edited",
            Self::CallHistory => "requests sent before",
            Self::Leases => "leases",
            Self::Events => "events",
            Self::Findings => "findings",
            Self::Keys => "keys",
            Self::Reader => "a text",
            Self::Filter => "a filter being typed",
            Self::Palette => "the palette",
            Self::Question => "a question",
            Self::Prompt => "a line being typed",
        }
    }

    /// Whether keys that type something belong to a text here.
    pub fn is_text(self) -> bool {
        matches!(
            self,
            Self::ConfigValue
                | Self::Review
                | Self::Request
                | Self::Headers
                | Self::Filter
                | Self::Palette
                | Self::Prompt
        )
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::tui::key::Key;

    #[test]
    fn every_action_has_its_own_entry_with_help_and_a_scope() {
        let mut names = HashMap::new();
        for (index, spec) in ACTIONS.iter().enumerate() {
            assert_eq!(spec.action as usize, index);
            assert_eq!(spec.action.spec().name, spec.name);
            assert!(spec.help.ends_with('.'), "{}: {}", spec.name, spec.help);
            assert!(
                !spec.scopes.is_empty() && !spec.keys.is_empty(),
                "{}",
                spec.name
            );
            assert_eq!(names.insert(spec.name, index), None, "{} twice", spec.name);
        }
    }

    #[test]
    fn a_key_means_one_thing_in_a_scope() {
        let mut bound = HashMap::new();
        for spec in ACTIONS {
            for scope in spec.scopes {
                for keys in spec.keys {
                    for key in keys.split(' ') {
                        key.parse::<Key>().unwrap();
                    }
                    let before = bound.insert((*scope, *keys), spec.name);
                    assert_eq!(before, None, "{keys} in {scope:?}: also {}", spec.name);
                }
            }
        }
    }

    #[test]
    fn what_destroys_needs_no_key_that_moves_elsewhere() {
        for spec in ACTIONS
            .iter()
            .filter(|s| ["deregister", "revoke-lease"].contains(&s.name))
        {
            for key in spec.keys {
                assert!(!["d", "D", "ctrl-d", "j", "k", "delete", "backspace"].contains(key));
            }
        }
    }
}
