//! `tidings lag --watch`: the same figures, live.

mod draw;
mod state;

use std::io::{IsTerminal, stdout};
use std::process::ExitCode;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

use anyhow::{Context, Result};
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use tidings_service::lifecycle::shutdown_signal;
use tokio_util::sync::CancellationToken;

use self::state::{Gatherer, Shown};
use super::LagArgs;

/// How soon a key, or the end, is noticed.
const TICK: Duration = Duration::from_millis(100);

pub(super) fn run(args: &LagArgs) -> Result<ExitCode> {
    if !stdout().is_terminal() {
        eprint(
            "tidings: --watch draws on a terminal, and stdout is none: use `tidings lag --json`",
        );
        return Ok(ExitCode::from(2));
    }
    let runtime = crate::runtime()?;
    let stop = {
        let _in_runtime = runtime.enter();
        shutdown_signal().context("cannot catch signals")?
    };
    let gatherer = Gatherer::new(args, runtime.handle().clone())?;
    let (sender, looks) = mpsc::channel();
    let every = Duration::from_secs_f64(args.every);
    let gathering = stop.clone();
    std::thread::Builder::new()
        .name("lag-watch".to_owned())
        .spawn(move || gather(gatherer, every, &sender, &gathering))?;
    // Panics are shown after the terminal is as it was.
    let terminal = ratatui::try_init().context("cannot take over the terminal")?;
    let drawn = draw_until_told(terminal, &looks, &stop);
    ratatui::restore();
    stop.cancel();
    // The one that gathers may be waiting for a server that is down.
    runtime.shutdown_background();
    drawn.map(|()| ExitCode::SUCCESS)
}

fn eprint(line: &str) {
    use std::io::Write;
    // Nothing is left to tell it to if stderr is gone.
    writeln!(std::io::stderr(), "{line}").ok();
}

/// Looks again and again, until nobody listens.
fn gather(
    mut gatherer: Gatherer,
    every: Duration,
    sender: &Sender<Result<state::Look, String>>,
    stop: &CancellationToken,
) {
    while !stop.is_cancelled() {
        let look = gatherer.look().map_err(|error| format!("{error:#}"));
        if sender.send(look).is_err() {
            return;
        }
        std::thread::sleep(every);
    }
}

fn draw_until_told(
    mut terminal: DefaultTerminal,
    looks: &Receiver<Result<state::Look, String>>,
    stop: &CancellationToken,
) -> Result<()> {
    let mut shown = Shown::default();
    while !stop.is_cancelled() {
        terminal
            .draw(|frame| draw::draw(frame, &shown))
            .context("cannot draw")?;
        if is_quit()? {
            break;
        }
        match looks.recv_timeout(TICK) {
            Ok(look) => shown.take(look),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    Ok(())
}

/// Whether a key says that it is enough.
fn is_quit() -> Result<bool> {
    while event::poll(Duration::ZERO).context("cannot read keys")? {
        let Event::Key(key) = event::read().context("cannot read keys")? else {
            continue;
        };
        let is_interrupt =
            key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
        if key.kind == KeyEventKind::Press
            && (is_interrupt || matches!(key.code, KeyCode::Char('q') | KeyCode::Esc))
        {
            return Ok(true);
        }
    }
    Ok(false)
}
