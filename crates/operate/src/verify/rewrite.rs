use std::sync::Arc;

use tidings_log::LogReader;
use tidings_wire::Codec;

use super::{AuditedView, Options, Repair, Report, Scope, VerifyError, verify};

/// A part of a view that was computed anew.
#[derive(Clone, Debug)]
pub struct Rewritten {
    /// What was found, and what became of it.
    pub report: Report,
    /// What was found when it was compared once more; none: nothing was to be
    /// written.
    pub again: Option<Report>,
}

impl Rewritten {
    /// Whether neither the log nor the view knows anything of it.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        let documents: u64 = self.report.documents.values().sum();
        self.report.decisions == 0 && documents == 0 && self.report.wrong() == 0
    }

    /// Whether it is as the log says: as it was found, or after it was written.
    #[must_use]
    pub fn is_right(&self) -> bool {
        match &self.again {
            Some(again) => self.report.is_right_now() && again.is_clean(),
            None => self.report.is_clean(),
        }
    }
}

/// Computes a part of a view anew from the log and writes those of its
/// documents that are not so, in place, while the view is read and kept in
/// step; then compares it once more. Where options say [`Repair::No`], only
/// finds out what would be written.
///
/// # Errors
/// [`VerifyError`]. What was written until then is right; it can be run again.
pub async fn rewrite(
    log: Arc<dyn LogReader>,
    codec: Codec,
    view: &AuditedView,
    scope: &Scope,
    options: &Options,
) -> Result<Rewritten, VerifyError> {
    let report = verify(Arc::clone(&log), codec.clone(), view, scope, options).await?;
    let mut rewritten = Rewritten {
        report,
        again: None,
    };
    if options.repair == Repair::Yes && !rewritten.is_unknown() {
        let options = Options {
            repair: Repair::No,
            each: None,
            ..options.clone()
        };
        rewritten.again = Some(verify(log, codec, view, scope, &options).await?);
    }
    Ok(rewritten)
}
