//! Label and field selectors of a list, watch or deletecollection, over what the
//! cache keeps of an object.

use crate::{
    cache::CachedObject,
    http::{query::Query, status::ApiError},
    registry::Resource,
    selector::{Fields, Labels},
};

/// Which objects are wanted.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    labels: Labels,
    fields: Fields,
    /// Only this name; empty for any (the deprecated watch of one object).
    name: String,
}

impl Filter {
    /// Reads `labelSelector` and `fieldSelector`; `name` restricts to one object.
    ///
    /// # Errors
    /// 400 with upstream's text.
    pub fn parse(row: &Resource, query: &Query, name: &str) -> Result<Self, ApiError> {
        let labels = Labels::parse(query.get("labelSelector")).map_err(ApiError::BadRequest)?;
        let fields = Fields::parse(query.get("fieldSelector")).map_err(ApiError::BadRequest)?;
        fields.check(row).map_err(ApiError::BadRequest)?;
        Ok(Self { labels, fields, name: name.to_owned() })
    }

    /// Whether every object is wanted.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty() && self.name.is_empty()
    }

    /// Whether the object is wanted.
    pub fn matches(&self, object: &CachedObject) -> bool {
        let name_fits = self.name.is_empty() || *object.name == *self.name;
        let mut requirements = self.labels.requirements().iter();
        name_fits
            && requirements.all(|requirement| requirement.condition.holds(object.label(&requirement.key)))
            && self.fields.matches(|field| Some(object.field(field)))
    }
}
