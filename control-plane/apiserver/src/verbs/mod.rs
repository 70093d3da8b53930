//! The verbs, generic over the table of resources. Called by the router with a
//! [`Call`]; each returns a [`crate::http::reply::Reply`] or an [`ApiError`].
//!
//! ```text
//!  create, update, patch ─▶ decode ─▶ default ─▶ admit ─▶ prepare ─▶ validate ─▶ storage
//!  get ─▶ storage        list, watch ─▶ cache        delete ─▶ storage
//! ```

pub mod admit;
pub mod create;
pub mod delete;
pub mod filter;
pub mod get;
pub mod list;
pub mod metadata;
pub mod options;
pub mod patch;
pub mod update;
pub mod watch;

use crate::{
    Server,
    http::{query::Query, reply::Rendering, request_info::RequestInfo, status::ApiError},
    object,
    registry::{Resource, Scope},
};
use http::HeaderMap;
use serde_json::Value;
use std::sync::Arc;
use wk_platform::UserInfo;

/// One request, authenticated, authorised, and about a known resource.
pub struct Call {
    /// The parts of the server.
    pub server: Arc<Server>,
    /// The resource.
    pub row: &'static Resource,
    /// What the path says.
    pub info: RequestInfo,
    /// What the query says.
    pub query: Query,
    /// Who asks.
    pub user: UserInfo,
    /// The request's headers.
    pub headers: HeaderMap,
    /// How the answer is to look.
    pub rendering: Rendering,
}

impl Call {
    /// The namespace of the request; empty for all and for cluster scope.
    pub fn namespace(&self) -> &str {
        match self.row.scope {
            Scope::Namespaced => &self.info.namespace,
            Scope::Cluster => "",
        }
    }

    /// Puts the request's namespace into a body that leaves it out.
    ///
    /// # Errors
    /// 400 when the body says another one.
    pub fn settle_namespace(&self, object: &mut Value) -> Result<(), ApiError> {
        let (wanted, said) = (self.namespace(), object::namespace(object));
        if wanted.is_empty() {
            if !said.is_empty() {
                object::metadata_mut(object).remove("namespace");
            }
            return Ok(());
        }
        if !said.is_empty() && said != wanted {
            let text = "the namespace of the provided object does not match the namespace sent on the request";
            return Err(ApiError::BadRequest(text.to_owned()));
        }
        object::metadata_mut(object).insert("namespace".to_owned(), wanted.into());
        Ok(())
    }

    /// Refuses a body whose name is not the path's.
    ///
    /// # Errors
    /// 400 with upstream's text.
    pub fn check_name(&self, object: &Value) -> Result<(), ApiError> {
        match object::name(object) {
            "" => Err(ApiError::BadRequest("name must be provided".to_owned())),
            name if name == self.info.name => Ok(()),
            name => Err(ApiError::BadRequest(format!(
                "the name of the object ({name}) does not match the name on the URL ({})",
                self.info.name
            ))),
        }
    }
}
