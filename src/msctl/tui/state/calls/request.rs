//! What is being written to go with a call: the request, kept for its method, and the headers, kept
//! for their service. A request nobody touched follows its template.

use std::sync::Arc;

use fleet::ServiceName;

use super::{CallsPage, Method, Methods, Pane, Sent};
use crate::tui::state::editor::{Editor, Shape};

impl CallsPage {
    /// Methods were told anew: a request that is still the template becomes the new one.
    pub(super) fn renew(&mut self, service: &ServiceName, methods: &[Arc<Method>]) {
        let Some(Methods::Known(before)) = self.methods.get(service) else {
            return;
        };
        for method in methods {
            let same =
                |other: &&Arc<Method>| other.service == method.service && other.name == method.name;
            let Some(old) = before.iter().find(same) else {
                continue;
            };
            let key = (service.clone(), method.service.clone(), method.name.clone());
            if let Some(request) = self.requests.get_mut(&key)
                && old.template != method.template
                && request.text() == *old.template
            {
                *request = template(method);
            }
            if let Some((of, chosen)) = &mut self.chosen
                && of == service
                && same(&&*chosen)
            {
                *chosen = Arc::clone(method);
            }
        }
    }

    /// The request that shows.
    pub fn request(&self) -> Option<&Editor> {
        self.requests.get(&self.chosen_key()?)
    }

    /// The request that shows, to be edited.
    pub fn request_mut(&mut self) -> Option<&mut Editor> {
        let key = self.chosen_key()?;
        self.requests.get_mut(&key)
    }

    /// The headers being edited: those of the chosen method's service.
    pub fn headers_mut(&mut self) -> Option<&mut Editor> {
        let (service, _) = self.chosen.as_ref()?;
        let empty = || Editor::new(Shape::Lines, "");
        let of = self.headers.entry(service.clone());
        Some(of.or_insert_with(empty))
    }

    /// The headers of the chosen method's service, as typed.
    pub fn headers_editor(&self) -> Option<&Editor> {
        self.headers.get(&self.chosen.as_ref()?.0)
    }

    /// The headers that go with a call, as `name: value`.
    pub fn headers(&self) -> Vec<String> {
        let lines = self.headers_editor().map(Editor::lines);
        let lines = lines.into_iter().flatten().map(|line| line.trim());
        let lines = lines.filter(|line| !line.is_empty());
        lines.map(str::to_owned).collect()
    }

    /// The requests of the chosen method, the newest first.
    pub fn sent_before(&self) -> Vec<&Sent> {
        let key = self.chosen_key();
        key.map_or_else(Vec::new, |key| self.past.of(&key))
    }

    /// Writes the request under the cursor of the past anew.
    pub fn take_past(&mut self) {
        let before = self.sent_before();
        let Some(text) = before
            .get(self.past_cursor)
            .map(|sent| sent.request.clone())
        else {
            return;
        };
        if let Some(request) = self.request_mut() {
            request.replace(&text);
        }
        self.pane = Pane::Request;
    }
}

/// A request to begin with: the template, with the cursor in its first empty text.
pub fn template(method: &Method) -> Editor {
    let mut editor = Editor::new(Shape::Lines, &method.template);
    let gap = editor.lines().iter().enumerate().find_map(|(row, line)| {
        let at = line.find("\"\"")?;
        Some((row, line[..at].chars().count() + 1))
    });
    let (row, column) = gap.unwrap_or((0, 0));
    editor.place(row, column);
    editor
}
