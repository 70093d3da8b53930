//! `/livez`, `/readyz`, `/healthz`: whether the server lives and may be used.

use crate::{
    Server,
    http::{
        query::Query,
        reply::{error_response, text_response},
        status::ApiError,
    },
};
use http::StatusCode;
use std::fmt::Write;
use wk_platform::http::Response;

/// One thing that is looked at: its name and whether it is well.
type Check = (&'static str, fn(&Server) -> bool);

const LIVE: &[Check] = &[("ping", |_| true), ("etcd", |server| !server.tasks.stopping().is_cancelled())];
const READY: &[Check] = &[
    ("ping", |_| true),
    ("etcd", |server| !server.tasks.stopping().is_cancelled()),
    ("watch-cache", |server| server.caches.progress() <= server.storage.store().revision()),
    ("shutdown", |server| !server.tasks.stopping().is_cancelled()),
];

/// Serves `/livez`, `/livez/{check}` and the like.
pub fn serve(server: &Server, path: &str, query: &Query) -> Response {
    let mut parts = path.trim_matches('/').splitn(2, '/');
    let (probe, only) = (parts.next().unwrap_or_default(), parts.next());
    let checks = if probe == "readyz" { READY } else { LIVE };
    let excluded: Vec<&str> = query.all("exclude").collect();
    let wanted: Vec<&Check> =
        checks.iter().filter(|(name, _)| only.is_none_or(|only| only == *name) && !excluded.contains(name)).collect();
    if only.is_some() && wanted.is_empty() {
        return error_response(&ApiError::NoSuchPath, crate::http::negotiate::Format::Json);
    }
    let (mut report, mut well) = (String::new(), true);
    for (name, check) in wanted {
        let passed = check(server);
        well &= passed;
        let _ = match passed {
            true => writeln!(report, "[+]{name} ok"),
            false => writeln!(report, "[-]{name} failed: reason withheld"),
        };
    }
    match (well, query.has("verbose")) {
        (true, false) => text_response(StatusCode::OK, "ok"),
        (true, true) => text_response(StatusCode::OK, format!("{report}{probe} check passed\n")),
        (false, _) => text_response(StatusCode::INTERNAL_SERVER_ERROR, format!("{report}{probe} check failed\n")),
    }
}
