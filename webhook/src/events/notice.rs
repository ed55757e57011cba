//! What is to be said to an owner about one of its pods: words of ours, and names that are names.
//!
//! Whoever can send a review that no API server sent has it written with our token. So nothing is repeated that the pod says
//! but names, and no name is repeated that could be anything else.

use std::fmt::Write;

use serde_json::Value;

use crate::dns::{is_label, is_subdomain};
use crate::outcome::Outcome;

/// Something for the owner of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    pub(super) namespace: String,
    pub(super) owner: Owner,
    pub(super) injected: bool,
    pub(super) note: String,
}

/// From an ownerReference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) api_version: String,
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) uid: String,
}

impl Notice {
    /// `None` for a pod without an owner, whose creator sees the warnings at once; and for names that are none.
    pub fn about(pod: &Value, namespace: &str, outcome: Outcome, warnings: usize) -> Option<Self> {
        if !is_label(namespace) {
            return None;
        }
        let owner = Owner::of(pod)?;
        let injected = outcome == Outcome::Injected;
        let mut note = match outcome {
            // We answer before other admission plugins see the pod.
            Outcome::Injected => {
                "Answered with the Sideflame sidecar for a pod; other rules may still refuse the pod".to_owned()
            }
            Outcome::Skipped(reason) | Outcome::Blocked(reason) => {
                format!(
                    "No Sideflame sidecar in a pod ({}): {}",
                    reason.key(),
                    reason.sentence()
                )
            }
            Outcome::Failed(failure) => format!("No Sideflame sidecar in a pod ({})", failure.key()),
        };
        if warnings > 0 {
            let s = if warnings == 1 { "" } else { "s" };
            // Writing into a String cannot fail.
            let _ = write!(
                note,
                "; {warnings} warning{s}: kubectl create --dry-run=server of a pod of the same template shows what to change"
            );
        }
        Some(Self {
            namespace: namespace.to_owned(),
            owner,
            injected,
            note,
        })
    }

    pub(super) const fn reason(&self) -> &'static str {
        if self.injected {
            "SideflameAnswered"
        } else {
            "SideflameNotInjected"
        }
    }
}

impl Owner {
    /// The first controller.
    fn of(pod: &Value) -> Option<Self> {
        let references = pod.pointer("/metadata/ownerReferences")?.as_array()?;
        let reference = references.iter().find(|reference| reference["controller"] == true)?;
        let field = |name: &str, is_one: fn(&str) -> bool| {
            let text = reference.get(name)?.as_str()?;
            is_one(text).then(|| text.to_owned())
        };
        Some(Self {
            api_version: field("apiVersion", is_api_version)?,
            kind: field("kind", is_kind)?,
            name: field("name", is_subdomain)?,
            uid: field("uid", is_uid)?,
        })
    }
}

/// `v1`, `apps/v1`.
fn is_api_version(text: &str) -> bool {
    match text.split_once('/') {
        None => is_label(text),
        Some((group, version)) => is_subdomain(group) && is_label(version),
    }
}

/// An identifier of one word.
fn is_kind(text: &str) -> bool {
    (1..=63).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// A UUID, or what else has no blank and no sign in it.
fn is_uid(text: &str) -> bool {
    (1..=63).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inject::SkipReason;
    use serde_json::json;

    fn pod(key: &str, value: &str) -> Value {
        let mut pod = json!({"metadata": {"ownerReferences": [
            {"apiVersion": "v1", "kind": "Other", "name": "a", "uid": "1"},
            {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "b", "uid": "2", "controller": true}]}});
        pod["metadata"]["ownerReferences"][1][key] = json!(value);
        pod
    }

    #[test]
    fn the_owner_is_the_first_controller() {
        let notice = Notice::about(&pod("name", "b"), "shop", Outcome::Injected, 0).unwrap();
        assert_eq!(
            (notice.owner.name.as_str(), notice.reason()),
            ("b", "SideflameAnswered")
        );
    }

    #[test]
    fn a_pod_without_a_controller_or_with_a_broken_one_gets_no_event() {
        for pod in [
            json!({}),
            json!({"metadata": {"ownerReferences": "x"}}),
            json!({"metadata": {"ownerReferences": [{"controller": true, "kind": "ReplicaSet"}]}}),
        ] {
            assert_eq!(Notice::about(&pod, "shop", Outcome::Injected, 0), None, "{pod}");
        }
    }

    #[test]
    fn a_name_that_is_none_is_repeated_to_nobody() {
        let long = "a".repeat(300);
        for (key, value) in [
            ("name", "Call this number"),
            ("name", "a/../../b"),
            ("name", ""),
            ("name", &long),
            ("kind", "Your cluster"),
            ("apiVersion", "v1/a/b"),
            ("apiVersion", "V 1"),
            ("uid", "\u{202e}"),
        ] {
            assert_eq!(
                Notice::about(&pod(key, value), "shop", Outcome::Injected, 0),
                None,
                "{value}"
            );
        }
        for namespace in ["a/../../b", "a?dryRun=All", "", "A", "a.b"] {
            assert_eq!(Notice::about(&pod("name", "b"), namespace, Outcome::Injected, 0), None);
        }
    }

    #[test]
    fn the_note_is_our_own_words_and_fits() {
        for outcome in Outcome::all() {
            let notice = Notice::about(&pod("name", "b"), "shop", outcome, usize::MAX).unwrap();
            assert!(notice.note.len() < 1024 && notice.note.is_ascii(), "{}", notice.note);
        }
        let notice = Notice::about(&pod("name", "b"), "shop", Outcome::Skipped(SkipReason::Windows), 1).unwrap();
        assert!(
            notice
                .note
                .starts_with("No Sideflame sidecar in a pod (windows): the sidecar is for Linux; 1 warning: ")
        );
    }
}
