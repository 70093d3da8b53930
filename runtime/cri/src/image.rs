//! Images: plain data.

/// An image on this node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    /// `sha256:` and the digest.
    pub id: String,
    /// Names it has, such as `docker.io/kiamol/ch02-hello-kiamol:latest`.
    pub tags: Vec<String>,
    /// Bytes on disk.
    pub size_bytes: u64,
}
