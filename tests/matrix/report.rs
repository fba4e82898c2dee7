use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::cells::{Cell, Component, Fault, Phase};

/// Of what was found in a cell, told in the table.
const TOLD: usize = 2;
const BEGIN: &str = "<!-- crash-matrix:begin -->";
const END: &str = "<!-- crash-matrix:end -->";

/// What became of a cell.
#[derive(Debug)]
pub(crate) struct Row {
    cell: String,
    pub(crate) delivered: u64,
    pub(crate) resent: u64,
    pub(crate) reconnects: u64,
    /// The longest time in which no command of anybody was decided.
    pub(crate) stall: Duration,
    pub(crate) took: Duration,
    remarks: Vec<String>,
    /// Why it cannot be run on this machine.
    impossible: Option<String>,
    /// What must not be.
    pub(crate) found: Vec<String>,
}

impl Row {
    pub(crate) fn of(cell: Cell) -> Self {
        Self {
            cell: cell.to_string(),
            delivered: 0,
            resent: 0,
            reconnects: 0,
            stall: Duration::ZERO,
            took: Duration::ZERO,
            remarks: Vec::new(),
            impossible: None,
            found: Vec::new(),
        }
    }

    pub(crate) fn impossible(cell: Cell, why: &str) -> Self {
        Self {
            impossible: Some(why.to_owned()),
            ..Self::of(cell)
        }
    }

    pub(crate) fn remark(&mut self, remark: Option<String>) {
        self.remarks.extend(remark);
    }

    pub(crate) fn holds(&self) -> bool {
        self.found.is_empty()
    }

    /// For whoever watches.
    pub(crate) fn line(&self) -> String {
        let mut line = match (&self.impossible, self.holds()) {
            (Some(why), _) => format!("{}: not possible here: {why}", self.cell),
            (None, true) => format!("{}: holds", self.cell),
            (None, false) => format!("{}: FAILS", self.cell),
        };
        if self.impossible.is_none() {
            let (delivered, resent, reconnects) = (self.delivered, self.resent, self.reconnects);
            let (stall, took) = (self.stall.as_secs_f64(), self.took.as_secs());
            write!(
                line,
                " ({delivered} delivered, {resent} resent, {reconnects} reconnects, stall \
                 {stall:.1} s, {took} s)"
            )
            .ok();
        }
        for remark in &self.remarks {
            write!(line, "; {remark}").ok();
        }
        for found in &self.found {
            write!(line, "\n    {found}").ok();
        }
        line
    }

    fn to_json(&self) -> Value {
        json!({
            "cell": self.cell,
            "delivered": self.delivered,
            "resent": self.resent,
            "reconnects": self.reconnects,
            "stall_seconds": self.stall.as_secs_f64(),
            "took_seconds": self.took.as_secs_f64(),
            "remarks": self.remarks,
            "impossible": self.impossible,
            "found": self.found,
        })
    }
}

/// The results so far: a file of one JSON object a line, the last of a cell
/// counts.
pub(crate) struct Results {
    rows: Vec<Value>,
    file: File,
}

impl Results {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let context = || path.display().to_string();
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).with_context(context)?;
        }
        let mut options = File::options();
        let file = options.create(true).append(true).open(path);
        let text = fs::read_to_string(path).with_context(context)?;
        let rows = text.lines().map(serde_json::from_str);
        Ok(Self {
            rows: rows.collect::<Result<_, _>>().with_context(context)?,
            file: file.with_context(context)?,
        })
    }

    /// Whether the cell was run, and held or could not be run.
    pub(crate) fn done(&self, cell: Cell) -> bool {
        let row = self.row(cell);
        row.is_some_and(|row| row["found"].as_array().is_some_and(Vec::is_empty))
    }

    pub(crate) fn add(&mut self, row: &Row) -> Result<()> {
        let row = row.to_json();
        writeln!(self.file, "{row}")?;
        self.rows.push(row);
        Ok(())
    }

    fn row(&self, cell: Cell) -> Option<&Value> {
        let name = cell.to_string();
        self.rows.iter().rev().find(|row| row["cell"] == name)
    }

    /// Puts the table between its marks in a document.
    pub(crate) fn write_table(&self, document: &Path) -> Result<()> {
        let context = || document.display().to_string();
        let text = fs::read_to_string(document).with_context(context)?;
        let (before, rest) = text.split_once(BEGIN).with_context(context)?;
        let (_, after) = rest.split_once(END).with_context(context)?;
        let table = self.table();
        let text = format!("{before}{BEGIN}\n\n{table}\n{END}{after}");
        fs::write(document, text).with_context(context)
    }

    /// One row for each component and fault, one column for each phase.
    pub(crate) fn table(&self) -> String {
        let mut table = String::from("| what | fault | ");
        for phase in Phase::ALL {
            write!(table, "{} | ", phase.name()).ok();
        }
        table.push_str("\n|---|---|");
        table.push_str(&"---|".repeat(Phase::ALL.len()));
        table.push('\n');
        let (mut notes, mut runs, mut delivered) = (Vec::new(), 0_u64, 0_u64);
        for component in Component::ALL {
            for fault in Fault::ALL {
                let cells = Phase::ALL.map(|phase| Cell {
                    component,
                    fault,
                    phase,
                });
                if cells.iter().all(|cell| cell.left_out().is_some()) {
                    continue;
                }
                write!(table, "| {} | {} | ", component.name(), fault.name()).ok();
                for cell in cells {
                    let row = self.row(cell);
                    if let Some(row) = row.filter(|row| row["impossible"].is_null()) {
                        runs += 1;
                        delivered += row["delivered"].as_u64().unwrap_or(0);
                    }
                    write!(table, "{} | ", state(cell, row, &mut notes)).ok();
                }
                table.push('\n');
            }
        }
        write!(
            table,
            "\n{runs} cells were run, with {delivered} messages.\n"
        )
        .ok();
        for (number, note) in notes.iter().enumerate() {
            write!(table, "\n{}. {note}", number + 1).ok();
        }
        table.push_str("\n\nNot in the table:\n\n");
        for (why, cells) in left_out() {
            writeln!(table, "- {}: {why}.", cells.join(", ")).ok();
        }
        table
    }
}

/// What stands in the table; what is to be said of it goes below.
fn state(cell: Cell, row: Option<&Value>, notes: &mut Vec<String>) -> String {
    let mut note = |text: String| {
        let known = notes.iter().position(|known| *known == text);
        let number = known.unwrap_or_else(|| {
            notes.push(text);
            notes.len() - 1
        });
        format!(" [{}]", number + 1)
    };
    if cell.left_out().is_some() {
        return "–".to_owned();
    }
    let Some(row) = row else {
        return "not run".to_owned();
    };
    if let Some(why) = row["impossible"].as_str() {
        return format!("not possible here{}", note(why.to_owned()));
    }
    let texts = |name: &str| -> Vec<String> {
        let list = row[name].as_array().into_iter().flatten();
        list.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let mut state = match texts("found").as_slice() {
        [] => format!(
            "holds, {:.1} s",
            row["stall_seconds"].as_f64().unwrap_or(0.0)
        ),
        found => {
            // All of it is in the results; one fault is often found many times.
            let first = found.iter().take(TOLD).map(|one| one.replace('\n', " "));
            let first = first.collect::<Vec<_>>().join("; ");
            format!("**fails**{}", note(format!("`{cell}`: {first}")))
        }
    };
    for remark in texts("remarks") {
        state.push_str(&note(remark));
    }
    state
}

/// Why cells are left out, with those of the same reason together.
fn left_out() -> Vec<(&'static str, Vec<String>)> {
    let mut reasons: Vec<(&str, Vec<String>)> = Vec::new();
    for component in Component::ALL {
        for fault in Fault::ALL {
            for phase in Phase::ALL {
                let cell = Cell {
                    component,
                    fault,
                    phase,
                };
                let Some(why) = cell.left_out() else {
                    continue;
                };
                // Those of a phase are left out whatever the fault.
                let name = match component {
                    Component::Dev => format!("`dev/*/{}`", phase.name()),
                    other => format!("`{}/{}`", other.name(), fault.name()),
                };
                let place = reasons.iter().position(|(known, _)| *known == why);
                let place = place.unwrap_or_else(|| {
                    reasons.push((why, Vec::new()));
                    reasons.len() - 1
                });
                if !reasons[place].1.contains(&name) {
                    reasons[place].1.push(name);
                }
            }
        }
    }
    reasons
}
