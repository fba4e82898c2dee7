//! Frames without a seq, which the members of small conversations get.

use std::sync::Arc;

use tidings_domain::{ConversationId, Decision, Tenant};
use tidings_wire::frames::ServerFrame;

use crate::freshness::Age;
use crate::shared::Shared;
use crate::sizes::{Advice, Asked, Courtesy, MOST_OF_SMALL};
use crate::view::Unavailable;

/// Tells the other members how far the sender of a decision has read. Called
/// by the reader, which waits for nothing: where it must be found out first
/// whether the conversation is small, a task does.
pub(crate) fn read(shared: &Arc<Shared>, decision: &Decision, up_to: u64) {
    let id = decision.conversation_id;
    if !shared.hub.concerns(id) {
        return;
    }
    let frame = ServerFrame::Read {
        conversation_id: id,
        by: &decision.sender,
        up_to,
        at: decision.at,
    };
    let courtesy = Courtesy {
        about: decision.sender.clone(),
        frame: frame.to_json().into(),
    };
    match shared.sizes.advise(id, courtesy) {
        Advice::Tell(courtesy) => tell(shared, id, &courtesy),
        Advice::Drop | Advice::Wait => {}
        Advice::FindOut => {
            let (shared, tenant) = (Arc::clone(shared), decision.tenant.clone());
            let runtime = shared.runtime.clone();
            runtime.spawn(async move {
                // What cannot be found out is not told: it is a courtesy.
                let members = members(&shared, &tenant, id).await.ok();
                for courtesy in shared.sizes.found(id, members) {
                    tell(&shared, id, &courtesy);
                }
            });
        }
    }
}

fn tell(shared: &Shared, id: ConversationId, courtesy: &Courtesy) {
    shared.hub.tell_others(id, &courtesy.about, &courtesy.frame);
}

/// Whether a conversation is small; one whose size cannot be found out counts
/// as large.
pub(crate) async fn is_small(shared: &Shared, tenant: &Tenant, id: ConversationId) -> bool {
    let asked = shared.sizes.ask(id);
    if let Asked::Known(is_small) = asked {
        return is_small;
    }
    let members = members(shared, tenant, id).await.ok();
    if matches!(asked, Asked::FindOut) {
        for courtesy in shared.sizes.found(id, members) {
            tell(shared, id, &courtesy);
        }
    }
    members.is_some_and(|members| members <= MOST_OF_SMALL)
}

/// How many members there are; no more are counted than make it large.
async fn members(
    shared: &Shared,
    tenant: &Tenant,
    id: ConversationId,
) -> Result<usize, Unavailable> {
    let partition = shared.partition_of(id);
    let position = shared.progress.position(partition);
    let wanted = [(partition, position)];
    shared.freshness.reached(&wanted, Age::Recent).await?;
    let members = shared
        .view
        .ask(|view| view.members(tenant, id, None, MOST_OF_SMALL + 1))
        .await?;
    Ok(members.len())
}
