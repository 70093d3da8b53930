//! The image half of the contract: the store of `wk-images`, plus compiling.

use crate::runtime::WasmRuntime;
use async_trait::async_trait;
use wk_cri::{Error, Image, ImageService};
use wk_images::ImageRecord;

#[async_trait]
impl ImageService for WasmRuntime {
    async fn list_images(&self) -> Result<Vec<Image>, Error> {
        Ok(self.shared().images.list().map_err(refusal)?.into_iter().map(image).collect())
    }

    async fn image_status(&self, reference: &str) -> Result<Option<Image>, Error> {
        Ok(self.shared().images.resolve(reference).map_err(refusal)?.map(image))
    }

    async fn pull_image(&self, reference: &str) -> Result<Image, Error> {
        let shared = self.shared();
        let record = shared.images.resolve(reference).map_err(refusal)?.ok_or_else(|| missing(reference))?;
        shared.programs.get(&shared.guests, &shared.images, &record).await?;
        Ok(image(record))
    }

    async fn remove_image(&self, reference: &str) -> Result<(), Error> {
        let shared = self.shared();
        let Some(record) = shared.images.resolve(reference).map_err(refusal)? else { return Ok(()) };
        if let Some(user) = shared.user_of(&record.digest) {
            let message = format!("image {reference} is used by container {}", user.0);
            return Err(Error::FailedPrecondition(message));
        }
        shared.images.remove(reference).map_err(refusal)?;
        if shared.images.resolve(record.digest.as_str()).map_err(refusal)?.is_none() {
            shared.programs.forget(&record.digest);
        }
        Ok(())
    }
}

fn image(record: ImageRecord) -> Image {
    Image { id: record.digest.to_string(), tags: record.tags, size_bytes: record.size_bytes }
}

/// In the contract's words; the message stays.
pub(crate) fn refusal(error: wk_images::Error) -> Error {
    match error {
        wk_images::Error::InvalidName { .. } | wk_images::Error::NotWasm(_) => {
            Error::InvalidArgument(error.to_string())
        }
        wk_images::Error::Io { .. } | wk_images::Error::Index { .. } => Error::Internal(error.to_string()),
    }
}

fn missing(reference: &str) -> Error {
    Error::NotFound(format!(
        "image {reference:?} is not on this node, and wk does not pull from registries yet: \
         build the program for wasm32-wasip2 and run: wk image load FILE.wasm --tag {reference}"
    ))
}
