use std::io::{self, IsTerminal};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tidings_operate::rebuild::{Phase, Progress};

const LOOK: Duration = Duration::from_millis(200);

/// How a rebuild gets on, where somebody looks.
pub(crate) struct Bar(ProgressBar);

impl Bar {
    pub(crate) fn new() -> Self {
        let bar = match io::stderr().is_terminal() {
            true => ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()),
            false => ProgressBar::hidden(),
        };
        let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} {msg}");
        if let Ok(style) = style {
            bar.set_style(style);
        }
        bar.enable_steady_tick(LOOK);
        Self(bar)
    }

    pub(crate) fn show(&self, progress: &Progress) {
        self.0.set_length(progress.total.max(0).cast_unsigned());
        self.0.set_position(progress.applied.max(0).cast_unsigned());
        let message = match progress.phase {
            Phase::Building => {
                let eta = match progress.eta() {
                    Some(eta) => indicatif::HumanDuration(eta).to_string(),
                    None => "no end in sight".to_owned(),
                };
                format!("{:.0}/s, {eta} left", progress.rate)
            }
            Phase::Checking => "comparing with the log".to_owned(),
            Phase::HandingOver => "waiting for the consumers".to_owned(),
        };
        self.0.set_message(message);
    }

    pub(crate) fn clear(&self) {
        self.0.finish_and_clear();
    }
}
