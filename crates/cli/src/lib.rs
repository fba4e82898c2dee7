//! The `tidings` command: everything in one process for development, and what
//! a person needs around a deployment.

mod bench;
mod client;
mod import;
mod output;
mod secret;
mod token;

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

/// An event-sourced messaging backbone
///
/// Exit status: 0 done, 1 failed or found something, 2 wrong usage.
#[derive(Debug, Parser)]
#[command(name = "tidings", version, arg_required_else_help = true)]
#[command(after_help = "\
Quick start:
  tidings dev                                     everything, in one process
  tidings token --user alice                      a token for a client
  tidings tail message.delivered                  what the log holds")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Token(token::TokenArgs),
    #[command(subcommand)]
    Import(import::Import),
    Bench(Box<bench::BenchArgs>),
    /// Print a completion script for a shell
    ///
    /// For bash: tidings completions bash > ~/.local/share/bash-completion/completions/tidings
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
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
        Command::Token(args) => token::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Import(import) => runtime()?.block_on(import::run(import)),
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
    clap_complete::generate(shell, &mut Cli::command(), "tidings", &mut script);
    Ok(io::stdout().lock().write_all(&script)?)
}
