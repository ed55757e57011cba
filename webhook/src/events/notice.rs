//! What is to be said to an owner about one of its pods.

use serde_json::Value;

/// Limit of `note` in events.k8s.io/v1, in bytes.
const NOTE_BYTES: usize = 1024;
/// Names, kinds and uids are shorter; an object of a hostile client need not be.
const LONGEST_FIELD: usize = 253;

/// One sentence or several for the owner of a pod.
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
    /// `None` for a pod without an owner: its creator sees the warnings at once.
    pub fn about<'a>(
        pod: &Value,
        namespace: &str,
        injected: bool,
        reason: &str,
        sentences: impl Iterator<Item = &'a String>,
    ) -> Option<Self> {
        let owner = Owner::of(pod)?;
        let mut note = if injected {
            "Added the Sideflame sidecar to a pod".to_owned()
        } else {
            format!("No Sideflame sidecar in a pod ({reason})")
        };
        for sentence in sentences {
            note.push_str("; ");
            note.push_str(sentence);
        }
        note.truncate(note.floor_char_boundary(NOTE_BYTES));
        Some(Self {
            namespace: namespace.to_owned(),
            owner,
            injected,
            note,
        })
    }

    pub(super) const fn reason(&self) -> &'static str {
        if self.injected {
            "SideflameInjected"
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
        let field = |name: &str| {
            let text = reference.get(name)?.as_str()?;
            (!text.is_empty() && text.len() <= LONGEST_FIELD).then(|| text.to_owned())
        };
        Some(Self {
            api_version: field("apiVersion")?,
            kind: field("kind")?,
            name: field("name")?,
            uid: field("uid")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_owner_is_the_first_controller() {
        let pod = json!({"metadata": {"ownerReferences": [
            {"apiVersion": "v1", "kind": "Other", "name": "a", "uid": "1"},
            {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "b", "uid": "2", "controller": true}]}});
        let notice = Notice::about(&pod, "shop", true, "injected", [].iter()).unwrap();
        assert_eq!(
            (notice.owner.name.as_str(), notice.reason()),
            ("b", "SideflameInjected")
        );
    }

    #[test]
    fn a_pod_without_a_controller_or_with_a_broken_one_gets_no_event() {
        for pod in [
            json!({}),
            json!({"metadata": {"ownerReferences": "x"}}),
            json!({"metadata": {"ownerReferences": [{"controller": true, "kind": "ReplicaSet"}]}}),
            json!({"metadata": {"ownerReferences": [{"apiVersion": "v1", "kind": "X", "name": "a".repeat(300), "uid": "1", "controller": true}]}}),
        ] {
            assert_eq!(Notice::about(&pod, "shop", true, "injected", [].iter()), None, "{pod}");
        }
    }

    #[test]
    fn a_note_is_cut_where_a_character_ends() {
        let pod = json!({"metadata": {"ownerReferences": [{"apiVersion": "v1", "kind": "X", "name": "a", "uid": "1", "controller": true}]}});
        let notice = Notice::about(&pod, "shop", false, "windows", ["ü".repeat(2000)].iter()).unwrap();
        assert!(notice.note.len() <= NOTE_BYTES && notice.note.len() > NOTE_BYTES - 4);
    }
}
