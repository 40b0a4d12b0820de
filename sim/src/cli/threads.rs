//! Threads and progress of the commands that try many things.

#![expect(
    clippy::disallowed_methods,
    reason = "the command line uses threads; results are sorted, so that the order of the threads does not show"
)]

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::ui::Ui;

/// Does so many deeds in some threads, until one answers none; results come in the order of the deeds.
pub(super) fn in_threads<T: Send>(
    threads: usize,
    count: usize,
    deed: impl Fn(usize) -> Option<T> + Sync,
) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..threads.clamp(1, count.max(1)) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= count {
                        return;
                    }
                    let Some(result) = deed(index) else { return };
                    done.lock().expect("no thread panics with it").push((index, result));
                }
            });
        }
    });
    let mut done = done.into_inner().expect("all threads have ended");
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}

/// A bar for people who watch; none where nobody does.
pub(super) fn progress(ui: Ui, wanted: bool, count: usize, what: &str) -> indicatif::ProgressBar {
    if !wanted || !ui.terminal {
        return indicatif::ProgressBar::hidden();
    }
    let bar = indicatif::ProgressBar::new(count as u64);
    let style = indicatif::ProgressStyle::with_template(
        "  {bar:24} {pos}/{len} {msg}, {per_sec}, {eta} left",
    );
    if let Ok(style) = style {
        bar.set_style(style);
    }
    bar.set_message(what.to_owned());
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}
