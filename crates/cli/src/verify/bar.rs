use std::io::{self, IsTerminal};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use parking_lot::Mutex;
use tidings_operate::verify::{Phase, Progress};

const LOOK: Duration = Duration::from_millis(200);

/// How a comparison gets on, where somebody looks.
pub(crate) struct Bar {
    bar: ProgressBar,
    phase: Mutex<Option<Phase>>,
}

impl Bar {
    pub(crate) fn new() -> Self {
        let bar = match io::stderr().is_terminal() {
            true => ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()),
            false => ProgressBar::hidden(),
        };
        bar.enable_steady_tick(LOOK);
        Self {
            bar,
            phase: Mutex::new(None),
        }
    }

    pub(crate) fn show(&self, progress: Progress) {
        let mut phase = self.phase.lock();
        if *phase != Some(progress.phase) {
            *phase = Some(progress.phase);
            self.bar.reset();
            let known = "{msg} {wide_bar} {human_pos}/{human_len} {per_sec}, {eta} left";
            let unknown = "{msg} {human_pos} {per_sec} {spinner}";
            let template = if progress.total.is_some() {
                known
            } else {
                unknown
            };
            if let Ok(style) = ProgressStyle::with_template(template) {
                self.bar.set_style(style);
            }
            self.bar.set_message(match progress.phase {
                Phase::Folding => "folding records",
                Phase::Adding => "adding up documents",
                Phase::Comparing => "comparing documents",
            });
        }
        if let Some(total) = progress.total {
            self.bar.set_length(total);
        }
        self.bar.set_position(progress.done);
    }

    /// Prints something without the bar in the way.
    pub(crate) fn above(&self, print: impl FnOnce()) {
        self.bar.suspend(print);
    }

    pub(crate) fn clear(&self) {
        self.bar.finish_and_clear();
    }
}
