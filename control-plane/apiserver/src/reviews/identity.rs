//! Who one is, and who a token speaks for (upstream:
//! `registry/authentication/{selfsubjectreview,tokenreview}`).

use crate::{
    http::status::ApiError,
    object,
    service_account_tokens::{ISSUER, bearer},
    verbs::{Call, metadata},
};
use serde_json::{Map, Value, json};
use wk_platform::UserInfo;

/// `SelfSubjectReview`: the caller.
pub(super) fn who_am_i(call: &Call, review: &mut Value) -> Value {
    let now = metadata::time(call.server.clock.now_seconds());
    object::metadata_mut(review).insert("creationTimestamp".to_owned(), now.into());
    json!({"userInfo": user_info(&call.user)})
}

/// `TokenReview`: whom the token speaks for, or what is wrong with it.
pub(super) async fn token(call: &Call, review: &Value) -> Result<Value, ApiError> {
    let token = object::str_at(review, "spec.token");
    if token.is_empty() {
        return Err(ApiError::BadRequest("token is required for TokenReview in authentication".to_owned()));
    }
    let asked = object::list_at(review, "spec.audiences").iter().filter_map(Value::as_str);
    let asked: Vec<String> = asked.map(str::to_owned).collect();
    Ok(match bearer::authenticate(&call.server, token, &asked).await {
        Ok((user, audiences)) => {
            let audiences = if asked.is_empty() { vec![ISSUER.to_owned()] } else { audiences };
            json!({"authenticated": true, "user": user_info(&user), "audiences": audiences})
        }
        Err(error) => json!({"user": {}, "error": error}),
    })
}

/// `authentication.k8s.io/v1.UserInfo`
fn user_info(user: &UserInfo) -> Value {
    let UserInfo { name, uid, groups, extra } = user;
    let mut info = Map::new();
    info.insert("username".to_owned(), json!(name));
    if !uid.is_empty() {
        info.insert("uid".to_owned(), json!(uid));
    }
    if !groups.is_empty() {
        info.insert("groups".to_owned(), json!(groups));
    }
    if !extra.is_empty() {
        info.insert("extra".to_owned(), json!(extra));
    }
    Value::Object(info)
}
