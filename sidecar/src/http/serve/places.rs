//! The limited places for connections, and who gives way when there are none left.
//!
//! A client that holds a connection without a request would otherwise keep out everybody else for as long as a request
//! may take to arrive, and a few thousand of them a liveness probe for minutes. Called by the accept loops.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use super::exchange::Exchange;
use crate::http::Activity;

/// Places that no answer but a small one may take: what waits in them can always be closed in favour of the next.
const SPARE: usize = 8;

/// All places of a server.
#[derive(Debug)]
pub(super) struct Places {
    connections: Arc<Semaphore>,
    answers: Arc<Semaphore>,
    taken: Mutex<Taken>,
    /// An answer has ended: its connection may be closed now.
    idled: Notify,
}

#[derive(Debug, Default)]
struct Taken {
    next: u64,
    exchanges: BTreeMap<u64, Arc<Exchange>>,
}

impl Places {
    pub(super) fn new(connections: usize) -> Arc<Self> {
        // With very few connections, half of them are spare.
        let answers = connections - SPARE.min(connections / 2);
        Arc::new(Self {
            connections: Arc::new(Semaphore::new(connections)),
            answers: Arc::new(Semaphore::new(answers)),
            taken: Mutex::default(),
            idled: Notify::new(),
        })
    }

    /// A place for a connection. If all are taken, the connection that has been without a request for longest is closed;
    /// if all are being answered, the first that ends makes room.
    pub(super) async fn take(self: &Arc<Self>, activity: &Arc<Activity>) -> Place {
        loop {
            let idled = self.idled.notified();
            if let Ok(permit) = Arc::clone(&self.connections).try_acquire_owned() {
                return self.taken(permit, activity);
            }
            self.close_longest_idle();
            tokio::select! {
                permit = Arc::clone(&self.connections).acquire_owned() => if let Ok(permit) = permit {
                    return self.taken(permit, activity);
                },
                () = idled => {}
            }
        }
    }

    fn taken(self: &Arc<Self>, permit: OwnedSemaphorePermit, activity: &Arc<Activity>) -> Place {
        let exchange = Arc::new(Exchange::new(Arc::clone(self), Arc::clone(activity)));
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let number = taken.next;
        taken.next += 1;
        taken.exchanges.insert(number, Arc::clone(&exchange));
        Place {
            number,
            exchange,
            places: Arc::clone(self),
            _permit: permit,
        }
    }

    /// The right to answer at length; `None` if too many do.
    pub(super) fn answer(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.answers).try_acquire_owned().ok()
    }

    pub(super) fn idled(&self) {
        self.idled.notify_waiters();
    }

    fn close_longest_idle(&self) {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = taken.exchanges.values();
        let idle = idle.filter_map(|exchange| Some((exchange.idle_since()?, exchange)));
        if let Some((_, exchange)) = idle.min_by_key(|(since, _)| *since) {
            exchange.give_way();
        }
    }
}

/// The place of one connection, free again when dropped.
#[derive(Debug)]
pub(super) struct Place {
    number: u64,
    /// What the connection does.
    pub(super) exchange: Arc<Exchange>,
    places: Arc<Places>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.exchanges.remove(&self.number);
    }
}
