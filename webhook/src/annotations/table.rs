//! The table of all annotations: it parses, validates and documents.

use clap::ValueEnum;

use super::Annotations;
use crate::choices::{Event, Quantity};
use crate::dns::{is_label, is_subdomain};

/// One row.
#[derive(Debug)]
pub struct Annotation {
    /// Key without the prefix.
    pub name: &'static str,
    /// Allowed values, so that "must be …" is a sentence.
    pub allowed: &'static str,
    /// What holds without it; in brackets where a flag of the webhook decides.
    pub default: &'static str,
    /// One sentence for the user.
    pub doc: &'static str,
    /// Parses a value into its field; `None` if it is not allowed.
    pub(super) set: for<'a> fn(&mut Annotations<'a>, &'a str) -> Option<()>,
}

const QUANTITY: &str = "a positive quantity, e.g. 100m";
const MEMORY: &str = "a quantity of at least 16Mi, e.g. 256Mi";
/// Of a list; a pod with more containers gets no sidecar.
const MOST_ITEMS: usize = crate::pod::MOST_CONTAINERS;
/// `runAsUser` and `runAsGroup` in the API go up to here.
const LARGEST_ID: u32 = i32::MAX as u32;

/// Every annotation.
pub static TABLE: [Annotation; 22] = [
    Annotation {
        name: "inject",
        allowed: "true or false",
        default: "the namespace's label sideflame.io/inject: enabled",
        doc: "Adds the sidecar; false keeps it out of an opted-in namespace.",
        set: |it, text| put(&mut it.inject, boolean(text)),
    },
    Annotation {
        name: "container",
        allowed: "names of containers, separated by commas",
        default: "kubectl's default container, else the first that is no known proxy or agent",
        doc: "Containers to profile, the main one first; rights are planned for them.",
        set: |it, text| {
            it.containers = list(text, |name| is_label(name).then_some(name))?;
            Some(())
        },
    },
    Annotation {
        name: "rights",
        allowed: "auto, same-user, switch-user, unconfined or perf",
        default: "auto (--sidecar-rights)",
        doc: "What the sidecar may do; auto takes the least that works and that the namespace's Pod Security level admits.",
        set: |it, text| put(&mut it.rights, choice(text)),
    },
    Annotation {
        name: "run-as-user",
        allowed: "a number from 0 to 2147483647",
        default: "runAsUser of the container",
        doc: "User id the containers really run as, where only their image knows it.",
        set: |it, text| put(&mut it.run_as_user, number(text, 0..=LARGEST_ID)),
    },
    Annotation {
        name: "run-as-group",
        allowed: "a number from 0 to 2147483647",
        default: "runAsGroup of the container",
        doc: "Group id the containers really run as, where only their image knows it.",
        set: |it, text| put(&mut it.run_as_group, number(text, 0..=LARGEST_ID)),
    },
    Annotation {
        name: "port",
        allowed: "a port from 1024 to 65535",
        default: "7117 (--sidecar-port)",
        doc: "Port of the sidecar on the pod's loopback.",
        set: |it, text| put(&mut it.port, port(text)),
    },
    Annotation {
        name: "metrics-port",
        allowed: "a port from 1024 to 65535",
        default: "none",
        doc: "Port on all of the pod's addresses at which GET /metrics alone is there for Prometheus, declared under the name \
              sideflame; everything else stays on the loopback. A pod of the node's network gets none.",
        set: |it, text| put(&mut it.metrics_port, port(text)),
    },
    Annotation {
        name: "image",
        allowed: "a container image",
        default: "(--sidecar-image)",
        doc: "Image of the sidecar, where the operator allows it (--allow-image-annotation).",
        set: |it, text| put(&mut it.image, image(text)),
    },
    Annotation {
        name: "events",
        allowed: "a list of cpu,wall,alloc,heap,lock,exceptions,goroutine,counters,block,threadcreate,trace,cycles,instructions,\
                  cache-misses,branch-misses,page-faults,context-switches,offcpu",
        default: "cpu",
        doc: "Events that must work: rights are planned for them and sideflame.io/status has a verdict for each.",
        set: |it, text| {
            it.events = list(text, Event::named)?;
            Some(())
        },
    },
    Annotation {
        name: "cpu-request",
        allowed: QUANTITY,
        default: "10m (--sidecar-cpu-request)",
        doc: "CPU request of the sidecar; raised to the limit in a pod of class Guaranteed.",
        set: |it, text| put(&mut it.cpu_request, Quantity::positive(text).ok()),
    },
    Annotation {
        name: "cpu-limit",
        allowed: QUANTITY,
        default: "500m (--sidecar-cpu-limit)",
        doc: "CPU limit of the sidecar.",
        set: |it, text| put(&mut it.cpu_limit, Quantity::positive(text).ok()),
    },
    Annotation {
        name: "memory-request",
        allowed: MEMORY,
        default: "32Mi (--sidecar-memory-request)",
        doc: "Memory request of the sidecar; raised to the limit in a pod of class Guaranteed.",
        set: |it, text| put(&mut it.memory_request, Quantity::memory(text).ok()),
    },
    Annotation {
        name: "memory-limit",
        allowed: MEMORY,
        default: "256Mi (--sidecar-memory-limit)",
        doc: "Memory limit of the sidecar.",
        set: |it, text| put(&mut it.memory_limit, Quantity::memory(text).ok()),
    },
    Annotation {
        name: "capture-size",
        allowed: "a quantity from 16Mi to 1Ti, e.g. 256Mi",
        default: "256Mi (--sidecar-capture-size)",
        doc: "Disk space for captures, in an emptyDir of its own.",
        set: |it, text| put(&mut it.capture_size, Quantity::capture_size(text).ok()),
    },
    Annotation {
        name: "tmp",
        allowed: "auto or off",
        default: "auto",
        doc: "auto mounts an emptyDir at /tmp of a profiled container whose root file system is read-only: JVM and .NET need it.",
        set: |it, text| {
            it.no_tmp = match text {
                "auto" => false,
                "off" => true,
                _ => return None,
            };
            Some(())
        },
    },
    Annotation {
        name: "jvm-debug-info",
        allowed: "true or false",
        default: "false",
        doc: "Has JVMs keep what tells inlined methods apart: adds -XX:+DebugNonSafepoints to the profiled containers by JAVA_TOOL_OPTIONS, which a \
              JVM prints and which replaces that of the image; a container that states it is left as it is.",
        set: |it, text| {
            it.jvm_debug_info = boolean(text)?;
            Some(())
        },
    },
    Annotation {
        name: "dotnet-sampling",
        allowed: "a time from 1ms to 1000ms",
        default: "the runtime's: 1 ms, from .NET 11 on 10 ms",
        doc: "How often .NET 10 and later look at all threads during captures of cpu and wall: adds DOTNET_EventPipeThreadSamplingRate to the \
              profiled containers; a container that states it is left as it is.",
        set: |it, text| put(&mut it.dotnet_sampling, number(text.strip_suffix("ms")?, 1..=1000)),
    },
    Annotation {
        name: "dotnet-port",
        allowed: "true or false",
        default: "false",
        doc: "Has .NET 5 and later connect to the sidecar by themselves, over a volume that is read-only for them: adds DOTNET_DiagnosticPorts \
              to the profiled containers. They then need no /tmp, no user of the sidecar's, and in a pod that states shareProcessNamespace: \
              false no shared process namespace; a container that states it is left as it is.",
        set: |it, text| {
            it.dotnet_port = boolean(text)?;
            Some(())
        },
    },
    Annotation {
        name: "token-secret",
        allowed: "the name of a Secret in the pod's namespace with the key token",
        default: "no token",
        doc: "Every request to the sidecar must then carry this bearer token; the pod waits for the Secret to exist.",
        set: |it, text| put(&mut it.token_secret, is_subdomain(text).then_some(text)),
    },
    Annotation {
        name: "sidecar",
        allowed: "auto, native or container",
        default: "auto (--sidecar-form)",
        doc: "native is an init container with restartPolicy Always (Kubernetes 1.29), container a plain one; auto takes native where it exists.",
        set: |it, text| put(&mut it.sidecar, choice(text)),
    },
    Annotation {
        name: "on-error",
        allowed: "skip or block",
        default: "skip",
        doc: "block refuses the pod when the sidecar cannot be added, instead of starting it without.",
        set: |it, text| {
            it.block_on_error = match text {
                "skip" => false,
                "block" => true,
                _ => return None,
            };
            Some(())
        },
    },
    Annotation {
        name: "status",
        allowed: "left to sideflame",
        default: "-",
        doc: "Written by sideflame: version, image, container, rights and a verdict for each container and event, as JSON.",
        set: |_, _| None,
    },
];

fn put<T>(field: &mut Option<T>, value: Option<T>) -> Option<()> {
    *field = Some(value?);
    Some(())
}

fn boolean(text: &str) -> Option<bool> {
    // Nothing else: "enabled" or "yes" that works in one place and not in another is worse than a clear no.
    match text {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

fn choice<T: ValueEnum>(text: &str) -> Option<T> {
    T::from_str(text, false).ok()
}

fn port(text: &str) -> Option<u16> {
    let port = number(text, 1024..=u32::from(u16::MAX))?;
    u16::try_from(port).ok()
}

fn number(text: &str, range: std::ops::RangeInclusive<u32>) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = digits.then(|| text.parse().ok())??;
    range.contains(&number).then_some(number)
}

fn list<'a, T: PartialEq>(text: &'a str, item: impl Fn(&'a str) -> Option<T>) -> Option<Vec<T>> {
    // Each is looked for among the others.
    if text.split(',').nth(MOST_ITEMS).is_some() {
        return None;
    }
    let mut items = Vec::new();
    for part in text.split(',') {
        let item = item(part.trim())?;
        if !items.contains(&item) {
            items.push(item);
        }
    }
    Some(items)
}

/// Only what can be no reference is refused: the kubelet would not try to pull it, and a native sidecar that never starts holds
/// the app for ever.
fn image(text: &str) -> Option<&str> {
    let (name, digest) = text
        .split_once('@')
        .map_or((text, None), |(name, digest)| (name, Some(digest)));
    let (name, tag) = match name.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (name, None),
    };
    let only = |text: &str, others: &[u8]| {
        text.bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || others.contains(&byte))
    };
    let is_digest = |digest: &str| {
        let hex = digest
            .split_once(':')
            .filter(|(algorithm, _)| only(algorithm, b"+._-"))
            .map(|(_, hex)| hex);
        hex.is_some_and(|hex| hex.len() >= 32 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()))
    };
    let is_tag = |tag: &str| (1..=128).contains(&tag.len()) && only(tag, b"._-") && !tag.starts_with(['.', '-']);
    let is_part = |part: &str| {
        let is_end = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        only(part, b"._-")
            && part == part.to_ascii_lowercase()
            && is_end(part.bytes().next())
            && is_end(part.bytes().last())
    };
    // A registry has a dot or a port, or letters that no path may have.
    let path = match name.split_once('/') {
        Some((host, path)) if host == "localhost" || !is_part(host) || host.contains('.') => {
            only(host, b".:-[]").then_some(path).filter(|_| !host.is_empty())?
        }
        _ => name,
    };
    let is_reference =
        name.len() <= 255 && path.split('/').all(is_part) && tag.is_none_or(is_tag) && digest.is_none_or(is_digest);
    is_reference.then_some(text)
}
