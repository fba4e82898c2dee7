use crate::{Failure, Plan, Simulator};

/// Takes out of a failing plan what it does not need to fail, larger pieces
/// first, until no single step can be left out. None where it does not fail.
#[must_use]
pub fn shrink(simulator: &Simulator, plan: &Plan) -> Option<(Plan, Failure)> {
    let fails = |plan: &Plan| simulator.run(plan, &mut |_| {}).err();
    let mut best = (plan.clone(), fails(plan)?);
    let mut size = best.0.steps.len().div_ceil(2).max(1);
    loop {
        let mut shorter = false;
        let mut at = 0;
        while at < best.0.steps.len() {
            let mut tried = best.0.clone();
            let end = (at + size).min(tried.steps.len());
            tried.steps.drain(at..end);
            match fails(&tried) {
                Some(failure) => {
                    best = (tried, failure);
                    shorter = true;
                }
                None => at += size,
            }
        }
        if size > 1 {
            size /= 2;
        } else if !shorter {
            return Some(best);
        }
    }
}
