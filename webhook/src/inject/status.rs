//! The annotation `sideflame.io/status`: what was decided, for people and for tools.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::rights::Plan;

/// The JSON in the annotation; fields in this order.
#[derive(Debug, Serialize)]
struct Status<'a> {
    version: &'static str,
    image: &'a str,
    /// The main container.
    container: &'a str,
    rights: &'static str,
    /// For each container, for each event: `works`, or e.g. `impossible: other_user`. About JVM, .NET and native
    /// processes; a Go program with a pprof port can always be profiled.
    events: Map<String, Value>,
    /// The same of samples of native processes and of Go programs without a pprof port, where a container has some.
    native: Map<String, Value>,
    /// Keys of the warnings.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<&'static str>,
}

/// The annotation's value.
pub(super) fn status(image: &str, container: &str, plan: &Plan<'_>) -> String {
    let events = plan.verdicts.iter().map(|of| {
        let verdicts = of.events.iter();
        let verdicts = verdicts.map(|(event, verdict)| (event.name.to_owned(), Value::String(verdict.text())));
        (of.name.to_owned(), Value::Object(verdicts.collect()))
    });
    let native = plan
        .verdicts
        .iter()
        .map(|of| (of.name.to_owned(), Value::String(of.native.text())));
    let mut warnings: Vec<&'static str> = plan.advice.iter().map(|advice| advice.key).collect();
    warnings.dedup();
    let status = Status {
        version: env!("CARGO_PKG_VERSION"),
        image,
        container,
        rights: plan.rights.mode.name(),
        events: events.collect(),
        native: native.collect(),
        warnings,
    };
    // Only maps with string keys: serialising them cannot fail.
    serde_json::to_string(&status).unwrap_or_default()
}

/// The image in an annotation's value, which anyone may have written.
pub(crate) fn image_of(status: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Image {
        image: String,
    }
    serde_json::from_str(status).ok().map(|Image { image }| image)
}
