use std::collections::BTreeMap;
use std::io::{self, Write};

use anyhow::Result;
use serde::Serialize;
use tidings_operate::verify::{Difference, Report, owner_text};

use crate::output;

/// A report as one JSON document.
#[derive(Debug, Serialize)]
pub(super) struct Document<'a> {
    view: &'a str,
    ok: bool,
    decisions: u64,
    /// Records that cannot be read, and decisions that do not follow on those
    /// before: they are among the dead letters.
    unreadable: u64,
    refused: u64,
    documents: &'a BTreeMap<&'static str, u64>,
    flaws: Vec<&'a str>,
    positions: Vec<PositionDocument>,
    lost_positions: &'a [i32],
    wrong: BTreeMap<&'static str, FoundDocument>,
    /// The first of those that are wrong.
    differences: &'a [Difference],
    #[serde(skip_serializing_if = "Option::is_none")]
    repair: Option<RepairDocument>,
}

#[derive(Debug, Serialize)]
struct FoundDocument {
    missing: u64,
    extra: u64,
    different: u64,
}

#[derive(Debug, Serialize)]
struct PositionDocument {
    partition: i32,
    view_offset: i64,
    view_owner: String,
    log_offset: i64,
    log_owner: String,
    mended: bool,
}

#[derive(Debug, Serialize)]
struct RepairDocument {
    dry_run: bool,
    repaired: u64,
    left: u64,
}

impl<'a> Document<'a> {
    pub(super) fn of(report: &'a Report, repair: bool, dry_run: bool) -> Self {
        let found = report.found.iter();
        Self {
            view: report.view,
            ok: match repair && !dry_run {
                true => report.is_right_now(),
                false => report.is_clean(),
            },
            decisions: report.decisions,
            unreadable: report.unreadable,
            refused: report.refused,
            documents: &report.documents,
            flaws: report
                .flaws
                .iter()
                .map(|flaw| flaw.message.as_str())
                .collect(),
            positions: report
                .positions
                .iter()
                .map(|wrong| PositionDocument {
                    partition: wrong.partition,
                    view_offset: wrong.stored.offset,
                    view_owner: owner_text(wrong.stored.current),
                    log_offset: wrong.right.offset,
                    log_owner: owner_text(wrong.right.current),
                    mended: wrong.is_mended,
                })
                .collect(),
            lost_positions: &report.lost_positions,
            wrong: found
                .map(|(kind, found)| {
                    let found = FoundDocument {
                        missing: found.missing,
                        extra: found.extra,
                        different: found.different,
                    };
                    (*kind, found)
                })
                .collect(),
            differences: &report.differences,
            repair: repair.then_some(RepairDocument {
                dry_run,
                repaired: report.repaired,
                left: report.left,
            }),
        }
    }
}

/// Prints what is wrong with a document.
pub(super) fn difference(difference: &Difference) {
    let mut text = format!(
        "{:<9} {} {}",
        difference.what.as_str(),
        difference.kind,
        difference.key
    );
    if let Some(id) = difference.conversation_id
        && !difference.key.contains(&id.to_string())
    {
        text.push_str(&format!("  (conversation {id})"));
    }
    for field in &difference.fields {
        let side = |value: &Option<String>| value.clone().unwrap_or_else(|| "nothing".to_owned());
        text.push_str(&format!(
            "\n          {}: view {}, log {}",
            field.name,
            side(&field.view),
            side(&field.log)
        ));
    }
    // Whoever reads no more of it has had enough; the exit status tells.
    writeln!(io::stdout().lock(), "{text}").ok();
}

/// Prints what was found besides, and the sums.
pub(super) fn report(report: &Report, repair: bool, dry_run: bool) -> Result<()> {
    for flaw in &report.flaws {
        output::line(&format!("flaw      {}", flaw.message))?;
    }
    for wrong in &report.positions {
        let (stored, right) = (wrong.stored, wrong.right);
        output::line(&format!(
            "position  partition {}: view at offset {} with owner {}, log {} with owner {}",
            wrong.partition,
            stored.offset,
            owner_text(stored.current),
            right.offset,
            owner_text(right.current),
        ))?;
    }
    for partition in &report.lost_positions {
        output::line(&format!(
            "position  partition {partition}: none, though the view has documents of it. The \
             projection applies the partition again from its beginning when it runs, which changes \
             nothing that is right: start it, and verify again"
        ))?;
    }
    let documents: u64 = report.documents.values().sum();
    output::line(&format!(
        "{} view: {} decisions, {documents} documents",
        report.view, report.decisions
    ))?;
    if report.unreadable + report.refused > 0 {
        output::line(&format!(
            "{} records cannot be read and {} decisions do not follow on those before: see the \
             dead letters of dead.{}",
            report.unreadable, report.refused, report.view
        ))?;
    }
    for (kind, found) in &report.found {
        output::line(&format!(
            "{kind}: {} missing, {} extra, {} different",
            found.missing, found.extra, found.different
        ))?;
    }
    if report.is_clean() {
        return output::line("nothing is wrong");
    }
    let mended = report.positions.iter().filter(|wrong| wrong.is_mended);
    let others = report.flaws.len() - report.flaws_left + mended.count();
    match (repair, dry_run) {
        (false, _) => Ok(()),
        (true, true) => {
            let flaws = report.flaws.iter().filter(|flaw| flaw.is_mendable);
            let others = flaws.count() + report.positions.len();
            output::line(&format!(
                "would put right: {} documents, {others} flaws and positions",
                report.wrong()
            ))
        }
        (true, false) => output::line(&format!(
            "put right: {} documents, {others} flaws and positions; still wrong: {}",
            report.repaired, report.left
        )),
    }
}
