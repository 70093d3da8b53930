//! Which form an answer takes (upstream: `handlers/negotiation`), and which form
//! a body has. Pure; called by the router before a verb runs.

use super::status::{ApiError, Details};
use http::{
    HeaderMap,
    header::{ACCEPT, CONTENT_TYPE},
};

/// A serialisation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// `application/json`
    #[default]
    Json,
    /// `application/yaml`
    Yaml,
    /// `application/vnd.kubernetes.protobuf`
    Protobuf,
}

impl Format {
    /// The media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Yaml => "application/yaml",
            Self::Protobuf => "application/vnd.kubernetes.protobuf",
        }
    }

    fn named(media_type: &str) -> Option<Self> {
        [Self::Json, Self::Yaml, Self::Protobuf].into_iter().find(|format| format.media_type() == media_type)
    }
}

/// What of an object is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shape {
    /// The object or list itself.
    #[default]
    Object,
    /// `meta.k8s.io` Table of this version.
    Table(&'static str),
    /// `meta.k8s.io` PartialObjectMetadata (or its list) of this version.
    Partial(&'static str),
}

/// The form of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accepted {
    /// How it is serialised.
    pub format: Format,
    /// What is serialised.
    pub shape: Shape,
}

/// One clause of an Accept header.
#[derive(Debug, PartialEq)]
pub struct Clause<'a> {
    /// `application/json`, `*/*`…
    pub media_type: &'a str,
    /// Parameters without `q`.
    pub parameters: Vec<(&'a str, &'a str)>,
    quality: f32,
}

impl<'a> Clause<'a> {
    /// A parameter's value; empty when absent.
    pub fn parameter(&self, name: &str) -> &'a str {
        self.parameters.iter().find(|(key, _)| *key == name).map_or("", |(_, value)| value)
    }

    fn format(&self) -> Option<Format> {
        match self.media_type {
            "*/*" | "application/*" => Some(Format::Json),
            named => Format::named(named),
        }
    }

    fn shape(&self) -> Option<Shape> {
        let version = match self.parameter("v") {
            "v1" => "v1",
            "v1beta1" => "v1beta1",
            _ => "",
        };
        match (self.parameter("as"), self.parameter("g"), version) {
            ("", ..) => Some(Shape::Object),
            ("Table", "meta.k8s.io", "v1" | "v1beta1") => Some(Shape::Table(version)),
            ("PartialObjectMetadata" | "PartialObjectMetadataList", "meta.k8s.io", "v1" | "v1beta1") => {
                Some(Shape::Partial(version))
            }
            _ => None,
        }
    }
}

/// The clauses of an Accept header, best first; order breaks ties.
pub fn clauses(headers: &HeaderMap) -> Vec<Clause<'_>> {
    let texts = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut clauses: Vec<Clause<'_>> = texts.flat_map(|text| text.split(',')).filter_map(clause).collect();
    clauses.sort_by(|left, right| right.quality.total_cmp(&left.quality));
    clauses
}

fn clause(text: &str) -> Option<Clause<'_>> {
    let mut parts = text.split(';').map(str::trim);
    let media_type = parts.next().filter(|media_type| !media_type.is_empty())?;
    let mut parameters: Vec<(&str, &str)> = parts.filter_map(|part| part.split_once('=')).collect();
    let quality = parameters.iter().find(|(name, _)| *name == "q").and_then(|(_, value)| value.parse().ok());
    parameters.retain(|(name, _)| *name != "q");
    Some(Clause { media_type, parameters, quality: quality.unwrap_or(1.0) })
}

/// The form that the Accept header asks for.
///
/// # Errors
/// 406 with the texts of upstream's router and serialiser.
pub fn accepted(headers: &HeaderMap) -> Result<Accepted, ApiError> {
    let clauses = clauses(headers);
    if clauses.is_empty() {
        return Ok(Accepted::default());
    }
    let known: Vec<(&Clause<'_>, Format)> =
        clauses.iter().filter_map(|clause| Some((clause, clause.format()?))).collect();
    if known.is_empty() {
        return Err(ApiError::NotAcceptable(NO_REPRESENTATION.to_owned(), Details::Empty));
    }
    let fit = known.iter().find_map(|(clause, format)| Some(Accepted { format: *format, shape: clause.shape()? }));
    fit.ok_or_else(|| {
        ApiError::NotAcceptable(format!("only the following media types are accepted: {TYPES}"), Details::Absent)
    })
}

const TYPES: &str = "application/json, application/yaml, application/vnd.kubernetes.protobuf";

const NO_REPRESENTATION: &str = "406: Not Acceptable\n\nAvailable representations: application/json, \
    application/yaml, application/vnd.kubernetes.protobuf, application/json;stream=watch, \
    application/vnd.kubernetes.protobuf;stream=watch";

/// The media type of a body, without parameters; empty when there is none.
pub fn content_type(headers: &HeaderMap) -> &str {
    let text = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    text.split(';').next().unwrap_or_default().trim()
}

/// The form of a body that is an object; JSON when nothing is said.
///
/// # Errors
/// 415 with upstream's text.
pub fn body_format(headers: &HeaderMap) -> Result<Format, ApiError> {
    match content_type(headers) {
        "" => Ok(Format::Json),
        named => Format::named(named).ok_or_else(|| {
            let text =
                format!("the body of the request was in an unknown format - accepted media types include: {TYPES}");
            ApiError::UnsupportedMediaType(text, Details::Absent)
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asks(accept: &'static str) -> Result<Accepted, u16> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, http::HeaderValue::from_static(accept));
        accepted(&headers).map_err(|error| error.code().as_u16())
    }

    #[test]
    fn the_first_clause_that_fits_wins() {
        let kubectl = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,\
                       application/json";
        assert_eq!(asks(kubectl), Ok(Accepted { format: Format::Json, shape: Shape::Table("v1") }));
        assert_eq!(asks("application/json;as=Nope;g=meta.k8s.io;v=v1, */*"), Ok(Accepted::default()));
        assert_eq!(
            asks("application/yaml;q=0.1, application/vnd.kubernetes.protobuf").map(|form| form.format),
            Ok(Format::Protobuf)
        );
    }

    #[test]
    fn what_cannot_be_given_is_refused() {
        assert_eq!(asks("application/xml"), Err(406));
        assert_eq!(asks("application/json;as=Nope;g=meta.k8s.io;v=v1"), Err(406));
    }
}
