//! `ivory-sim run … --html`: each run as a page for a browser, and an index of several.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the command line writes files, and says how long it took"
)]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::look::{headline, index, page, record, shape};
use crate::scenario::driver::Build;
use crate::scenario::language::Scenario;
use crate::scenario::run::Outcome;

/// Pages that are being written.
pub(super) struct Pages {
    path: PathBuf,
    /// Into a folder, with an index.
    folder: bool,
    /// Name, headline, and whether it came out as it should.
    told: Vec<(String, String, bool)>,
    bytes: usize,
    took: Duration,
}

impl Pages {
    /// Pages of so many stories: one is a file, several are a folder.
    pub fn new(path: &Path, stories: usize) -> Self {
        let folder = stories != 1 || path.is_dir();
        Self { path: path.to_owned(), folder, told: Vec::new(), bytes: 0, took: Duration::ZERO }
    }

    /// Plays a story and writes its page.
    ///
    /// # Errors
    /// A sentence: the world can't be made, or the file can't be written.
    pub fn play(
        &mut self,
        scenario: &Scenario,
        seed: Option<u64>,
        trace: bool,
        build: &Build<'_>,
    ) -> Result<Outcome, String> {
        let recording = record(scenario, seed, trace, build)?;
        let began = Instant::now();
        let text = page(&recording);
        let file = match self.folder {
            true => self.path.join(format!("{}.html", scenario.name)),
            false => self.path.clone(),
        };
        self.write(&file, &text)?;
        self.took += began.elapsed();
        let told = headline(&recording, &shape(&recording)).join(" ");
        self.told.push((scenario.name.clone(), told, recording.outcome.failure.is_none()));
        Ok(recording.outcome)
    }

    fn write(&mut self, file: &Path, text: &str) -> Result<(), String> {
        let wrong = |e: std::io::Error| format!("{} can't be written: {e}", file.display());
        if let Some(folder) = file.parent().filter(|_| self.folder) {
            std::fs::create_dir_all(folder).map_err(wrong)?;
        }
        self.bytes += text.len();
        std::fs::write(file, text).map_err(wrong)
    }

    /// Writes the index, if there are several.
    ///
    /// # Errors
    /// A sentence, when it can't be written.
    pub fn end(&mut self) -> Result<(), String> {
        if self.folder {
            let text = index(&self.told);
            self.write(&self.path.join("index.html"), &text)?;
        }
        Ok(())
    }

    /// Where they are, in words.
    pub fn told(&self) -> String {
        let file = match self.folder {
            true => self.path.join("index.html"),
            false => self.path.clone(),
        };
        let (kb, ms) = (self.bytes.div_ceil(1000), self.took.as_millis());
        format!("{} ({kb} KB in {ms} ms): open it in a browser", file.display())
    }
}
