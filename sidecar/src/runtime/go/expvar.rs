//! Asks a Go program for `/debug/vars`, where it publishes what it counts (`expvar`), by the ports and headers by which pprof is
//! found. Reading the runtime's numbers stops the program for some ten microseconds, so it is asked on demand alone.
//!
//! Called by [`crate::runtime::counters`], in the recorder.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hyper::StatusCode;
use hyper::body::Incoming;
use serde::{Deserialize, Serialize};
use tokio::runtime::Runtime;
use tokio::time::{Instant, timeout_at};

use super::absence::{self, give_header};
use super::address::Address;
use super::candidates::candidates;
use super::pprof_client::{ClientError, PprofClient, Scheme, read_body};
use super::settings::{GoPprofSettings, PlaceSettings};
use super::{listening_sockets, memstats};
use crate::process::TargetRoot;
use crate::profile::counter::CounterValue;
use crate::runtime::{Asked, Control, PprofAbsence, Reason, RecordOrder, RuntimeFacts, Target};

/// Ports asked per program.
const PORTS: usize = 16;
/// For all of them together, and for one reading of a place that is known.
const TIME: Duration = Duration::from_secs(2);

/// Where a program is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExpvarPlan {
    /// Where its pprof index is, if it has one: mostly beside it.
    known: Option<(String, String)>,
    /// How ports are asked, by the operator.
    settings: GoPprofSettings,
}

/// What to ask a program for, whose counters are asked for.
///
/// # Errors
/// Why there is no way to it.
pub fn plan(asked: &Asked<'_>, settings: &GoPprofSettings) -> Result<ExpvarPlan, Reason> {
    match (foretold(asked.target), &asked.target.facts) {
        (Some(reason), _) => Err(reason),
        (None, RuntimeFacts::Go { pprof: Some(index), .. }) => Ok(ExpvarPlan {
            known: Some((index.scheme.clone(), index.authority.clone())),
            settings: settings.clone(),
        }),
        (None, _) => Ok(ExpvarPlan {
            known: None,
            settings: settings.clone(),
        }),
    }
}

/// Why there is no way to what a program counts, as far as that is known without asking it.
pub fn foretold(target: &Target) -> Option<Reason> {
    let RuntimeFacts::Go { pprof_absence, .. } = &target.facts else {
        return None;
    };
    match pprof_absence.as_ref()? {
        PprofAbsence::NoListeningPort => Some(not_served(&[], None)),
        // A program that stands still would not answer, and the loopback of another pod is not ours.
        absence @ (PprofAbsence::Stopped | PprofAbsence::OtherNetworkNamespace { .. }) => {
            let reason = absence::explain(absence);
            let sentence = format!("{}: what its runtime counts is missing", reason.sentence);
            Some(Reason { sentence, ..reason })
        }
        _ => None,
    }
}

/// One place that may serve it.
#[derive(Debug, Clone)]
struct Place {
    address: Address,
    scheme: Scheme,
    path: String,
    client: PprofClient,
}

/// A program that is asked again and again.
pub struct Expvar<'a> {
    plan: &'a ExpvarPlan,
    order: &'a RecordOrder,
    control: &'a Control,
    /// Where it answered.
    place: Option<Place>,
    /// It was looked for everywhere, and why it was not found.
    absent: Option<Reason>,
}

impl std::fmt::Debug for Expvar<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Expvar").finish_non_exhaustive()
    }
}

impl<'a> Expvar<'a> {
    /// Of the target of `order`.
    pub fn new(plan: &'a ExpvarPlan, order: &'a RecordOrder, control: &'a Control) -> Self {
        Self {
            plan,
            order,
            control,
            place: None,
            absent: None,
        }
    }

    /// True if it has answered.
    pub fn answered(&self) -> bool {
        self.place.is_some()
    }

    /// What it counts now.
    ///
    /// # Errors
    /// Why that is not known.
    pub fn read(&mut self) -> Result<Vec<CounterValue>, Reason> {
        if let Some(reason) = &self.absent {
            return Err(reason.clone());
        }
        let row = self.control.table().get(self.order.target.id().pid);
        if row.is_some_and(|row| row.is_stopped()) {
            return Err(crate::runtime::stopped());
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build();
        let runtime = runtime.map_err(|error| not_served(&[], Some(error.to_string())))?;
        match &self.place {
            Some(place) => self.ask_known(&runtime, place),
            None => self.find(&runtime),
        }
    }

    fn ask_known(&self, runtime: &Runtime, place: &Place) -> Result<Vec<CounterValue>, Reason> {
        let until = Instant::now() + TIME;
        match runtime.block_on(self.ask(place, until)) {
            Answer::Values(values) => Ok(values),
            _ => Err(Reason::new(
                "expvar_silent",
                format!("{}{} did not answer any more", place.address, place.path),
                "see whether the program is overloaded or has closed the port",
            )),
        }
    }

    fn find(&mut self, runtime: &Runtime) -> Result<Vec<CounterValue>, Reason> {
        let places = self.places();
        let mut refused = None;
        let mut asked = Vec::new();
        let until = Instant::now() + TIME;
        for place in places {
            asked.extend(place.address.port().filter(|port| !asked.contains(port)));
            match runtime.block_on(self.ask(&place, until)) {
                Answer::Values(values) => {
                    self.place = Some(place);
                    return Ok(values);
                }
                Answer::Unauthorized(status) => {
                    refused = refused.or(Some(unauthorized(&place.address, status)));
                }
                Answer::SomethingElse => {}
            }
        }
        let reason = refused.unwrap_or_else(|| not_served(&asked, None));
        self.absent = Some(reason.clone());
        Err(reason)
    }

    /// Where to ask, in order.
    fn places(&self) -> Vec<Place> {
        let target = &self.order.target;
        let mut places = Vec::new();
        if let Some((scheme, authority)) = &self.plan.known
            && let Some(scheme) = Scheme::parse(scheme)
            && let Ok(address) = authority.parse::<Address>()
        {
            let settings = self.plan.settings.of(&target.name, address.port());
            places.extend(at(&address, &settings, &[scheme]));
        }
        // What an inspector said is no proof: it must be the target's, which [`Self::ask`] looks at.
        let listening = listening_sockets::of(self.control.table(), target.id().pid).unwrap_or_default();
        for candidate in candidates(&listening, &self.plan.settings.ports)
            .into_iter()
            .take(PORTS)
        {
            let settings = self.plan.settings.of(&target.name, Some(candidate.port));
            let settings = match candidate.trusted {
                true => settings,
                false => settings.without_headers(),
            };
            let schemes: &[Scheme] = match settings.insecure_tls {
                true => &[Scheme::Http, Scheme::Https],
                false => &[Scheme::Http],
            };
            for address in candidate.addresses {
                places.extend(at(&address.into(), &settings, schemes));
            }
        }
        places
    }

    async fn ask(&self, place: &Place, until: Instant) -> Answer {
        let root = match &place.address {
            Address::Tcp(address) => {
                let process = &self.order.target.process;
                if !listening_sockets::reach(self.control.table(), process, *address) {
                    return Answer::SomethingElse;
                }
                None
            }
            Address::Unix(_) => TargetRoot::open(self.control.table(), self.order.target.id()).ok(),
        };
        let asking = async {
            let connection = place
                .client
                .connect(&place.address, place.scheme, root.as_ref())
                .await?;
            let (head, body) = connection.get(&place.path).await?.into_parts();
            answer(head.status, body).await
        };
        match timeout_at(until, asking).await {
            Ok(Ok(mut answer)) => {
                if let Answer::Values(values) = &mut answer {
                    stamp(values);
                }
                answer
            }
            Ok(Err(_)) | Err(_) => Answer::SomethingElse,
        }
    }
}

enum Answer {
    Values(Vec<CounterValue>),
    Unauthorized(u16),
    SomethingElse,
}

async fn answer(status: StatusCode, body: Incoming) -> Result<Answer, ClientError> {
    if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
        return Ok(Answer::Unauthorized(status.as_u16()));
    }
    if status != StatusCode::OK {
        return Ok(Answer::SomethingElse);
    }
    let text = read_body(body, memstats::LONGEST).await?;
    Ok(memstats::values(&text).map_or(Answer::SomethingElse, Answer::Values))
}

/// At the paths beside the index of pprof.
fn at(address: &Address, settings: &PlaceSettings, schemes: &[Scheme]) -> Vec<Place> {
    let Ok(client) = PprofClient::new(settings) else {
        return Vec::new();
    };
    let paths = settings.indexes.iter().filter_map(|index| index.strip_suffix("pprof/"));
    let places = paths.flat_map(|folder| {
        let client = &client;
        schemes.iter().map(move |scheme| Place {
            address: address.clone(),
            scheme: *scheme,
            path: format!("{folder}vars"),
            client: client.clone(),
        })
    });
    places.collect()
}

fn stamp(values: &mut [CounterValue]) {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let at_ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
    for value in values {
        value.at_ms = at_ms;
    }
}

fn unauthorized(address: &Address, status: u16) -> Reason {
    let port = address
        .port()
        .map_or_else(|| "<port>".to_owned(), |port| port.to_string());
    Reason::new(
        "expvar_unauthorized",
        format!("{address} answered {status} to the question for /debug/vars: what the Go runtime counts is missing"),
        give_header(&port),
    )
}

fn not_served(asked: &[u16], detail: Option<String>) -> Reason {
    let ports: Vec<String> = asked.iter().map(u16::to_string).collect();
    let why = match (detail, ports.as_slice()) {
        (Some(detail), _) => detail,
        (None, []) => "it listens on no port that could be asked".to_owned(),
        (None, ports) => format!("asked at port {}", ports.join(", ")),
    };
    Reason::new(
        "expvar_not_served",
        format!("the program serves no /debug/vars ({why}): what the Go runtime counts is missing"),
        "add to the program: import _ \"expvar\", and go http.ListenAndServe(\"127.0.0.1:6060\", nil) in main",
    )
}
