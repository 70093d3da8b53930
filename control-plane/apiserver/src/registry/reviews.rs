//! Kinds that are asked and not kept: who one is, what one may do. The answer is
//! made by `crate::reviews`; here is what discovery says of them.

use super::{Column, Resource, Scope, Strategy, table};
use jiff::Timestamp;
use serde_json::Value;

/// Group of the questions about who one is.
pub const AUTHENTICATION: &str = "authentication.k8s.io";
/// Group of the questions about what one may do.
pub const AUTHORIZATION: &str = "authorization.k8s.io";

const VERBS: &[&str] = &["create"];

const fn row(
    group: &'static str,
    kind: &'static str,
    plural: &'static str,
    singular: &'static str,
    definition: &'static str,
) -> Resource {
    Resource {
        group,
        scope: Scope::Cluster,
        verbs: VERBS,
        ..Resource::new(kind, plural, singular, definition, &Review)
    }
}

/// Discovery facts of SelfSubjectReviews: `kubectl auth whoami`.
pub const SELF_SUBJECT_REVIEW: Resource = row(
    AUTHENTICATION,
    "SelfSubjectReview",
    "selfsubjectreviews",
    "selfsubjectreview",
    "io.k8s.api.authentication.v1.SelfSubjectReview",
);

/// Discovery facts of TokenReviews.
pub const TOKEN_REVIEW: Resource =
    row(AUTHENTICATION, "TokenReview", "tokenreviews", "tokenreview", "io.k8s.api.authentication.v1.TokenReview");

/// Discovery facts of LocalSubjectAccessReviews.
pub const LOCAL_SUBJECT_ACCESS_REVIEW: Resource = Resource {
    scope: Scope::Namespaced,
    ..row(
        AUTHORIZATION,
        "LocalSubjectAccessReview",
        "localsubjectaccessreviews",
        "localsubjectaccessreview",
        "io.k8s.api.authorization.v1.LocalSubjectAccessReview",
    )
};

/// Discovery facts of SelfSubjectAccessReviews: `kubectl auth can-i`.
pub const SELF_SUBJECT_ACCESS_REVIEW: Resource = row(
    AUTHORIZATION,
    "SelfSubjectAccessReview",
    "selfsubjectaccessreviews",
    "selfsubjectaccessreview",
    "io.k8s.api.authorization.v1.SelfSubjectAccessReview",
);

/// Discovery facts of SelfSubjectRulesReviews: `kubectl auth can-i --list`.
pub const SELF_SUBJECT_RULES_REVIEW: Resource = row(
    AUTHORIZATION,
    "SelfSubjectRulesReview",
    "selfsubjectrulesreviews",
    "selfsubjectrulesreview",
    "io.k8s.api.authorization.v1.SelfSubjectRulesReview",
);

/// Discovery facts of SubjectAccessReviews.
pub const SUBJECT_ACCESS_REVIEW: Resource = row(
    AUTHORIZATION,
    "SubjectAccessReview",
    "subjectaccessreviews",
    "subjectaccessreview",
    "io.k8s.api.authorization.v1.SubjectAccessReview",
);

/// Nothing is kept, so nothing is listed either.
struct Review;

impl Strategy for Review {
    fn columns(&self) -> &'static [Column] {
        const { &[table::NAME] }
    }

    fn row(&self, object: &Value, _now: Timestamp) -> Vec<Value> {
        vec![table::name(object)]
    }
}
