//! `/containerLogs`: a container's log file as a response body.
//!
//! [`options`] reads the query, [`line`] understands one line of the CRI log
//! format, [`tail`] finds where the last lines start, [`reader`] follows the
//! file, also into the next one ([`rotation`]), whenever the runtime says that it
//! has changed. Reading starts in the current file only, as upstream does.

mod line;
mod options;
mod reader;
mod rotation;
mod tail;

use super::{Config, Error, lookup, query::Query, route::ContainerPath};
use futures::TryStreamExt;
use http::{HeaderValue, header};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use options::LogOptions;
use std::sync::Arc;
use wk_platform::http::{Body, Response};

/// The log of a container.
///
/// # Errors
/// [`Error::NotFound`] without the pod or container, [`Error::BadRequest`] for
/// wrong options, or with the reason why there is no log.
pub async fn get(config: &Arc<Config>, path: &ContainerPath, query: &str) -> Result<Response, Error> {
    let options = LogOptions::parse(&Query::parse(query), config.clock.now())?;
    let pod = lookup::pod(config, &path.pod)?;
    let container = lookup::logged_container(&pod, &path.container, options.run)?;
    let source = reader::Source {
        path: container.log_path.clone(),
        container: container.id.clone(),
        runtime: config.kubelet.runtime().clone(),
    };
    let reader = reader::Reader::open(source, &options).await.map_err(|error| {
        Error::BadRequest(format!("failed to open log of container \"{}\": {error}", path.container))
    })?;
    let body: Body = StreamBody::new(reader.into_stream().map_ok(Frame::data)).boxed_unsync();
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    Ok(response)
}
