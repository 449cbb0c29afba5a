//! An instance in a process of its own, which can be stopped and continued as a laptop's lid does.
//! It tells its parent, line by line, what it knows and how many tasks it has, and ends with its
//! input.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use platform::{Platform, Service};

use crate::fleet::TTL;

/// Where the child finds etcd; its presence makes a process one.
pub(crate) const ETCD: &str = "FAULTS_CITIZEN_ETCD";

/// The child's part.
pub(crate) fn live(etcd: String) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let tasks = runtime.metrics();
    let telling = async move {
        let platform = Platform::builder("lone")
            .etcd([etcd])
            .environment([])
            .no_config_cache()
            .lease_ttl(TTL)
            .instance_id("l-1")
            .default("number", 0)
            .start()
            .await
            .unwrap();
        let number = platform.config().live::<u64>("number").unwrap();
        let _serving = platform.bind(Service::new()).await.unwrap();
        loop {
            let stale = platform.config().standing().borrow().stale.is_some();
            let (number, tasks) = (number.get(), tasks.num_alive_tasks());
            println!("\ncitizen {number} {tasks} {stale}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let telling = runtime.spawn(telling);
    // The parent holds the other end for as long as it lives.
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    telling.abort();
}

/// What the child told last.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Told {
    pub(crate) lines: usize,
    pub(crate) number: u64,
    pub(crate) tasks: usize,
    pub(crate) stale: bool,
}

pub(crate) struct Citizen {
    child: Child,
    told: Arc<Mutex<Told>>,
}

impl Citizen {
    /// Starts a process by this command, which has to end up in [`live`].
    pub(crate) fn start(mut command: Command, etcd: &str) -> Citizen {
        let mut child = command
            .env(ETCD, etcd)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let told = Arc::new(Mutex::new(Told::default()));
        let book = Arc::clone(&told);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if let Some(news) = read(&line) {
                    let mut book = book.lock().unwrap();
                    let lines = book.lines + 1;
                    *book = Told { lines, ..news };
                }
            }
        });
        Citizen { child, told }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn told(&self) -> Told {
        *self.told.lock().unwrap()
    }

    /// Sends a signal: `STOP`, `CONT`.
    pub(crate) fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.id());
        let sent = Command::new("sh").arg("-c").arg(kill).status().unwrap();
        assert!(sent.success());
    }
}

fn read(line: &str) -> Option<Told> {
    let mut words = line.strip_prefix("citizen ")?.split(' ');
    Some(Told {
        lines: 0,
        number: words.next()?.parse().ok()?,
        tasks: words.next()?.parse().ok()?,
        stale: words.next()?.parse().ok()?,
    })
}

impl Drop for Citizen {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
