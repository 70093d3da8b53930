//! Reading one object: always the newest, from the store.

use super::Call;
use crate::http::{reply::Reply, status::ApiError};

/// `GET …/{name}`
///
/// # Errors
/// 404.
pub async fn get(call: &Call) -> Result<Reply, ApiError> {
    let object = call.server.storage.get(call.row, call.namespace(), &call.info.name).await?;
    Ok(Reply::object(call.row, object))
}
