//! What ends an instance: signals, and for a child its parent. However the parent dies, the kernel closes the
//! pipe that it held as our standard input; no process id is asked that might be somebody else's by then.

use std::io::Read as _;

use platform::Error;
use tokio::{sync::watch, task::JoinHandle};

use crate::options::Parent;

/// Hears signals and the parent's end from its making to its drop.
pub(crate) struct Ending {
    heard: watch::Receiver<Heard>,
    signals: JoinHandle<()>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Heard {
    signals: u32,
    is_orphan: bool,
}

impl Ending {
    pub(crate) fn listen(parent: Parent) -> Result<Self, Error> {
        let (tell, heard) = watch::channel(Heard::default());
        if parent == Parent::HoldsStdin {
            let tell = tell.clone();
            // A thread, since a runtime cannot end while a task of it reads standard input. It ends with the
            // pipe, or with the process.
            std::thread::Builder::new()
                .name("parent".to_owned())
                .spawn(move || {
                    wait_for_end();
                    tell.send_modify(|heard| heard.is_orphan = true);
                })
                .map_err(|cause| Error::System {
                    what: "watching the parent",
                    cause,
                })?;
        }
        Ok(Self {
            heard,
            signals: tokio::spawn(listener(tell, parent)?),
        })
    }

    /// Ends when the instance should leave in good order.
    pub(crate) fn leave(&self) -> impl Future<Output = ()> + use<> {
        until(self.heard.clone(), |heard| {
            heard.signals > 0 || heard.is_orphan
        })
    }

    /// Ends when it should stop at once.
    pub(crate) fn stop_now(&self) -> impl Future<Output = ()> + use<> {
        until(self.heard.clone(), |heard| heard.signals > 1)
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.signals.abort();
    }
}

async fn until(mut heard: watch::Receiver<Heard>, is_so: impl Fn(&Heard) -> bool) {
    if heard.wait_for(is_so).await.is_err() {
        // Nobody is left to tell, so it will never be so.
        std::future::pending::<()>().await;
    }
}

fn wait_for_end() {
    let mut nothing = [0; 64];
    let mut stdin = std::io::stdin().lock();
    // What a parent writes by mistake is passed over.
    while let Ok(1..) = stdin.read(&mut nothing) {}
}

#[cfg(unix)]
fn listener(tell: watch::Sender<Heard>, parent: Parent) -> Result<impl Future<Output = ()>, Error> {
    use tokio::signal::unix::{SignalKind, signal};
    let listen = |kind| {
        signal(kind).map_err(|cause| Error::System {
            what: "listening for signals",
            cause,
        })
    };
    let mut terminate = listen(SignalKind::terminate())?;
    let mut interrupt = listen(SignalKind::interrupt())?;
    Ok(async move {
        loop {
            let counts = tokio::select! {
                _ = terminate.recv() => true,
                // A terminal sends ctrl-c to the child as well, where it is the parent's to decide.
                _ = interrupt.recv() => parent == Parent::None,
            };
            if counts {
                tell.send_modify(|heard| heard.signals += 1);
            }
        }
    })
}

#[cfg(not(unix))]
fn listener(tell: watch::Sender<Heard>, parent: Parent) -> Result<impl Future<Output = ()>, Error> {
    Ok(async move {
        while tokio::signal::ctrl_c().await.is_ok() {
            if parent == Parent::None {
                tell.send_modify(|heard| heard.signals += 1);
            }
        }
    })
}
