//! The image half of the contract.

use crate::{Error, Image};
use async_trait::async_trait;

/// CRI v1 `ImageService`.
#[async_trait]
pub trait ImageService: Send + Sync + 'static {
    /// Images on this node.
    ///
    /// # Errors
    /// [`Error::Internal`] when the disk cannot be read.
    async fn list_images(&self) -> Result<Vec<Image>, Error>;

    /// The image with this name or id; `None` when it is not here.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] when the name is none.
    async fn image_status(&self, reference: &str) -> Result<Option<Image>, Error>;

    /// Makes the image be here, and ready to run.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] when the name is none or the image cannot run
    /// here (a Linux image, a corrupt file, an unknown import);
    /// [`Error::NotFound`] when nobody has it; [`Error::Unavailable`] when its
    /// registry does not answer. The message goes to the user as it is.
    async fn pull_image(&self, reference: &str) -> Result<Image, Error>;

    /// Removes the image; fine when it is not here.
    ///
    /// # Errors
    /// [`Error::FailedPrecondition`] when a container uses it.
    async fn remove_image(&self, reference: &str) -> Result<(), Error>;
}
