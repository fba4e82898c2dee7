//! `tidings schemas`.

mod check;
mod diff;
mod register;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use serde::Serialize;
use tidings_wire::Topic;
use tidings_wire::schemas::{Sameness, SchemaSet};

use crate::output;

/// Check, register or compare the schemas of what stands in the log
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Schemas {
    Check(check::CheckArgs),
    Register(register::RegisterArgs),
    Diff(diff::DiffArgs),
}

/// Which schemas.
#[derive(Debug, clap::Args)]
struct FolderArgs {
    /// A folder like `schemas/` [default: the schemas built in]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

impl FolderArgs {
    fn open(&self) -> Result<SchemaSet> {
        match &self.dir {
            Some(dir) => SchemaSet::in_folder(dir)
                .with_context(|| format!("cannot read the schemas in {}", dir.display())),
            None => Ok(SchemaSet::built_in()),
        }
    }
}

pub(crate) async fn run(schemas: Schemas) -> Result<ExitCode> {
    match schemas {
        Schemas::Check(args) => check::run(&args).await,
        Schemas::Register(args) => register::run(&args).await,
        Schemas::Diff(args) => diff::run(&args).await,
    }
}

/// Reads a topic's name, or its subject's.
fn parse_topic(text: &str) -> Result<Topic, String> {
    let topic = Topic::parse(text.strip_suffix("-value").unwrap_or(text));
    match topic.filter(|topic| Topic::WITH_SCHEMA.contains(topic)) {
        Some(topic) => Ok(topic),
        None => {
            let known = Topic::WITH_SCHEMA.map(Topic::name).join(", ");
            Err(format!("expected one of {known}, or such with -value"))
        }
    }
}

/// How far two texts are the same, in words.
fn sameness_text(same: Option<Sameness>) -> &'static str {
    match same {
        Some(Sameness::Text) => "byte by byte",
        Some(Sameness::Content) => "the same content, laid out otherwise",
        Some(Sameness::Meaning) => "the same to readers, only docs or spelling differ",
        None => "another schema",
    }
}

fn print<T: Serialize>(json: bool, report: &T, text: impl Fn(&T) -> String) -> Result<()> {
    match json {
        true => output::json(report),
        false => output::line(text(report).trim_end()),
    }
}
