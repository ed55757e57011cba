//! Native sidecar or plain container. Called by [`super`].

use serde_json::Value;

use super::skip::{Skip, SkipReason};
use crate::choices::SidecarForm;
use crate::pod::PodView;
use crate::settings::{Facts, InjectSettings, PullPolicy};

/// The first release with native sidecars switched on.
const NATIVE_SIDECARS: (u32, u32) = (1, 29);

/// True for a native sidecar, false for a plain container.
///
/// # Errors
/// The pod can have neither.
pub(super) fn is_native(
    pod: &PodView<'_>,
    asked: Option<SidecarForm>,
    settings: &InjectSettings,
    facts: &Facts,
) -> Result<bool, Skip> {
    let supported = facts.server_version.map(|version| version >= NATIVE_SIDECARS);
    let completes = matches!(
        pod.spec.get("restartPolicy").and_then(Value::as_str),
        Some("Never" | "OnFailure")
    );
    let native = match asked.unwrap_or(settings.sidecar_form) {
        SidecarForm::Native if supported == Some(false) => {
            return Err(Skip::new(
                SkipReason::NativeSidecarUnsupported,
                "sideflame.io/sidecar: native needs Kubernetes 1.29; remove the annotation, or set it to \"container\"",
            ));
        }
        SidecarForm::Native => true,
        SidecarForm::Container => false,
        // Without the server's word, an init container that never ends could hold the app for ever. With hostNetwork the
        // port may be taken on the node, and without pulling the image may be missing there: then a native sidecar would hold
        // the app, a plain one does not.
        SidecarForm::Auto => {
            let may_fail =
                pod.flag("hostNetwork") == Some(true) || settings.sidecar_image_pull_policy == PullPolicy::Never;
            supported == Some(true) && (completes || !may_fail)
        }
    };
    if completes && !native {
        return Err(Skip::new(
            SkipReason::WouldNotComplete,
            "a plain sidecar would keep this pod from completing; it needs a native one: Kubernetes 1.29 and \
             sideflame.io/sidecar: auto",
        ));
    }
    Ok(native)
}
