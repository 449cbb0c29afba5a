//! `msctl tui`: the console, started with what the command line and the terminal say.

use std::io::IsTerminal;

use crate::report::{Color, Failure};
use crate::session::Session;
use crate::settings::Global;
use crate::settings::file::SettingsFile;
use crate::tui::keymap::Keymap;
use crate::tui::state::Suspension;
use crate::tui::theme::{ColorChoice, Surroundings, Theme};
use crate::tui::{Options, View};

/// Open the console.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  msctl tui                    opens on Services
  msctl tui config             opens on Config
  msctl --context prod tui
Inside, ? shows the keys that work, and : finds everything by name.")]
pub struct Tui {
    /// The view to open on: services, config, calls, leases, events, keys, doctor, overview
    #[arg(value_parser = view, default_value = "services", hide_default_value = true)]
    view: View,
    #[command(flatten)]
    look: Look,
}

/// How the console looks.
#[derive(Debug, Clone, clap::Args)]
pub struct Look {
    /// Colours and glyphs: dark, light, 16, none, ascii [default: as the terminal can]
    #[arg(long, env = "MSCTL_THEME", hide_env = true, value_name = "NAME", value_parser = theme)]
    theme: Option<Theme>,
}

fn view(text: &str) -> Result<View, String> {
    View::named(text).ok_or_else(|| {
        let names: Vec<String> = View::TABS
            .iter()
            .map(|(_, view)| view.title().to_lowercase())
            .collect();
        format!("there is no view '{text}'; there are {}", names.join(", "))
    })
}

fn theme(text: &str) -> Result<Theme, String> {
    Theme::named(text).ok_or_else(|| {
        format!(
            "there is no theme '{text}'; there are {}",
            Theme::NAMES.join(", ")
        )
    })
}

impl Tui {
    /// Runs until the user leaves.
    ///
    /// # Errors
    /// When there is no terminal.
    pub fn run(&self, global: &Global) -> Result<(), Failure> {
        if !std::io::stdin().is_terminal() || !std::io::stdout().is_terminal() {
            return Err(Failure::usage("the console needs a terminal")
                .next("Without one, use the commands: msctl services, msctl config list."));
        }
        let context = global.resolve()?;
        crate::cli::on_threads(async {
            let session = Session::open(context)?;
            let own = Suspension::Allowed;
            open(session, self.view, &self.look, global.color, own).await
        })
    }
}

/// The keys of the settings file.
fn keymap(file: &SettingsFile) -> Result<Keymap, Failure> {
    let own = file.keys.bindings.iter();
    let own = own.map(|(action, keys)| (action.as_str(), keys.all()));
    Keymap::custom(file.keys.preset.as_deref(), own).map_err(|error| {
        let place = file.path.display();
        Failure::usage(error.to_string()).next(format!("Look at 'keys' in {place}."))
    })
}

/// Opens the console over a session.
///
/// # Errors
/// When the terminal is lost.
pub(crate) async fn open(
    session: Session,
    view: View,
    look: &Look,
    color: Color,
    suspension: Suspension,
) -> Result<(), Failure> {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let choice = match color {
        Color::Auto => ColorChoice::Auto,
        Color::Always => ColorChoice::Always,
        Color::Never => ColorChoice::Never,
    };
    let around = Surroundings {
        no_color: set("NO_COLOR").is_some(),
        colorterm: set("COLORTERM"),
        term: set("TERM"),
        colorfgbg: set("COLORFGBG"),
        locale: set("LC_ALL")
            .or_else(|| set("LC_CTYPE"))
            .or_else(|| set("LANG")),
    };
    let file = SettingsFile::load()?;
    let options = Options {
        keymap: keymap(&file)?,
        contexts: file.contexts.into_keys().collect(),
        suspension,
        view,
        theme: look.theme.unwrap_or_else(|| Theme::detect(choice, &around)),
    };
    Box::pin(crate::tui::run(session, options)).await
}
