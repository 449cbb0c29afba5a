//! Methods and calls.
use std::sync::Arc;

use fleet::{Instance, ServiceName};

use crate::tui::effect::Call;
use crate::tui::state::calls::{Method, Progress};

pub(super) struct Invoker {}

impl Invoker {
    pub(super) fn new() -> Self {
        Self {}
    }
    pub(super) async fn methods(
        &self,
        _service: &ServiceName,
        _instances: &[Arc<Instance>],
    ) -> Result<Vec<Method>, String> {
        Err("later".into())
    }
    pub(super) async fn call<F: Future<Output = ()>>(&self, _call: Call, tell: impl Fn(Progress) -> F) {
        tell(Progress::Failed("later".into())).await;
    }
}
