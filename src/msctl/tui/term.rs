//! The terminal: taken on entry and given back whatever happens — end, error, panic, signal, suspend,
//! an external editor. One frame is one write, between the marks of synchronized output.

use std::io::{self, BufWriter, Stdout, Write as _};
use std::panic;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine as _;
use crossterm::event::{
    self as input, DisableBracketedPaste, DisableMouseCapture, EnableBracketedPaste,
    EnableMouseCapture, KeyboardEnhancementFlags, PopKeyboardEnhancementFlags,
    PushKeyboardEnhancementFlags,
};
use crossterm::terminal::{
    BeginSynchronizedUpdate, EndSynchronizedUpdate, EnterAlternateScreen, LeaveAlternateScreen,
    disable_raw_mode, enable_raw_mode,
};
use crossterm::{cursor, execute, queue};
use ratatui::backend::CrosstermBackend;
use ratatui::layout::Rect;
use ratatui::{Terminal, TerminalOptions, Viewport};

use mute::Mute;

use super::event::Event;
use super::key::{Code, Key, Modifiers, Mouse, MouseKind};
use super::state::known_size;

mod mute;

/// OSC 52 texts beyond this are refused by most terminals.
const CLIPBOARD_BYTES: usize = 56_000;

/// Whether the terminal is ours at the moment; asked by the panic hook.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// The terminal while it is ours.
pub struct Screen {
    terminal: Terminal<Mute<CrosstermBackend<BufWriter<Stdout>>>>,
}

impl Screen {
    /// Takes the terminal.
    ///
    /// # Errors
    /// When standard output is no terminal, or it cannot be set up.
    pub fn enter() -> io::Result<Self> {
        hook_panics();
        take()?;
        let made = Self::over();
        if made.is_err() {
            give_back();
        }
        made
    }

    fn over() -> io::Result<Self> {
        let out = BufWriter::with_capacity(1 << 16, io::stdout());
        let backend = Mute(CrosstermBackend::new(out));
        let viewport = Viewport::Fixed(rect(Self::size()));
        let mut terminal = Terminal::with_options(backend, TerminalOptions { viewport })?;
        terminal.clear()?;
        Ok(Self { terminal })
    }

    /// Columns and rows, as far as the terminal tells.
    pub fn size() -> (u16, u16) {
        known_size(crossterm::terminal::size().unwrap_or((0, 0)))
    }

    /// Follows the terminal's size. Returns whether it is another one: then nothing shows until
    /// the next frame is drawn.
    ///
    /// # Errors
    /// When it cannot be cleared.
    pub fn resize(&mut self, width: u16, height: u16) -> io::Result<bool> {
        let area = rect(known_size((width, height)));
        let resized = area != self.terminal.get_frame().area();
        if resized {
            self.terminal.resize(area)?;
        }
        Ok(resized)
    }

    /// Forgets what shows, so that the next frame draws everything.
    ///
    /// # Errors
    /// When the terminal cannot be written.
    pub fn forget(&mut self) -> io::Result<()> {
        self.terminal.clear()
    }

    /// Draws a frame: what differs from the last one, in one write.
    ///
    /// # Errors
    /// When the terminal cannot be written.
    pub fn draw(&mut self, paint: impl FnOnce(&mut ratatui::buffer::Buffer)) -> io::Result<()> {
        queue!(self.terminal.backend_mut(), BeginSynchronizedUpdate)?;
        self.terminal.draw(|frame| paint(frame.buffer_mut()))?;
        queue!(self.terminal.backend_mut(), EndSynchronizedUpdate)?;
        io::Write::flush(self.terminal.backend_mut())
    }

    /// Puts a text on the clipboard by way of the terminal.
    ///
    /// # Errors
    /// When the terminal cannot be written, or the text is longer than terminals take.
    pub fn copy(&mut self, text: &str) -> io::Result<()> {
        if text.len() > CLIPBOARD_BYTES {
            return Err(io::Error::other(format!(
                "{} bytes are more than terminals take on their clipboard ({CLIPBOARD_BYTES})",
                text.len()
            )));
        }
        let inside = match (std::env::var_os("TMUX"), std::env::var("TERM")) {
            (Some(_), _) => Inside::Tmux,
            (None, Ok(term)) if term.starts_with("screen") => Inside::Screen,
            _ => Inside::Nothing,
        };
        let backend = self.terminal.backend_mut();
        backend.write_all(clipboard(text, inside).as_bytes())?;
        io::Write::flush(backend)
    }

    /// Gives the terminal back, does something, takes it again.
    ///
    /// # Errors
    /// When it cannot be taken again.
    pub async fn without<T>(&mut self, work: impl Future<Output = T>) -> io::Result<T> {
        give_back();
        let result = work.await;
        take()?;
        self.resize_to_terminal()?;
        Ok(result)
    }

    /// Goes to the background until the shell brings it back.
    ///
    /// # Errors
    /// When the terminal cannot be taken again.
    pub fn suspend(&mut self) -> io::Result<()> {
        give_back();
        signal_hook::low_level::raise(signal_hook::consts::SIGSTOP)?;
        take()?;
        self.resize_to_terminal()
    }

    fn resize_to_terminal(&mut self) -> io::Result<()> {
        let (width, height) = Self::size();
        self.resize(width, height)?;
        self.forget()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

fn rect((width, height): (u16, u16)) -> Rect {
    Rect::new(0, 0, width, height)
}

fn take() -> io::Result<()> {
    enable_raw_mode()?;
    TAKEN.store(true, Ordering::SeqCst);
    let taken = execute!(
        io::stdout(),
        EnterAlternateScreen,
        EnableMouseCapture,
        EnableBracketedPaste,
        PushKeyboardEnhancementFlags(KeyboardEnhancementFlags::DISAMBIGUATE_ESCAPE_CODES),
        cursor::Hide
    );
    if taken.is_err() {
        give_back();
    }
    taken
}

/// Gives the terminal back; a second time does nothing.
fn give_back() {
    if !TAKEN.swap(false, Ordering::SeqCst) {
        return;
    }
    // Each step is tried even where the one before failed: a half-restored terminal is of no use.
    let mut out = io::stdout();
    let _ = execute!(out, EndSynchronizedUpdate, PopKeyboardEnhancementFlags);
    let _ = execute!(out, DisableBracketedPaste, DisableMouseCapture);
    let _ = execute!(out, LeaveAlternateScreen, cursor::Show);
    let _ = disable_raw_mode();
}

/// A panic restores the terminal before it is told of, so that its words can be read.
fn hook_panics() {
    static HOOKED: Once = Once::new();
    HOOKED.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            give_back();
            before(info);
        }));
    });
}

/// What the console runs in, as far as the clipboard is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Inside {
    /// A terminal.
    Nothing,
    /// tmux, which hands on what is wrapped for it.
    Tmux,
    /// GNU screen, likewise.
    Screen,
}

/// The OSC 52 sequence, wrapped for what stands between.
fn clipboard(text: &str, inside: Inside) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(text);
    let plain = format!("\x1b]52;c;{text}\x07");
    match inside {
        Inside::Nothing => plain,
        // tmux takes the plain one for its own buffer and hands the wrapped one to its terminal.
        Inside::Tmux => format!("{plain}\x1bPtmux;\x1b{plain}\x1b\\"),
        Inside::Screen => format!("\x1bP{plain}\x1b\\"),
    }
}

/// A terminal's event as the console knows it; `None` for what means nothing to it.
pub fn translate(event: input::Event) -> Option<Event> {
    match event {
        input::Event::Key(key) if key.kind != input::KeyEventKind::Release => {
            translate_key(key).map(Event::Key)
        }
        input::Event::Paste(text) => Some(Event::Paste(text)),
        input::Event::Resize(width, height) => Some(Event::Resize(width, height)),
        input::Event::Mouse(mouse) => {
            let kind = match mouse.kind {
                input::MouseEventKind::Down(input::MouseButton::Left) => MouseKind::Press,
                input::MouseEventKind::ScrollUp => MouseKind::WheelUp,
                input::MouseEventKind::ScrollDown => MouseKind::WheelDown,
                _ => return None,
            };
            Some(Event::Mouse(Mouse {
                kind,
                column: mouse.column,
                row: mouse.row,
            }))
        }
        _ => None,
    }
}

fn translate_key(key: input::KeyEvent) -> Option<Key> {
    let mut modifiers = Modifiers {
        ctrl: key.modifiers.contains(input::KeyModifiers::CONTROL),
        alt: key.modifiers.contains(input::KeyModifiers::ALT),
        shift: key.modifiers.contains(input::KeyModifiers::SHIFT),
    };
    let code = match key.code {
        input::KeyCode::Char(character) => {
            modifiers.shift = false;
            Code::Char(character)
        }
        input::KeyCode::BackTab => {
            modifiers.shift = true;
            Code::Tab
        }
        input::KeyCode::F(number) => Code::F(number),
        input::KeyCode::Enter => Code::Enter,
        input::KeyCode::Esc => Code::Esc,
        input::KeyCode::Tab => Code::Tab,
        input::KeyCode::Backspace => Code::Backspace,
        input::KeyCode::Delete => Code::Delete,
        input::KeyCode::Up => Code::Up,
        input::KeyCode::Down => Code::Down,
        input::KeyCode::Left => Code::Left,
        input::KeyCode::Right => Code::Right,
        input::KeyCode::Home => Code::Home,
        input::KeyCode::End => Code::End,
        input::KeyCode::PageUp => Code::PageUp,
        input::KeyCode::PageDown => Code::PageDown,
        _ => return None,
    };
    Some(Key { code, modifiers })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clipboard_is_reached_through_what_stands_between() {
        assert_eq!(clipboard("hi", Inside::Nothing), "\x1b]52;c;aGk=\x07");
        let tmux = clipboard("hi", Inside::Tmux);
        assert!(
            tmux.ends_with("\x1bPtmux;\x1b\x1b]52;c;aGk=\x07\x1b\\"),
            "{tmux:?}"
        );
        assert_eq!(
            clipboard("hi", Inside::Screen),
            "\x1bP\x1b]52;c;aGk=\x07\x1b\\"
        );
    }

    #[test]
    fn keys_are_told_apart_as_the_keymap_wants() {
        let press = |code, modifiers| input::KeyEvent::new(code, modifiers);
        for (event, expected) in [
            (
                press(input::KeyCode::Char('G'), input::KeyModifiers::SHIFT),
                "G",
            ),
            (
                press(input::KeyCode::BackTab, input::KeyModifiers::SHIFT),
                "shift-tab",
            ),
            (
                press(input::KeyCode::Char('s'), input::KeyModifiers::CONTROL),
                "ctrl-s",
            ),
            (
                press(input::KeyCode::Enter, input::KeyModifiers::CONTROL),
                "ctrl-enter",
            ),
        ] {
            assert_eq!(translate_key(event).unwrap().to_string(), expected);
        }
    }
}
