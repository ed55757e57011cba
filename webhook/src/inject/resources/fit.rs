//! Makes what is wanted fit into the room there is.

use super::room::{By, Room};
use super::wanted::Wanted;
use crate::choices::Quantity;
use crate::inject::skip::Skip;

/// What the container states of one resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Share {
    pub request: Option<u128>,
    pub limit: Option<u128>,
}

/// Limits are lowered to what there is room for, requests raised to what is demanded. An error if that leaves too little.
pub(super) fn fit(wanted: &Wanted, room: &Room<'_>) -> Result<Share, Skip> {
    let refusal = |by: &By<'_>, left, needs| Err(by.refusal(room.resource, left, needs));
    let mut limit = u128::MAX;
    if let Some(had) = wanted.limit {
        let least = wanted.least_limit.max(room.least);
        let cap = match wanted.equal && room.request.most < room.limit.most {
            true => room.request,
            false => room.limit,
        };
        limit = had.max(room.least);
        if cap.most < limit {
            limit = wanted.down(cap.most, least);
        }
        if limit < least {
            return refusal(&cap.by, cap.most, least);
        }
        for ratio in &room.ratios {
            if ratio.request_for(limit) > room.request.most {
                let most = ratio.limit_for(room.request.most);
                limit = limit.min(wanted.down(most, least));
                if limit < least {
                    return refusal(&ratio.by, most, least);
                }
            }
        }
    }
    // What is not stated, the API server sets to the limit.
    let mut request = wanted
        .request
        .filter(|_| !wanted.equal)
        .unwrap_or(limit)
        .max(room.least);
    let mut least_request = wanted.least_request.max(room.least);
    if wanted.limit.is_some() {
        for ratio in &room.ratios {
            let needed = ratio.request_for(limit);
            // Beside init containers that need the most, those of a plain sidecar may leave no room by themselves.
            if needed > limit {
                return refusal(&ratio.by, ratio.limit_for(0), limit);
            }
            least_request = least_request.max(needed);
            request = request.max(wanted.up(needed, room.request.most));
        }
    }
    if room.request.most < request {
        request = wanted.down(room.request.most, least_request);
    }
    request = request.min(limit);
    if request < least_request {
        return refusal(&room.request.by, room.request.most, least_request);
    }
    let limit = wanted.limit.map(|_| limit);
    let says_nothing = wanted.request.is_none() && limit == Some(request);
    Ok(Share {
        request: (!says_nothing).then_some(request),
        limit,
    })
}

/// A sentence about a limit that is lower than it was wanted.
pub(super) fn shortage(wanted: &Wanted, limit: Option<u128>, room: &Room<'_>) -> Option<String> {
    let (had, limit) = (wanted.limit?, limit?);
    if limit >= had {
        return None;
    }
    let by = if room.limit.most < had {
        room.limit.by.name()
    } else if wanted.equal && room.request.most < had {
        room.request.by.name()
    } else {
        room.ratios
            .first()
            .map_or_else(|| room.request.by.name(), |ratio| ratio.by.name())
    };
    Some(format!(
        "the sidecar's limit of {} is {} instead of {}, because of {by}",
        room.resource,
        Quantity::from_nano(limit),
        Wanted::text(&wanted.limit_text, had)
    ))
}
