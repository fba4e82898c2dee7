//! A part of a view, computed anew in place.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Result, bail};
use serde::Serialize;
use tidings_operate::verify::{Options, Repair, Rewritten, Scope, rewrite as rewrite_part};
use tidings_views::generation::Generation;
use tokio_util::sync::CancellationToken;

use super::{Name, RebuildArgs};
use crate::output;
use crate::verify::{Bar, Target, ViewName, open_target};

#[derive(Serialize)]
struct Report {
    view: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    conversation_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<String>,
    /// The generation that is read.
    generation: Generation,
    dry_run: bool,
    decisions: u64,
    documents: u64,
    /// Documents that were written, or, in a dry run, would be.
    rewritten: u64,
    missing: u64,
    extra: u64,
    different: u64,
    by_kind: BTreeMap<&'static str, u64>,
    /// Whether it is as the log says, by a comparison after the last write.
    verified: bool,
    seconds: f64,
}

impl From<Name> for ViewName {
    fn from(name: Name) -> Self {
        match name {
            Name::History => Self::History,
            Name::Search => Self::Search,
            Name::Cache => Self::Cache,
        }
    }
}

pub(super) async fn rewrite(args: RebuildArgs, stop: &CancellationToken) -> Result<ExitCode> {
    let scope = Scope {
        conversation_id: args.conversation,
        tenant: args.tenant.clone(),
        sample: None,
    };
    let view = &args.view;
    let is_repair = !args.dry_run;
    let target = open_target(view.view.into(), is_repair, &view.place, &view.stores).await?;
    let generations = Arc::clone(&target.generations);
    let generation = generations.register().await?.serving();
    let started = Instant::now();
    let bar = Arc::new(Bar::new());
    let shown = Arc::clone(&bar);
    let options = Options {
        repair: if is_repair { Repair::Yes } else { Repair::No },
        rate: args.rate,
        progress: Some(Arc::new(move |progress| shown.show(progress))),
        ..Options::default()
    };
    let Target {
        view: audited,
        log,
        codec,
        ..
    } = target;
    let rewritten = tokio::select! {
        biased;
        () = stop.cancelled() => None,
        done = rewrite_part(log, codec, &audited, &scope, &options) => Some(done),
    };
    bar.clear();
    let Some(rewritten) = rewritten else {
        bail!("stopped; what was written is right, and the same command goes on from here");
    };
    let rewritten = rewritten?;
    let unmendable = rewritten.report.flaws.iter().find(|it| !it.is_mendable);
    if let Some(flaw) = unmendable {
        bail!("{}", flaw.message);
    }
    if rewritten.is_unknown() {
        bail!("neither the log nor the view knows {}", what(&args));
    }
    let now = generations.register().await?.serving();
    if now != generation {
        bail!(
            "generation {now} is read now in the place of {generation}, which was mended: run it \
             again"
        );
    }
    let report = Report::of(&args, generation, &rewritten, started);
    match args.json {
        true => output::json(&report)?,
        false => output::line(&describe(&args, &report))?,
    }
    let is_done = args.dry_run || rewritten.is_right();
    Ok(ExitCode::from(u8::from(!is_done)))
}

impl Report {
    fn of(
        args: &RebuildArgs,
        generation: Generation,
        rewritten: &Rewritten,
        started: Instant,
    ) -> Self {
        let found = || rewritten.report.found.iter();
        let report = &rewritten.report;
        Self {
            view: report.view,
            conversation_id: args.conversation.map(|id| id.to_string()),
            tenant: args.tenant.as_ref().map(ToString::to_string),
            generation,
            dry_run: args.dry_run,
            decisions: report.decisions,
            documents: report.documents.values().sum(),
            rewritten: match args.dry_run {
                true => report.wrong(),
                false => report.repaired,
            },
            missing: found().map(|(_, it)| it.missing).sum(),
            extra: found().map(|(_, it)| it.extra).sum(),
            different: found().map(|(_, it)| it.different).sum(),
            by_kind: found()
                .map(|(kind, it)| (*kind, it.missing + it.extra + it.different))
                .collect(),
            verified: rewritten.is_right(),
            seconds: started.elapsed().as_secs_f64(),
        }
    }
}

fn what(args: &RebuildArgs) -> String {
    let conversation = args.conversation.map(|id| format!("conversation {id}"));
    let tenant = args
        .tenant
        .as_ref()
        .map(|tenant| format!("tenant {tenant}"));
    let named: Vec<_> = conversation.into_iter().chain(tenant).collect();
    named.join(" of ")
}

fn describe(args: &RebuildArgs, report: &Report) -> String {
    let Report {
        view,
        generation,
        decisions,
        documents,
        rewritten,
        missing,
        extra,
        different,
        seconds,
        ..
    } = report;
    let of = what(args);
    let will = match report.dry_run {
        true => "would be written",
        false => "were written",
    };
    let verified = match (report.dry_run, report.verified) {
        (true, _) => "",
        (false, true) => " Compared with the log once more, nothing is wrong.",
        (false, false) => {
            " Compared with the log once more, something is still wrong: see `tidings verify`."
        }
    };
    format!(
        "The {view} view of {of}, generation {generation}: {decisions} decisions, {documents} \
         documents; {rewritten} {will} ({missing} missing, {extra} extra, {different} different) \
         in {seconds:.1} s.{verified}"
    )
}
