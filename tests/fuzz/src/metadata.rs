//! What a server that is gone left beside a recording. What is believed of it is written again the same.

use std::time::{Duration, SystemTime};

use sideflame::capture::CaptureId;
use sideflame::capture::metadata::{Metadata, Outcome};

use crate::Seed;

const ID: &str = "f05e2e74cc8fd250";
const LENGTH: u64 = 817;
/// A day after the seeds were made.
const NOW: Duration = Duration::from_secs(1_795_873_403);

pub(crate) fn run(bytes: &[u8]) {
    let id = CaptureId::parse(ID).expect("an id");
    let now = SystemTime::UNIX_EPOCH + NOW;
    let read = |bytes: &[u8], length| Metadata::read(bytes, &id, length, now);
    let Ok(told) = read(bytes, Some(LENGTH)) else { return };
    assert!(told.created_at() < now + Duration::from_secs(48 * 3600));
    let again = serde_json::to_vec(&told).expect("JSON");
    assert_eq!(read(&again, Some(LENGTH)).as_ref(), Ok(&told));
    let lost = read(&again, None).expect("as before").end;
    let is_finished = |outcome: &Outcome| matches!(outcome, Outcome::Finished { .. });
    assert!(!lost.is_some_and(|end| is_finished(&end.outcome)), "a recording that is not there");
}

const FINISHED: &str = r#"{"version":1,"id":"f05e2e74cc8fd250","event":"cpu","seconds":2,"kind":"pprof","format":"collapsed","names":"normalised","createdAtMs":1795787003682,"evidence":{"sideflame":"0.1.0","process":{"process":{"pid":1559,"startTime":330939,"parentPid":1553,"namespacePid":1559,"command":"split","executable":"/app/split","credentials":{"uid":0,"gid":0,"capabilities":7},"signalsCaught":1,"signalsIgnored":2,"state":"S","threads":4,"noNewPrivileges":false,"container":{"id":null,"name":null,"podUid":null,"pod":null}},"name":"split","facts":{"runtime":"go","version":"go1.26.8","module":"split","pprof":{"scheme":"http","authority":"127.0.0.1:32851","path":"/debug/pprof/","profiles":["heap","shop.carts"]},"pprofAbsence":null}},"commandLine":["split","labels"],"verdicts":[{"event":"cpu","availability":"available","reason":null},{"event":"cycles","availability":"impossible","reason":{"key":"no_hardware_counter","sentence":"no such counter","remedy":"use event=cpu"}}]},"remarks":{"pinned":false},"fetched":true,"end":{"expiresAtMs":1795790605788,"outcome":{"finished":{"quality":{"sampler":"profile of the Go runtime","interval":10000000,"intervalUnit":"nanoseconds","clock":"cpu","samples":49,"expectedSamples":200,"lost":null,"cpuMs":520,"sampledCpuMs":490,"unresolved":null,"maxFrames":64,"pid":1559,"process":"split","runtime":"go 1.26.8","event":"cpu","startedAtMs":1795787003780,"durationMs":2000,"degraded":[]},"length":817,"sha256":"e723d404654db07f1e6d37593b5eedf864e0f8c8d1431265eee82dd4276abaa7"}}}}"#;

pub(crate) fn seeds() -> Vec<Seed> {
    let with = |from: &str, to: &str| FINISHED.replace(from, to).into_bytes();
    let (running, _) = FINISHED.split_once(r#","end":"#).expect("an end");
    vec![
        ("finished", FINISHED.into()),
        ("running", format!(r#"{running},"end":null}}"#).into_bytes()),
        ("pinned", with("\"pinned\":false", "\"name\":\"before\",\"pinned\":true")),
        ("cut-recording", with("\"length\":817", "\"length\":818")),
        ("another", with(ID, "0000000000000000")),
    ]
}
