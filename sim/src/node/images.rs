//! Image names and the registries that have them or not.

use std::collections::BTreeSet;
use std::sync::Arc;

use ivory_core::hash::digest;

/// What the registries of a Kubernetes can deliver. Everything, unless said otherwise here.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    missing: Arc<BTreeSet<String>>,
    down: bool,
}

impl Registry {
    /// An image that can't be pulled from now on.
    pub fn withhold(&mut self, image: &str) {
        Arc::make_mut(&mut self.missing).insert(image.to_owned());
    }

    /// An image that can be pulled again.
    pub fn provide(&mut self, image: &str) {
        Arc::make_mut(&mut self.missing).remove(image);
    }

    /// Whether nothing at all can be pulled.
    pub fn set_down(&mut self, down: bool) {
        self.down = down;
    }

    /// Why a pull of the image fails, if it does; in containerd's words.
    #[must_use]
    pub fn failure(&self, image: &str) -> Option<String> {
        if self.down {
            return Some(format!(
                "failed to pull and unpack image {image:?}: dial tcp: i/o timeout"
            ));
        }
        self.missing.contains(image).then(|| {
            format!(
                "rpc error: code = NotFound desc = failed to pull and unpack image {image:?}: {image}: not found"
            )
        })
    }
}

/// Whether a text can be an image's name.
pub fn is_name(image: &str) -> bool {
    let (path, suffix) = match image.split_once('@') {
        Some((path, digest)) => (path, Some(digest)),
        None => (image, None),
    };
    let (name, tag) = match path.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, tag),
        _ => (path, "latest"),
    };
    let part = |p: &str| {
        !p.is_empty()
            && p.bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-:".contains(&b))
    };
    !name.is_empty()
        && name.split('/').all(part)
        && !tag.is_empty()
        && tag.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        && suffix.is_none_or(|d| d.starts_with("sha256:"))
}

/// Whether the image is pulled at each start when the manifest has no policy: the tag is `latest` or missing.
pub fn is_latest(image: &str) -> bool {
    if image.contains('@') {
        return false;
    }
    let last = image.rsplit('/').next().unwrap_or(image);
    last.split_once(':').is_none_or(|(_, tag)| tag == "latest")
}

/// An identity for the image, as a container's status shows it.
pub fn id_of(image: &str) -> String {
    let d = digest(image);
    format!("{image}@sha256:{d:016x}{d:016x}{d:016x}{d:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (image, name, latest) in [
            ("", false, true),
            ("ivory:18", true, false),
            ("registry.example.com:5000/a/b", true, true),
            ("registry.example.com:5000/a/b:1.2-3", true, false),
            ("a/b@sha256:00", true, false),
            ("Upper/case:1", false, false),
            ("two words:1", false, false),
            ("a:", false, false),
        ] {
            assert_eq!((is_name(image), is_latest(image)), (name, latest), "{image:?}");
        }
    }
}
