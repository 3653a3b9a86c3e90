//! What commands tell a person: numbered steps, lines, quotations and progress.
//!
//! Colours and moving bars appear only on a terminal, and never where `NO_COLOR` is set; elsewhere
//! the same story is told in plain lines. Non-goal: being read by programs, for which commands have
//! options such as `--json`.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Where a story is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terminal {
    audience: Audience,
    colours: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Audience {
    /// A person before a terminal.
    Person,
    /// A pipe or a file.
    Pipe,
    /// Nobody.
    Nobody,
}

#[derive(Clone, Copy)]
enum Style {
    Bold,
    Dim,
    Good,
    Warning,
    Bad,
}

impl Style {
    fn code(self) -> &'static str {
        match self {
            Self::Bold => "1",
            Self::Dim => "2",
            Self::Good => "1;32",
            Self::Warning => "1;33",
            Self::Bad => "1;31",
        }
    }
}

impl Terminal {
    /// Standard output, with colours and bars if it is a terminal.
    #[must_use]
    pub fn detect() -> Self {
        let person = std::io::stdout().is_terminal();
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        Self {
            audience: if person { Audience::Person } else { Audience::Pipe },
            colours: person && !refused && !dumb,
        }
    }

    /// Says nothing to anybody.
    #[must_use]
    pub fn silent() -> Self {
        Self { audience: Audience::Nobody, colours: false }
    }

    /// The same without colours and bars.
    #[must_use]
    pub fn plain(self) -> Self {
        let audience = if self.is_silent() { Audience::Nobody } else { Audience::Pipe };
        Self { audience, colours: false }
    }

    /// Whether anybody listens.
    #[must_use]
    pub fn is_silent(self) -> bool {
        self.audience == Audience::Nobody
    }

    /// Begins a numbered step.
    pub fn step(self, number: usize, of: usize, title: &str) {
        self.line(&format!("\n{}", self.styled(Style::Bold, &format!("[{number}/{of}] {title}"))));
    }

    /// A line of the step.
    pub fn say(self, text: &str) {
        for line in text.lines() {
            self.line(&format!("      {line}"));
        }
    }

    /// What somebody else wrote, shown as it is.
    pub fn quote(self, text: &str) {
        for line in text.lines() {
            self.line(&format!("      {} {line}", self.styled(Style::Dim, "\u{2502}")));
        }
    }

    /// A good ending.
    pub fn success(self, text: &str) {
        self.line(&self.styled(Style::Good, text));
    }

    /// A bad ending.
    pub fn failure(self, text: &str) {
        self.line(&self.styled(Style::Bad, text));
    }

    /// What deserves attention, but stops nothing.
    pub fn warning(self, text: &str) {
        self.line(&self.styled(Style::Warning, text));
    }

    /// A line above others.
    pub fn heading(self, text: &str) {
        self.line(&self.styled(Style::Bold, text));
    }

    /// A text as it is, for a person or a program to take away.
    pub fn print(self, text: &str) {
        self.line(text);
    }

    /// A unified diff.
    pub fn diff(self, text: &str) {
        for line in text.lines() {
            let style = match line.as_bytes() {
                [b'-', b'-', b'-', ..] | [b'+', b'+', b'+', ..] => Style::Bold,
                [b'@', ..] => Style::Dim,
                [b'+', ..] => Style::Good,
                [b'-', ..] => Style::Bad,
                _ => {
                    self.line(line);
                    continue;
                }
            };
            self.line(&self.styled(style, line));
        }
    }

    /// Asks a person to say yes or no, and takes no for the default; none if nobody can be asked.
    #[must_use]
    pub fn confirm(self, question: &str) -> Option<bool> {
        if self.audience != Audience::Person || !std::io::stdin().is_terminal() {
            return None;
        }
        let _ = write!(std::io::stdout(), "{} [y/N] ", self.styled(Style::Bold, question));
        let _ = std::io::stdout().flush();
        let mut answer = String::new();
        let read = std::io::stdin().read_line(&mut answer);
        Some(read.is_ok() && ["y", "yes"].contains(&answer.trim().to_lowercase().as_str()))
    }

    /// Why a command can't go on, on standard error.
    pub fn error(self, text: &str) {
        // With nobody to tell, there is nothing left to do.
        let _ = writeln!(std::io::stderr(), "error: {text}");
    }

    /// A count that grows towards `total`.
    #[must_use]
    pub fn progress(self, what: &'static str, total: u64) -> Progress {
        let bar = match self.audience {
            Audience::Person => ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stdout()),
            Audience::Pipe | Audience::Nobody => ProgressBar::hidden(),
        };
        bar.set_length(total);
        let template = "      {bar:32} {pos:>5} of {len} {msg}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(what);
        bar.enable_steady_tick(Duration::from_millis(200));
        Progress { terminal: self, bar, what }
    }

    /// Whether there is a terminal that a line can change on.
    #[must_use]
    pub fn is_live(self) -> bool {
        self.audience == Audience::Person
    }

    /// A line that changes, below those that stay.
    #[must_use]
    pub fn live(self) -> Live {
        let bar = match self.audience {
            Audience::Person => ProgressBar::with_draw_target(None, ProgressDrawTarget::stdout()),
            Audience::Pipe | Audience::Nobody => ProgressBar::hidden(),
        };
        bar.enable_steady_tick(Duration::from_millis(200));
        Live(bar)
    }

    fn styled(self, style: Style, text: &str) -> String {
        if self.colours { format!("\u{1b}[{}m{text}\u{1b}[0m", style.code()) } else { text.to_owned() }
    }

    fn line(self, text: &str) {
        if self.audience != Audience::Nobody {
            // A reader that went away must not end a rehearsal half way.
            let _ = writeln!(std::io::stdout(), "{text}");
        }
    }
}

/// A line that changes; it disappears when dropped.
#[derive(Debug)]
pub struct Live(ProgressBar);

impl Live {
    /// Shows how much of a total is done, or just that something goes on if the total is 0.
    pub fn show(&self, done: u64, total: u64, text: String) {
        let template = if total == 0 { "      {spinner} {msg} ({elapsed})" } else { "      {bar:32} {msg}" };
        if let Ok(style) = ProgressStyle::with_template(template) {
            self.0.set_style(style);
        }
        self.0.set_length(total);
        self.0.set_position(done);
        self.0.set_message(text);
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// A count on its way; it disappears when dropped, and [`Progress::done`] leaves a line.
#[derive(Debug)]
pub struct Progress {
    terminal: Terminal,
    bar: ProgressBar,
    what: &'static str,
}

impl Progress {
    /// One more.
    pub fn advance(&self) {
        self.bar.inc(1);
    }

    /// How many there are by now.
    pub fn set(&self, count: u64) {
        self.bar.set_position(count);
    }

    /// Ends the count with a line.
    pub fn done(self) {
        let (count, total) = (self.bar.position(), self.bar.length().unwrap_or_default());
        self.bar.finish_and_clear();
        self.terminal.say(&format!("{count} of {total} {}", self.what));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
