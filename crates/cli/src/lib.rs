//! The `tidings` command: everything in one process for development, and what
//! a person needs around a deployment.

mod backup;
mod bench;
mod client;
mod dead;
mod dev;
mod explain;
mod import;
mod lag;
mod output;
mod pause;
mod place;
mod rebuild;
mod replay;
mod reset;
mod schemas;
mod secret;
mod stores;
mod tail;
mod token;
mod topics;
mod verify;

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use clap_complete::Shell;
use tidings_service::tls;

/// An event-sourced messaging backbone
///
/// Exit status: 0 done, 1 failed or found something, 2 wrong usage.
#[derive(Debug, Parser)]
#[command(name = "tidings", version, arg_required_else_help = true)]
#[command(after_help = "\
Quick start:
  tidings dev                                     everything, in one process
  tidings token --user alice                      a token for a client
  tidings tail message.delivered                  what the log holds
  tidings lag                                     how far everybody is")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Dev(Box<dev::DevArgs>),
    Token(token::TokenArgs),
    #[command(subcommand)]
    Topics(topics::Topics),
    #[command(subcommand)]
    Schemas(schemas::Schemas),
    Tail(tail::TailArgs),
    Lag(lag::LagArgs),
    #[command(subcommand)]
    Dead(dead::Dead),
    Replay(Box<replay::ReplayArgs>),
    Reset(Box<reset::ResetArgs>),
    Pause(pause::PauseArgs),
    Resume(pause::ResumeArgs),
    Verify(Box<verify::VerifyArgs>),
    Outcome(Box<explain::OutcomeArgs>),
    Explain(Box<explain::ExplainArgs>),
    #[command(subcommand)]
    Import(import::Import),
    Backup(backup::BackupArgs),
    Restore(backup::RestoreArgs),
    Rebuild(Box<rebuild::RebuildArgs>),
    Rollback(Box<rebuild::RollbackArgs>),
    Bench(Box<bench::BenchArgs>),
    /// Print a completion script for a shell
    ///
    /// For bash: tidings completions bash > ~/.local/share/bash-completion/completions/tidings
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// The command line. `dev` has limits like an edge, with another default.
fn command() -> clap::Command {
    let (argument, default) = dev::MESSAGES_PER_MINUTE;
    Cli::command().mut_subcommand("dev", |dev| {
        dev.mut_arg(argument, |argument| argument.default_value(default))
    })
}

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    tls::install_provider();
    let matches = command().get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    match run(cli.command) {
        Ok(code) => code,
        // Who reads our output has had enough, as in `tidings tail … | head`.
        Err(error) if output::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing is left to tell it to if stderr is gone.
            writeln!(io::stderr(), "tidings: {error:#}").ok();
            ExitCode::from(1)
        }
    }
}

fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Dev(args) => runtime()?.block_on(dev::run(*args)),
        Command::Token(args) => token::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Topics(topics) => runtime()?.block_on(topics::run(topics)),
        Command::Schemas(schemas) => runtime()?.block_on(schemas::run(schemas)),
        Command::Tail(args) => tail::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Lag(args) => lag::run(&args),
        Command::Dead(dead) => dead::run(dead),
        Command::Replay(args) => replay::run(&args),
        Command::Reset(args) => runtime()?.block_on(reset::run(*args)),
        Command::Pause(args) => pause::pause(&args),
        Command::Resume(args) => pause::resume(&args),
        Command::Verify(args) => runtime()?.block_on(verify::run(*args)),
        Command::Outcome(args) => runtime()?.block_on(explain::outcome(*args)),
        Command::Explain(args) => runtime()?.block_on(explain::run(*args)),
        Command::Import(import) => runtime()?.block_on(import::run(import)),
        Command::Backup(args) => runtime()?
            .block_on(backup::back_up(args))
            .map(|()| ExitCode::SUCCESS),
        Command::Restore(args) => runtime()?
            .block_on(backup::restore(args))
            .map(|()| ExitCode::SUCCESS),
        Command::Rebuild(args) => runtime()?.block_on(rebuild::rebuild(*args)),
        Command::Rollback(args) => runtime()?.block_on(rebuild::rollback(*args)),
        Command::Bench(args) => bench::run(*args),
        Command::Completions { shell } => completions(shell).map(|()| ExitCode::SUCCESS),
    }
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start tokio")
}

fn completions(shell: Shell) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command(), "tidings", &mut script);
    Ok(io::stdout().lock().write_all(&script)?)
}
