//! A bar on stderr while a server is asked for one list after the other.

use std::io::{self, IsTerminal};

use discovery_client::Progress;
use indicatif::{ProgressBar, ProgressStyle};

/// `/api` and `/apis`, after which the number of lists is known.
const GROUPS: usize = 2;

/// Draws nothing unless stderr is a terminal, and nothing for a server that tells all lists at once.
#[derive(Debug, Default)]
pub(crate) struct Bar {
    bar: Option<ProgressBar>,
}

impl Bar {
    pub(crate) fn show(&mut self, progress: Progress) {
        let lists = (progress.done + progress.outstanding).saturating_sub(GROUPS);
        if lists == 0 || progress.done < GROUPS || !io::stderr().is_terminal() {
            return;
        }
        let bar = self.bar.get_or_insert_with(|| {
            let style = ProgressStyle::with_template("asking for resources {bar:40} {pos}/{len}");
            ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        bar.set_length(lists as u64);
        bar.set_position((progress.done - GROUPS) as u64);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// A bar on stderr while many files are looked at. Draws nothing unless stderr is a terminal.
#[derive(Debug)]
pub(crate) struct Count {
    bar: Option<ProgressBar>,
}

impl Count {
    pub(crate) fn new(what: &'static str, files: usize) -> Self {
        let bar = io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{msg} files {bar:40} {pos}/{len}");
            let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
            let bar = ProgressBar::new(files as u64).with_style(style);
            bar.set_message(what);
            bar
        });
        Self { bar }
    }

    pub(crate) fn advance(&self) {
        if let Some(bar) = &self.bar {
            bar.inc(1);
        }
    }

    /// Does something that prints, and takes the bar away meanwhile.
    pub(crate) fn around<T>(&self, print: impl FnOnce() -> T) -> T {
        match &self.bar {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
