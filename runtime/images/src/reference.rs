//! Names of images, normalised as Docker does (upstream: `distribution/reference`):
//! `nginx` is `docker.io/library/nginx:latest`.

use crate::{Error, digest::ImageDigest};
use std::fmt;

const DEFAULT_DOMAIN: &str = "docker.io";
const LEGACY_DOMAIN: &str = "index.docker.io";
const OFFICIAL_PREFIX: &str = "library";
const DEFAULT_TAG: &str = "latest";

/// Characters of domain and path together.
const NAME_LENGTH_MAX: usize = 255;

/// Characters of a tag.
const TAG_LENGTH_MAX: usize = 128;

/// A full name: where, what, and which version of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageReference {
    domain: String,
    path: String,
    version: Version,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Version {
    Tag(String),
    Digest(ImageDigest),
}

impl ImageReference {
    /// Reads a name as a user writes it. A digest wins over a tag; with neither,
    /// the tag is `latest`.
    ///
    /// # Errors
    /// [`Error::InvalidName`].
    pub fn parse(name: &str) -> Result<Self, Error> {
        let invalid = |because| Error::InvalidName { name: name.to_owned(), because };
        let (rest, digest) = match name.split_once('@') {
            Some((rest, digest)) => (rest, Some(ImageDigest::parse(digest).ok_or_else(|| invalid(""))?)),
            None => (name, None),
        };
        let (rest, tag) = split_tag(rest);
        let (domain, path) = split_domain(rest);
        if tag.is_some_and(|tag| !is_tag(tag)) || !is_domain(&domain) {
            return Err(invalid(""));
        }
        if path.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(invalid("repository name must be lowercase"));
        }
        if !path.split('/').all(is_path_component) {
            return Err(invalid(""));
        }
        if domain.len() + 1 + path.len() > NAME_LENGTH_MAX {
            return Err(invalid("repository name must not be more than 255 characters"));
        }
        let version = match digest {
            Some(digest) => Version::Digest(digest),
            None => Version::Tag(tag.unwrap_or(DEFAULT_TAG).to_owned()),
        };
        Ok(Self { domain, path, version })
    }

    /// The digest, when the name has one.
    pub fn digest(&self) -> Option<&ImageDigest> {
        match &self.version {
            Version::Digest(digest) => Some(digest),
            Version::Tag(_) => None,
        }
    }

    /// The last part of the path: `ch02-hello-kiamol`.
    pub fn base_name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }
}

impl fmt::Display for ImageReference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.domain, self.path)?;
        match &self.version {
            Version::Tag(tag) => write!(formatter, ":{tag}"),
            Version::Digest(digest) => write!(formatter, "@{digest}"),
        }
    }
}

/// A colon after the last slash starts a tag; one before it is a port.
fn split_tag(name: &str) -> (&str, Option<&str>) {
    match name.rsplit_once(':') {
        Some((rest, tag)) if !tag.contains('/') => (rest, Some(tag)),
        _ => (name, None),
    }
}

/// The first part is a domain when it looks like one.
fn split_domain(name: &str) -> (String, String) {
    let (domain, path) = match name.split_once('/') {
        Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => (first, rest),
        _ => (DEFAULT_DOMAIN, name),
    };
    let domain = if domain == LEGACY_DOMAIN { DEFAULT_DOMAIN } else { domain };
    let official = domain == DEFAULT_DOMAIN && !path.contains('/');
    let path = if official { format!("{OFFICIAL_PREFIX}/{path}") } else { path.to_owned() };
    (domain.to_owned(), path)
}

fn is_domain(domain: &str) -> bool {
    let (host, port) = domain.split_once(':').map_or((domain, None), |(host, port)| (host, Some(port)));
    let is_label = |label: &str| {
        let inner = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        inner && !label.is_empty() && !label.starts_with('-') && !label.ends_with('-')
    };
    host.split('.').all(is_label)
        && port.is_none_or(|port| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Letters and digits, joined by `.`, `_`, `__` or any number of `-`.
fn is_path_component(component: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = component.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return false };
    let separators_fit = bytes
        .split(|byte| is_letter(*byte))
        .all(|separator| matches!(separator, b"" | b"." | b"_" | b"__") || separator.iter().all(|byte| *byte == b'-'));
    is_letter(*first) && is_letter(*last) && separators_fit
}

fn is_tag(tag: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    (1..=TAG_LENGTH_MAX).contains(&tag.len())
        && tag.bytes().next().is_some_and(is_word)
        && tag.bytes().all(|byte| is_word(byte) || byte == b'.' || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, expected: &str) {
        let parsed = ImageReference::parse(name).map(|reference| reference.to_string());
        assert_eq!(parsed.ok().as_deref(), Some(expected), "{name}");
    }

    #[test]
    fn names_are_normalised_as_docker_does() {
        let digest = "0".repeat(64);
        check("nginx", "docker.io/library/nginx:latest");
        check("kiamol/ch02-hello-kiamol", "docker.io/kiamol/ch02-hello-kiamol:latest");
        check("docker.io/kiamol/hello:v1", "docker.io/kiamol/hello:v1");
        check("index.docker.io/nginx", "docker.io/library/nginx:latest");
        check("localhost/x", "localhost/x:latest");
        check("localhost:5000/a/b:v2", "localhost:5000/a/b:v2");
        check("ghcr.io/a__b/c.d-e--f", "ghcr.io/a__b/c.d-e--f:latest");
        check(&format!("a/b:v1@sha256:{digest}"), &format!("docker.io/a/b@sha256:{digest}"));
    }

    #[test]
    fn what_is_no_name_says_so_in_dockers_words() {
        for name in
            ["", "a b", "a//b", "-a", "a:", ":tag", "a:b:c", "a@sha256:12", "a..b", "/a", "a_/b", "exa_mple.com/a"]
        {
            let message = ImageReference::parse(name).map(|_| ()).unwrap_err().to_string();
            assert_eq!(message, format!("couldn't parse image reference {name:?}: invalid reference format"));
        }
        let message = ImageReference::parse("Nginx").unwrap_err().to_string();
        assert!(message.ends_with("repository name must be lowercase"), "{message}");
        assert!(ImageReference::parse(&"a".repeat(300)).is_err());
    }

    proptest::proptest! {
        #[test]
        fn a_normalised_name_stays_as_it_is(name in "[a-z0-9./:@_-]{0,40}") {
            if let Ok(reference) = ImageReference::parse(&name) {
                let text = reference.to_string();
                proptest::prop_assert_eq!(ImageReference::parse(&text).map(|again| again.to_string()).ok(), Some(text));
            }
        }
    }
}
