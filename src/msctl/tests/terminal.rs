//! A program in a real pseudo-terminal, seen through a terminal emulator. Nothing sleeps for a
//! fixed time: `wait_for` reads until the screen is as wanted, or shows the screen that was not.

use std::io::{Read, Write};
use std::num::NonZeroU16;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};

/// How long a screen may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running program and its screen. Dropping it ends the program.
pub(crate) struct Terminal {
    child: Box<dyn Child + Send + Sync>,
    master: Box<dyn MasterPty + Send>,
    keys: Box<dyn Write + Send>,
    screen: Arc<Screen>,
}

struct Screen {
    parser: Mutex<vt100::Parser>,
    changed: Condvar,
}

impl Terminal {
    /// Starts a program with these arguments and variables in a terminal of that size.
    pub(crate) fn start(
        program: &str,
        arguments: &[&str],
        variables: &[(&str, &str)],
        size: (u16, u16),
    ) -> Self {
        let (columns, rows) = size;
        let pair = native_pty_system()
            .openpty(pty_size(columns, rows))
            .expect("a pseudo-terminal");
        let mut command = CommandBuilder::new(program);
        command.args(arguments);
        command.env("TERM", "xterm-256color");
        command.env("COLORTERM", "truecolor");
        command.env_remove("NO_COLOR");
        for (name, value) in variables {
            command.env(name, value);
        }
        let child = pair
            .slave
            .spawn_command(command)
            .expect("the program starts");
        drop(pair.slave);
        let mut output = pair.master.try_clone_reader().expect("a reader");
        let keys = pair.master.take_writer().expect("a writer");
        let screen = Arc::new(Screen {
            parser: Mutex::new(vt100::Parser::new(cells(rows), cells(columns), 0)),
            changed: Condvar::new(),
        });
        let feed = screen.clone();
        std::thread::spawn(move || {
            let mut buffer = [0; 16 * 1024];
            while let Ok(read @ 1..) = output.read(&mut buffer) {
                feed.parser.lock().unwrap().process(&buffer[..read]);
                feed.changed.notify_all();
            }
            feed.changed.notify_all();
        });
        Self {
            child,
            master: pair.master,
            keys,
            screen,
        }
    }

    /// What stands on the screen, line by line, without trailing spaces.
    pub(crate) fn text(&self) -> String {
        text_of(&self.screen.parser.lock().unwrap())
    }

    /// Waits until the program has left the alternate screen: what it wrote last may still be on
    /// its way when it has ended.
    pub(crate) fn wait_for_given_back(&self) {
        let start = Instant::now();
        let mut parser = self.screen.parser.lock().unwrap();
        while parser.screen().alternate_screen() {
            assert!(start.elapsed() < PATIENCE, "the terminal is not given back");
            let step = Duration::from_millis(500);
            parser = self.screen.changed.wait_timeout(parser, step).unwrap().0;
        }
    }

    /// Types these characters.
    pub(crate) fn keys(&mut self, keys: &str) {
        self.keys
            .write_all(keys.as_bytes())
            .expect("the terminal takes keys");
        self.keys.flush().expect("the terminal takes keys");
    }

    /// Changes the size of the terminal.
    pub(crate) fn resize(&mut self, columns: u16, rows: u16) {
        self.screen
            .parser
            .lock()
            .unwrap()
            .screen_mut()
            .set_size(cells(rows), cells(columns));
        self.master
            .resize(pty_size(columns, rows))
            .expect("the terminal resizes");
    }

    /// Waits until the screen is as wanted and returns its text.
    ///
    /// Panics with the screen when it does not come to be so.
    pub(crate) fn wait_for(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let start = Instant::now();
        let mut parser = self.screen.parser.lock().unwrap();
        loop {
            let text = text_of(&parser);
            if wanted(&text) {
                return text;
            }
            assert!(
                start.elapsed() < PATIENCE,
                "waited for {what}; the screen is\n{text}"
            );
            let step = Duration::from_millis(500);
            parser = self.screen.changed.wait_timeout(parser, step).unwrap().0;
        }
    }

    /// Waits until all these texts stand on the screen.
    pub(crate) fn wait_for_texts(&self, texts: &[&str]) -> String {
        self.wait_for(&format!("{texts:?}"), |screen| {
            texts.iter().all(|text| screen.contains(text))
        })
    }

    /// Waits for the program to end and returns its exit code.
    pub(crate) fn wait_for_end(&mut self) -> u32 {
        let start = Instant::now();
        loop {
            if let Some(status) = self
                .child
                .try_wait()
                .expect("the program can be waited for")
            {
                return status.exit_code();
            }
            assert!(
                start.elapsed() < PATIENCE,
                "the program does not end:\n{}",
                self.text()
            );
            std::thread::yield_now();
            let parser = self.screen.parser.lock().unwrap();
            drop(
                self.screen
                    .changed
                    .wait_timeout(parser, Duration::from_millis(50))
                    .unwrap(),
            );
        }
    }

    /// The program's process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child
            .process_id()
            .expect("the program has a process id")
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn cells(count: u16) -> NonZeroU16 {
    NonZeroU16::new(count).expect("a terminal has cells")
}

fn pty_size(columns: u16, rows: u16) -> PtySize {
    PtySize {
        rows,
        cols: columns,
        pixel_width: 0,
        pixel_height: 0,
    }
}

fn text_of(parser: &vt100::Parser) -> String {
    let screen = parser.screen();
    let (_, columns) = screen.size();
    let lines: Vec<String> = screen
        .rows(0, columns.get())
        .map(|line| line.trim_end().to_owned())
        .collect();
    lines.join("\n").trim_end().to_owned()
}
