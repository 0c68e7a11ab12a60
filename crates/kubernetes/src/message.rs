//! What kubelets write into events about images.
//!
//! The reason of an event says most, so only where two things have the same reason does the text decide. The forms are those
//! of kubelets 1.20 to 1.37; `tests` has them all.

use pulls::ImageEventReason;

/// What an event says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    /// Nothing about an image.
    Other,
    /// Something about an image.
    Image {
        reason: ImageEventReason,
        /// As the text tells it.
        image: Option<String>,
        /// Whether a kubelet wrote it in a form that is known.
        known: bool,
    },
}

/// Reads an event's reason and text.
pub(crate) fn read(reason: &str, text: &str) -> Message {
    let about = |reason, known| Message::Image { reason, image: quoted(text), known };
    let has = |phrase: &str| contains(text, phrase);
    match reason {
        "Pulling" => about(ImageEventReason::Pulling, has("pulling image")),
        "Pulled" if has("already present") => about(ImageEventReason::AlreadyPresent, true),
        "Pulled" => about(ImageEventReason::Pulled, has("pulled image")),
        "Failed" if has("failed to pull image") => about(ImageEventReason::Failed, true),
        "Failed" if IMAGE_ERRORS.iter().any(|word| has(word)) => {
            Message::Image { reason: ImageEventReason::Failed, image: None, known: true }
        }
        // Kubelets begin so what is wrong with a container that has its image.
        "Failed" if has("error: ") => Message::Other,
        "Failed" => about(ImageEventReason::Failed, false),
        "BackOff" if has("pulling image") => about(ImageEventReason::BackOff, true),
        "BackOff" if has("restarting failed") => Message::Other,
        "BackOff" => about(ImageEventReason::BackOff, false),
        "ErrImageNeverPull" => about(ImageEventReason::NeverPull, has("never")),
        "InspectFailed" => about(
            ImageEventReason::InspectFailed,
            has("failed to inspect") || has("failed to apply"),
        ),
        _ => Message::Other,
    }
}

/// What stands for an error of an image after `Error: `.
const IMAGE_ERRORS: &[&str] = &[
    "error: ErrImageNeverPull",
    "error: ErrImagePull",
    "error: ImageInspectError",
    "error: ImagePullBackOff",
    "error: InvalidImageName",
    "error: RegistryUnavailable",
    "error: SignatureValidationFailed",
];

/// Returns what is between the first pair of quotes, as Go writes them; `None` where there is none or nothing in it.
fn quoted(text: &str) -> Option<String> {
    let (_, rest) = text.split_once('"')?;
    let mut image = String::new();
    let mut chars = rest.chars();
    loop {
        match chars.next()? {
            '"' => break,
            '\\' => image.push(chars.next()?),
            other => image.push(other),
        }
    }
    (!image.is_empty()).then_some(image)
}

/// Returns whether `phrase` is in `text`; upper and lower case of ASCII are the same.
fn contains(text: &str, phrase: &str) -> bool {
    text.as_bytes().windows(phrase.len()).any(|part| part.eq_ignore_ascii_case(phrase.as_bytes()))
}

#[cfg(test)]
mod tests {
    use ImageEventReason::{
        AlreadyPresent, BackOff, Failed, InspectFailed, NeverPull, Pulled, Pulling,
    };

    use super::*;

    fn check(reason: &str, text: &str, expected: ImageEventReason, image: Option<&str>) {
        let image = image.map(str::to_owned);
        assert_eq!(
            read(reason, text),
            Message::Image { reason: expected, image, known: true },
            "{reason}: {text}"
        );
    }

    #[test]
    fn every_form_of_every_kubelet_is_read() {
        let nginx = Some("nginx:1.27");
        check("Pulling", r#"Pulling image "nginx:1.27""#, Pulling, nginx);
        check("Pulling", r#"pulling image "nginx:1.27""#, Pulling, nginx);
        check("Pulling", r#"spec.containers{web}: Pulling image "nginx:1.27""#, Pulling, nginx);
        check("Pulling", r#"Pulling image "" "#, Pulling, None);

        let ghcr = Some("ghcr.io/foo/bar:v1.0");
        for text in [
            r#"Successfully pulled image "ghcr.io/foo/bar:v1.0""#,
            r#"Successfully pulled image "ghcr.io/foo/bar:v1.0" in 2.1s"#,
            r#"Successfully pulled image "ghcr.io/foo/bar:v1.0" in 2.1s (image size: 15MB)"#,
            r#"Successfully pulled image "ghcr.io/foo/bar:v1.0" in 2.1s (2.1s including waiting)"#,
            r#"Successfully pulled image "ghcr.io/foo/bar:v1.0" in 2.1s (9.8s including waiting). Image size: 71005258 bytes."#,
            r#"spec.initContainers{init}: Successfully pulled image "ghcr.io/foo/bar:v1.0" in 2.1s"#,
        ] {
            check("Pulled", text, Pulled, ghcr);
        }
        for text in [
            r#"Container image "ghcr.io/foo/bar:v1.0" already present on machine"#,
            r#"Container image "ghcr.io/foo/bar:v1.0" already present on machine and can be accessed by the pod"#,
            r#"container image "ghcr.io/foo/bar:v1.0" ALREADY PRESENT on machine"#,
        ] {
            check("Pulled", text, AlreadyPresent, ghcr);
        }

        let text = r#"Failed to pull image "x": rpc error: code = NotFound desc = failed to pull and unpack image "docker.io/library/x:latest": not found"#;
        check("Failed", text, Failed, Some("x"));
        check("Failed", r#"Failed to pull image "x": context canceled"#, Failed, Some("x"));
        check("Failed", "Error: ErrImagePull", Failed, None);
        check("Failed", "Error: ImagePullBackOff", Failed, None);
        check("Failed", "Error: ErrImageNeverPull", Failed, None);
        check("Failed", "Error: InvalidImageName", Failed, None);
        check("Failed", "Error: ImageInspectError", Failed, None);
        check("Failed", "Error: RegistryUnavailable", Failed, None);
        check("Failed", "Error: SignatureValidationFailed: policy", Failed, None);

        check("BackOff", r#"Back-off pulling image "x""#, BackOff, Some("x"));
        let text = r#"Back-off pulling image "x": ErrImagePull: failed to pull and unpack image "docker.io/library/x:latest": not found"#;
        check("BackOff", text, BackOff, Some("x"));

        let text = r#"Container image "x" is not present with pull policy of Never"#;
        check("ErrImageNeverPull", text, NeverPull, Some("x"));
        check(
            "InspectFailed",
            r#"Failed to inspect image "x": rpc error"#,
            InspectFailed,
            Some("x"),
        );
        let text = r#"Failed to apply default image tag "X:": couldn't parse image name "X:": invalid reference format"#;
        check("InspectFailed", text, InspectFailed, Some("X:"));

        check("Pulling", r#"Pulling image "a\"b\\c""#, Pulling, Some(r#"a"b\c"#));
        check("Pulling", r#"Pulling image "unfinished"#, Pulling, None);
        check("Pulling", "Pulling image nginx", Pulling, None);
    }

    #[test]
    fn an_unknown_text_is_said_to_be_one_and_counts_by_its_reason() {
        for (reason, expected) in [
            ("Pulling", Pulling),
            ("Pulled", Pulled),
            ("Failed", Failed),
            ("BackOff", BackOff),
            ("ErrImageNeverPull", NeverPull),
            ("InspectFailed", InspectFailed),
        ] {
            for (text, image) in [("Hole Abbild \"x\"", Some("x")), ("", None)] {
                let image = image.map(str::to_owned);
                let message = Message::Image { reason: expected, image, known: false };
                assert_eq!(read(reason, text), message, "{reason}: {text}");
            }
        }
    }

    #[test]
    fn what_is_not_about_an_image_is_left_out() {
        for (reason, text) in [
            ("Failed", "Error: failed to create containerd task: OCI runtime create failed"),
            ("Failed", r#"Error: couldn't find key x in ConfigMap "a/b""#),
            ("BackOff", "Back-off restarting failed container web in pod web-1_default(uid)"),
            ("BackOff", "Back-off restarting failed container"),
            ("Scheduled", r#"Successfully assigned default/web to node "a""#),
            ("Started", "Started container web"),
            ("", ""),
        ] {
            assert_eq!(read(reason, text), Message::Other, "{reason}: {text}");
        }
    }
}
