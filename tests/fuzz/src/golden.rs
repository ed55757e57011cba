//! Pods and settings of the webhook to begin with: some of `tests/golden/inject`, which have every kind of field that is read.

use clap::Parser;
use serde_json::Value;
use sideflame_webhook::settings::{Facts, InjectSettings};

use crate::Seed;

/// The settings of flags without any argument.
pub(crate) fn settings() -> InjectSettings {
    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        settings: InjectSettings,
    }
    Flags::parse_from(["sideflame-webhook"]).settings
}

/// A namespace without labels, on an API server that knows native sidecars.
pub(crate) fn facts() -> Facts {
    Facts {
        namespace: "shop".to_owned(),
        namespace_labels: Some([].into()),
        server_version: Some((1, 33)),
        ..Facts::default()
    }
}

macro_rules! manifests {
    ($($name:literal),* $(,)?) => {
        vec![$(($name, include_str!(concat!("../../golden/inject/", $name, ".yaml")).as_bytes().to_vec())),*]
    };
}

/// As they were written.
pub(crate) fn manifests() -> Vec<Seed> {
    manifests![
        "block-invalid-annotation",
        "empty-and-null-lists",
        "ephemeral-containers",
        "every-annotation",
        "init-containers-plain-form",
        "labels-null",
        "pull-secrets",
        "resources-guaranteed",
        "rights-two-users-chosen",
        "tmp-of-two-chosen-containers",
        "token-secret-same-user",
        "unknown-fields",
        "volumes-and-mounts",
    ]
}

/// As JSON.
pub(crate) fn pods() -> Vec<(&'static str, Value)> {
    let pods = manifests().into_iter().map(|(name, text)| {
        let documents = sideflame_webhook::cli::fuzz::documents(std::str::from_utf8(&text).unwrap());
        (name, documents.unwrap().remove(0).1)
    });
    pods.collect()
}
