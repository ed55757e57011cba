//! What one connection is doing: whether it answers a request, up to the last byte that the kernel took.
//!
//! hyper tells neither when an answer is out nor whether a connection is between two requests; the body's end and the
//! flush of the socket after it do. Must not know what is asked, except for the probe of liveness.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use axum::body::Body;
use axum::http::Request;
use hyper::body::{Bytes, Frame, SizeHint};
use tokio::sync::{Notify, OwnedSemaphorePermit};
use tokio::time::Instant;

use super::places::Places;
use crate::http::Activity;
use crate::http::activity::InUse;

/// The probe of liveness, which is answered however many connections there are.
const LIVENESS: &str = "/healthz";

/// Marks a request for which there is no room; see [`crate::http::answer`].
#[derive(Debug, Clone, Copy)]
pub(in crate::http) struct Overloaded;

/// The requests of one connection, one after the other.
#[derive(Debug)]
pub(super) struct Exchange {
    state: Mutex<State>,
    give_way: Notify,
    places: Arc<Places>,
    activity: Arc<Activity>,
}

#[derive(Debug)]
struct State {
    /// The start of the connection, or the end of the last answer.
    idle_since: Instant,
    answer: Option<Answer>,
    /// Chosen to be closed.
    giving_way: bool,
}

/// An answer that takes its time.
#[derive(Debug)]
struct Answer {
    body_ended: bool,
    permit: OwnedSemaphorePermit,
    _in_use: Option<InUse>,
}

impl Exchange {
    pub(super) fn new(places: Arc<Places>, activity: Arc<Activity>) -> Self {
        Self {
            state: Mutex::new(State {
                idle_since: Instant::now(),
                answer: None,
                giving_way: false,
            }),
            give_way: Notify::new(),
            places,
            activity,
        }
    }

    /// Since when there has been no answer to wait for; `None` while there is one, or if it gives way already.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        self.read(|state| (state.answer.is_none() && !state.giving_way).then_some(state.idle_since))
    }

    /// Has the connection closed.
    pub(super) fn give_way(&self) {
        self.read(|state| state.giving_way = true);
        self.give_way.notify_one();
    }

    /// Ends when the connection is to be closed in favour of another.
    pub(super) async fn must_give_way(&self) {
        self.give_way.notified().await;
    }

    /// A request begins.
    pub(super) fn begin<B>(&self, request: &mut Request<B>) {
        if request.uri().path() == LIVENESS {
            return;
        }
        // First, so that there is no moment at which a connection with pipelined requests seems to be idle.
        let in_use = self.activity.begin(request.uri().path());
        // What the last request of this connection had; its last bytes may still be on their way.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let before = state.answer.take().map(|answer| answer.permit);
        match before.or_else(|| self.places.answer()) {
            Some(permit) => {
                state.answer = Some(Answer {
                    body_ended: false,
                    permit,
                    _in_use: in_use,
                });
            }
            None => _ = request.extensions_mut().insert(Overloaded),
        }
    }

    /// Follows the body of the answer to its end.
    pub(super) fn follow(self: &Arc<Self>, body: Body) -> FollowedBody {
        FollowedBody {
            body,
            exchange: Arc::clone(self),
        }
    }

    /// The socket has taken everything that was written.
    pub(super) fn flushed(&self) {
        let ended = self.read(|state| {
            let ended = state.answer.take_if(|answer| answer.body_ended);
            if ended.is_some() {
                state.idle_since = Instant::now();
            }
            ended
        });
        if ended.is_some() {
            self.places.idled();
        }
    }

    fn body_ended(&self) {
        self.read(|state| {
            if let Some(answer) = &mut state.answer {
                answer.body_ended = true;
            }
        });
    }

    fn read<T>(&self, read: impl FnOnce(&mut State) -> T) -> T {
        read(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The body of an answer; tells its exchange when hyper has taken all of it.
#[derive(Debug)]
pub(super) struct FollowedBody {
    body: Body,
    exchange: Arc<Exchange>,
}

impl hyper::body::Body for FollowedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for FollowedBody {
    fn drop(&mut self) {
        self.exchange.body_ended();
    }
}
