//! From an HTTP request to a verb and back.
//!
//! ```text
//!  request ─▶ authenticate ─▶ impersonate ─▶ request_info ─▶ authorization ─▶ negotiate ─▶ verb or subresource
//!  response ◀─ reply, status ◀─────────────────────────────────────────┘
//! ```

pub mod authenticate;
pub mod body;
pub mod impersonate;
pub mod metrics;
pub mod negotiate;
pub mod query;
pub mod reply;
pub mod request_info;
pub mod status;
pub mod yaml;

use crate::{
    Server,
    authorization::Attributes,
    discovery,
    registry::{self, Resource, Scope},
    reviews, subresources,
    verbs::{self, Call},
};
use futures::FutureExt;
use http::{HeaderValue, header, request::Parts};
use negotiate::Format;
use query::Query;
use reply::{IncludeObject, Rendering, Reply, error_response};
use request_info::RequestInfo;
use status::ApiError;
use std::{convert::Infallible, panic::AssertUnwindSafe, sync::Arc, time::Duration};
use tracing::{Instrument, debug, error, info_span};
use wk_platform::{
    UserInfo,
    http::{Body, HttpService, Request, Response},
};

/// How long a request that is no stream may take (upstream: `request-timeout`).
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// The service of a server.
pub fn service(server: Arc<Server>) -> HttpService {
    HttpService::new(tower::service_fn(move |request: Request| {
        let server = server.clone();
        async move { Ok::<_, Infallible>(handle(server, request).await) }
    }))
}

async fn handle(server: Arc<Server>, request: Request) -> Response {
    let audit_id = audit_id(&server, &request);
    let (parts, body) = request.into_parts();
    let query = Query::parse(parts.uri.query().unwrap_or_default());
    let info = RequestInfo::parse(&parts.method, parts.uri.path(), &query);
    let span = info_span!("request", verb = info.verb, resource = info.resource, namespace = info.namespace);
    let (verb, row) = (info.verb, registry::find(&info.group, &info.version, &info.resource));
    let answered = AssertUnwindSafe(answer(&server, parts, query, info, body)).catch_unwind().instrument(span);
    let mut response = answered.await.unwrap_or_else(|_| {
        error!("request handler panicked");
        error_response(&ApiError::Internal("the request handler failed".to_owned()), Format::Json)
    });
    server.metrics.count(verb, row.map_or("", |row| row.plural), response.status().as_u16());
    let headers = response.headers_mut();
    headers.insert("audit-id", audit_id);
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-cache, private"));
    response
}

fn audit_id(server: &Server, request: &Request) -> HeaderValue {
    let given = request.headers().get("audit-id").cloned();
    given.or_else(|| HeaderValue::from_str(&server.entropy.uid()).ok()).unwrap_or(HeaderValue::from_static("unknown"))
}

async fn answer(server: &Arc<Server>, parts: Parts, query: Query, info: RequestInfo, body: Body) -> Response {
    let user = match permitted(server, &parts, &info, &query).await {
        Ok(user) => user,
        Err(error) => {
            debug!(error = ?error, "refused");
            return error_response(&error, Format::Json);
        }
    };
    if !info.is_resource {
        return discovery::serve(server, &parts, &query);
    }
    let rendering = match rendering(server, &parts, &query) {
        Ok(rendering) => rendering,
        Err(error) => return error_response(&error, Format::Json),
    };
    let call = match known(&parts, &info) {
        Ok(row) => {
            let headers = parts.headers.clone();
            Call { server: server.clone(), row, info, query, user, headers, rendering }
        }
        Err(error) => return error_response(&error, rendering.accepted.format),
    };
    let result = dispatch(&call, parts, body).await;
    match result {
        Ok(reply) => rendering.response(reply),
        Err(error) => error_response(&error, rendering.accepted.format),
    }
}

/// The user, after authentication, impersonation and authorisation.
async fn permitted(
    server: &Arc<Server>,
    parts: &Parts,
    info: &RequestInfo,
    query: &Query,
) -> Result<UserInfo, ApiError> {
    let mut user = authenticate::authenticate(server, parts).await?;
    if let Some(asked) = impersonate::Impersonation::of(&parts.headers)? {
        for attributes in asked.attributes() {
            server.authorizer.authorize(&server.caches, &user, &attributes).await?;
        }
        user = asked.user();
    }
    server.authorizer.authorize(&server.caches, &user, &Attributes::of(info, query)).await?;
    Ok(user)
}

fn rendering(server: &Server, parts: &Parts, query: &Query) -> Result<Rendering, ApiError> {
    Ok(Rendering {
        accepted: negotiate::accepted(&parts.headers)?,
        include: IncludeObject::parse(query.get("includeObject")),
        now: server.clock.now(),
        gzip: takes_gzip(&parts.headers),
    })
}

fn takes_gzip(headers: &http::HeaderMap) -> bool {
    let values = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    values
        .flat_map(|value| value.split(','))
        .any(|coding| coding.split(';').next().unwrap_or_default().trim() == "gzip")
}

/// The resource of the path, if the path exists and has the method.
fn known(parts: &Parts, info: &RequestInfo) -> Result<&'static Resource, ApiError> {
    let Some(row) = registry::find(&info.group, &info.version, &info.resource) else {
        let group_known = info.group.is_empty() || registry::all().iter().any(|row| row.group == info.group);
        return Err(if group_known { ApiError::NoSuchResource } else { ApiError::NoSuchPath });
    };
    let misplaced = row.scope == Scope::Cluster && !info.namespace.is_empty();
    if misplaced || !info.subresource.is_empty() && !row.has(&info.subresource) {
        return Err(ApiError::NoSuchResource);
    }
    let collection = info.name.is_empty();
    let needs_namespace = row.scope == Scope::Namespaced && info.namespace.is_empty();
    let method_fits = match info.verb {
        "list" | "watch" | "deletecollection" => info.verb != "deletecollection" || !needs_namespace,
        "create" => (collection || !info.subresource.is_empty()) && !needs_namespace,
        "" => false,
        _ => !collection && !needs_namespace,
    };
    let verbs = row.subresources.iter().find(|sub| sub.name == info.subresource).map_or(row.verbs, |sub| sub.verbs);
    if method_fits && (verbs.contains(&info.verb) || parts.method == http::Method::HEAD) {
        Ok(row)
    } else {
        Err(ApiError::MethodNotAllowed)
    }
}

async fn dispatch(call: &Call, parts: Parts, body: Body) -> Result<Reply, ApiError> {
    if subresources::is_stream(&call.info.subresource) {
        return subresources::stream(call, Request::from_parts(parts, body)).await;
    }
    let work = async {
        let body = body::read(body).await?;
        if call.info.subresource.is_empty() {
            return main_resource(call, body).await;
        }
        subresources::serve(call, body).await
    };
    let timed = tokio::time::timeout(REQUEST_TIMEOUT, work).await;
    timed.unwrap_or_else(|_| Err(ApiError::Timeout("request did not complete within the allotted timeout".to_owned())))
}

async fn main_resource(call: &Call, body: bytes::Bytes) -> Result<Reply, ApiError> {
    if reviews::is_review(call.row) {
        return reviews::create(call, body).await;
    }
    if call.row.kind == registry::core::binding::RESOURCE.kind {
        return subresources::binding::create(call, body).await;
    }
    let reply = main_verb(call, body).await?;
    if call.row.group == registry::rbac::GROUP && !matches!(call.info.verb, "get" | "list" | "watch") {
        // Who has written a role sees it hold. Late is no reason to call the write a failure.
        let _ = call.server.caches.wait_until_fresh().await;
    }
    Ok(reply)
}

async fn main_verb(call: &Call, body: bytes::Bytes) -> Result<Reply, ApiError> {
    match call.info.verb {
        "get" => verbs::get::get(call).await,
        "list" => verbs::list::list(call).await,
        "watch" => verbs::watch::watch(call).await,
        "create" => verbs::create::create(call, body).await,
        "update" => verbs::update::update(call, body).await,
        "patch" => verbs::patch::patch(call, body).await,
        "delete" => verbs::delete::delete(call, body).await,
        "deletecollection" => verbs::delete::delete_collection(call, body).await,
        _ => Err(ApiError::MethodNotAllowed),
    }
}
