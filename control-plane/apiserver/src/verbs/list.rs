//! Lists: from the cache when it may be as new as wanted, from the store for an
//! exact revision or a later page.

use super::{
    Call,
    filter::Filter,
    options::{Freshness, ListOptions},
};
use crate::{
    cache::CachedObject,
    http::{
        reply::{Content, List, Reply},
        status::ApiError,
    },
    storage,
};
use base64::{DecodeError, Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use wk_store::{Entry, Error, Key, Page, Revision};

/// Entries read at a time while looking for a page of matching ones.
const SCAN_ENTRIES: usize = 500;

/// `GET …/{resource}`
///
/// # Errors
/// 400, 410, 422, 504 as upstream.
pub async fn list(call: &Call) -> Result<Reply, ApiError> {
    let options = ListOptions::parse(&call.query, false)?;
    let filter = Filter::parse(call.row, &call.query, "")?;
    let list = select(call, &options, &filter).await?;
    Ok(Reply::new(StatusCode::OK, Content::List(call.row, list)))
}

async fn select(call: &Call, options: &ListOptions, filter: &Filter) -> Result<List, ApiError> {
    if !options.token.is_empty() {
        let token = Token::parse(&options.token)?;
        return page(call, Position::After(token), options.limit, filter).await;
    }
    match options.freshness {
        Freshness::Exact(revision) => page(call, Position::At(revision), options.limit, filter).await,
        Freshness::Any => from_cache(call, None, filter).await,
        Freshness::Newest => {
            call.server.caches.wait_until_fresh().await?;
            from_cache(call, options.limit, filter).await
        }
        Freshness::NotOlderThan(revision) => {
            call.server.caches.wait_for(Revision(revision)).await?;
            from_cache(call, options.limit, filter).await
        }
    }
}

/// The objects that match, as the cache has them now.
///
/// # Errors
/// The store's, when the cache has to be filled.
pub async fn matching(call: &Call, filter: &Filter) -> Result<(Vec<Arc<CachedObject>>, Revision), ApiError> {
    let prefix = storage::prefix(call.row, call.namespace());
    let mut snapshot = call.server.caches.snapshot(call.row, &prefix).await?;
    if !filter.is_empty() {
        snapshot.objects.retain(|object| filter.matches(object));
    }
    Ok((snapshot.objects, snapshot.revision))
}

async fn from_cache(call: &Call, limit: Option<usize>, filter: &Filter) -> Result<List, ApiError> {
    let (mut objects, revision) = matching(call, filter).await?;
    let shown = limit.unwrap_or(objects.len()).min(objects.len());
    let rest = objects.len() - shown;
    objects.truncate(shown);
    Ok(finished(call, objects, revision, rest, filter))
}

/// A page of `objects` with `rest` more behind them.
fn finished(call: &Call, objects: Vec<Arc<CachedObject>>, revision: Revision, rest: usize, filter: &Filter) -> List {
    let next = match objects.last() {
        Some(last) if rest > 0 => Token::after(call, revision, last).text(),
        _ => String::new(),
    };
    let items = objects.iter().map(|object| object.encoded.clone()).collect();
    // Upstream does not count what a selector will let through.
    List { items, revision: revision.0, next, remaining: filter.is_empty().then_some(rest) }
}

/// Where a page of the store begins.
enum Position {
    At(u64),
    After(Token),
}

/// A page as of one revision, from the store.
async fn page(call: &Call, position: Position, limit: Option<usize>, filter: &Filter) -> Result<List, ApiError> {
    let prefix = Key::from(storage::prefix(call.row, call.namespace()));
    let mut page = match &position {
        Position::At(revision) => Page { at: Some(Revision(*revision)), ..Page::default() },
        Position::After(token) => token.page(&prefix),
    };
    let limit = limit.unwrap_or(usize::MAX);
    let mut objects: Vec<Arc<CachedObject>> = Vec::new();
    loop {
        page.limit = Some(if filter.is_empty() { limit - objects.len() } else { SCAN_ENTRIES });
        let listing =
            call.server.storage.store().list(&prefix, page.clone()).await.map_err(|error| expired(error, &position))?;
        let read = listing.entries.len();
        let looked_at = take_matching(call, &listing.entries, limit, filter, &mut objects);
        let rest = listing.remaining + read - looked_at;
        if objects.len() == limit || rest == 0 {
            return Ok(finished(call, objects, listing.revision, rest, filter));
        }
        page.at = Some(listing.revision);
        page.after = listing.entries.last().map(|entry| entry.key.clone());
    }
}

/// Adds matching objects up to `limit` in all; how many entries it looked at.
fn take_matching(
    call: &Call,
    entries: &[Entry],
    limit: usize,
    filter: &Filter,
    objects: &mut Vec<Arc<CachedObject>>,
) -> usize {
    for (index, entry) in entries.iter().enumerate() {
        if objects.len() == limit {
            return index;
        }
        let object = CachedObject::new(call.row, &entry.key, entry.value.clone(), entry.modified);
        if filter.matches(&object) {
            objects.push(Arc::new(object));
        }
    }
    entries.len()
}

/// An old revision is told apart: a later page gets a token to go on with.
fn expired(error: Error, position: &Position) -> ApiError {
    match (error, position) {
        (Error::Expired { .. }, Position::After(token)) => {
            ApiError::ContinueExpired(Token { revision: -1, ..token.clone() }.text())
        }
        (error, _) => error.into(),
    }
}

/// Where a paged list goes on, in upstream's form: base64 of JSON.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Token {
    #[serde(rename = "v")]
    version: String,
    /// -1 goes on at the newest revision, inconsistently.
    #[serde(rename = "rv")]
    revision: i64,
    start: String,
}

impl Token {
    fn after(call: &Call, revision: Revision, last: &CachedObject) -> Self {
        let in_all_namespaces = call.namespace().is_empty() && !last.namespace.is_empty();
        let name = if in_all_namespaces { format!("{}/{}", last.namespace, last.name) } else { last.name.to_string() };
        // The zero byte makes it the first key after the last one shown.
        let (revision, start) = (i64::try_from(revision.0).unwrap_or(-1), format!("{name}\0"));
        Self { version: "meta.k8s.io/v1".to_owned(), revision, start }
    }

    fn parse(text: &str) -> Result<Self, ApiError> {
        let invalid =
            |why: String| ApiError::BadRequest(format!("invalid continue token: continue key is not valid: {why}"));
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|error| invalid(go_base64_error(&error)))?;
        let token: Self = serde_json::from_slice(&bytes).map_err(|error| invalid(error.to_string()))?;
        if token.version != "meta.k8s.io/v1" {
            return Err(invalid(format!("server does not recognize this encoded version {:?}", token.version)));
        }
        Ok(token)
    }

    fn text(&self) -> String {
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).unwrap_or_default())
    }

    fn page(&self, prefix: &Key) -> Page {
        let mut after = prefix.0.to_vec();
        after.extend_from_slice(self.start.trim_end_matches('\0').as_bytes());
        let at = u64::try_from(self.revision).ok().map(Revision);
        Page { after: Some(Key(after.into())), limit: None, at }
    }
}

fn go_base64_error(error: &DecodeError) -> String {
    let at = match error {
        DecodeError::InvalidByte(at, _) | DecodeError::InvalidLastSymbol(at, _) => *at,
        DecodeError::InvalidLength(length) => *length,
        DecodeError::InvalidPadding => 0,
    };
    format!("illegal base64 data at input byte {at}")
}
