//! `po`, `deploy/web`, `deployments.v1.apps`: what a word means on this server,
//! answered from aggregated discovery (KEP-3352).

use crate::rest::Rest;
use anyhow::{Result, bail};
use http::Method;
use serde_json::Value;

const DISCOVERY: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";

/// A resource of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceType {
    /// Empty for the core group.
    pub group: String,
    /// Preferred version.
    pub version: String,
    /// `Pod`
    pub kind: String,
    /// `pods`
    pub plural: String,
    /// `pod`
    pub singular: String,
    /// `po`
    pub short_names: Vec<String>,
    /// `all`
    pub categories: Vec<String>,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
    /// `get`, `list`…
    pub verbs: Vec<String>,
}

impl ResourceType {
    /// `v1` or `apps/v1`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }

    /// `pod/x`, `deployment.apps/x`: how kubectl names an object.
    pub fn display(&self, name: &str) -> String {
        if self.group.is_empty() {
            format!("{}/{name}", self.singular)
        } else {
            format!("{}.{}/{name}", self.singular, self.group)
        }
    }

    /// `pods` or `deployments.apps`.
    pub fn qualified(&self) -> String {
        if self.group.is_empty() { self.plural.clone() } else { format!("{}.{}", self.plural, self.group) }
    }

    /// The path of the collection; `namespace: None` spans namespaces.
    pub fn collection(&self, namespace: Option<&str>) -> String {
        let root = if self.group.is_empty() {
            format!("/api/{}", self.version)
        } else {
            format!("/apis/{}", self.api_version())
        };
        match namespace.filter(|_| self.namespaced) {
            Some(namespace) => format!("{root}/namespaces/{namespace}/{}", self.plural),
            None => format!("{root}/{}", self.plural),
        }
    }

    /// The path of one object.
    pub fn object(&self, namespace: &str, name: &str) -> String {
        format!("{}/{}", self.collection(Some(namespace)), encode(name))
    }

    fn is_called(&self, word: &str) -> bool {
        word == self.plural
            || word == self.singular
            || word == self.kind.to_lowercase()
            || self.short_names.iter().any(|short| short == word)
    }
}

/// A path segment or query value, percent-encoded.
pub fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(char::from(byte)),
            other => encoded.push_str(&format!("%{other:02X}")),
        }
    }
    encoded
}

/// A query from pairs; empty values are left out.
pub fn query(pairs: &[(&str, &str)]) -> String {
    let parts: Vec<String> = pairs
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(key, value)| format!("{key}={}", encode(value)))
        .collect();
    if parts.is_empty() { String::new() } else { format!("?{}", parts.join("&")) }
}

/// Every resource of a server.
pub struct Discovery {
    /// Core group first, then as the server lists them.
    pub resources: Vec<ResourceType>,
}

impl Discovery {
    /// Asks the server.
    ///
    /// # Errors
    /// When it cannot be reached.
    pub async fn load(rest: &Rest) -> Result<Self> {
        let (core, groups) = futures::try_join!(
            rest.send(Method::GET, "/api", DISCOVERY, None),
            rest.send(Method::GET, "/apis", DISCOVERY, None)
        )?;
        Ok(Self::parse(&[core.body, groups.body]))
    }

    /// Reads `APIGroupDiscoveryList`s.
    pub fn parse(lists: &[Value]) -> Self {
        Self { resources: lists.iter().flat_map(parse).collect() }
    }

    /// Every resource that goes by this name, in whatever group.
    pub fn called(&self, name: &str) -> impl Iterator<Item = &ResourceType> {
        let lower = name.to_lowercase();
        self.resources.iter().filter(move |resource| resource.is_called(&lower))
    }

    /// What `word` means: a plural, singular, kind or short name, perhaps with
    /// `.group` or `.version.group`.
    ///
    /// # Errors
    /// `the server doesn't have a resource type "x"`.
    pub fn find(&self, word: &str) -> Result<&ResourceType> {
        let lower = word.to_lowercase();
        let exact = self.resources.iter().find(|resource| resource.is_called(&lower));
        if let Some(found) = exact.or_else(|| self.find_qualified(&lower)) {
            return Ok(found);
        }
        let name = word.split('.').next().unwrap_or(word);
        bail!("the server doesn't have a resource type {name:?}")
    }

    fn find_qualified(&self, word: &str) -> Option<&ResourceType> {
        let (name, rest) = word.split_once('.')?;
        self.resources.iter().find(|resource| {
            resource.is_called(name)
                && (rest == resource.group || rest == format!("{}.{}", resource.version, resource.group))
        })
    }

    /// The resource of a manifest's `apiVersion` and `kind`.
    ///
    /// # Errors
    /// `no matches for kind "X" in version "y"`.
    pub fn for_manifest(&self, api_version: &str, kind: &str) -> Result<&ResourceType> {
        let found =
            self.resources.iter().find(|resource| resource.kind == kind && resource.api_version() == api_version);
        match found {
            Some(resource) => Ok(resource),
            None => bail!("no matches for kind {kind:?} in version {api_version:?}"),
        }
    }

    /// The listable resources of a category such as `all`.
    pub fn category(&self, category: &str) -> Vec<&ResourceType> {
        let wanted = |resource: &&ResourceType| resource.categories.iter().any(|name| name == category);
        self.resources.iter().filter(wanted).collect()
    }
}

fn strings(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(|item| item.as_str().map(str::to_owned)).collect()
}

/// Reads an `APIGroupDiscoveryList`; the first version of a group is the preferred one.
fn parse(list: &Value) -> Vec<ResourceType> {
    let mut resources: Vec<ResourceType> = Vec::new();
    for group in list["items"].as_array().into_iter().flatten() {
        let group_name = group["metadata"]["name"].as_str().unwrap_or_default();
        for version in group["versions"].as_array().into_iter().flatten() {
            for resource in version["resources"].as_array().into_iter().flatten() {
                resources.push(parse_resource(group_name, version, resource));
            }
        }
    }
    resources
}

fn parse_resource(group: &str, version: &Value, resource: &Value) -> ResourceType {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    ResourceType {
        group: group.to_owned(),
        version: text(&version["version"]),
        kind: text(&resource["responseKind"]["kind"]),
        plural: text(&resource["resource"]),
        singular: text(&resource["singularResource"]),
        short_names: strings(&resource["shortNames"]),
        categories: strings(&resource["categories"]),
        namespaced: resource["scope"] == "Namespaced",
        verbs: strings(&resource["verbs"]),
    }
}

/// What a command line names: types and, perhaps, names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The type.
    pub resource: ResourceType,
    /// Names; empty for the whole collection.
    pub names: Vec<String>,
}

/// Reads `TYPE[,TYPE] [NAME...]` or `TYPE/NAME...`, as kubectl's builder does.
///
/// # Errors
/// An unknown type; a mix of both forms.
pub fn targets(discovery: &Discovery, words: &[String]) -> Result<Vec<Target>> {
    if words.iter().any(|word| word.contains('/')) {
        return slash_targets(discovery, words);
    }
    let Some((types, names)) = words.split_first() else { return Ok(Vec::new()) };
    let mut targets = Vec::new();
    for word in types.split(',') {
        let category = discovery.category(word);
        if category.is_empty() {
            targets.push(Target { resource: discovery.find(word)?.clone(), names: names.to_vec() });
        } else {
            targets.extend(
                category.into_iter().map(|resource| Target { resource: resource.clone(), names: names.to_vec() }),
            );
        }
    }
    Ok(targets)
}

fn slash_targets(discovery: &Discovery, words: &[String]) -> Result<Vec<Target>> {
    let mut targets: Vec<Target> = Vec::new();
    for word in words {
        let Some((kind, name)) = word.split_once('/').filter(|(kind, name)| !kind.is_empty() && !name.is_empty())
        else {
            bail!(
                "there is no need to specify a resource type as a separate argument when passing arguments in resource/name form (e.g. 'wk get resource/<resource_name>' instead of 'wk get resource resource/<resource_name>'"
            );
        };
        let resource = discovery.find(kind)?.clone();
        match targets.last_mut().filter(|target| target.resource == resource) {
            Some(target) => target.names.push(name.to_owned()),
            None => targets.push(Target { resource, names: vec![name.to_owned()] }),
        }
    }
    Ok(targets)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn discovery() -> Discovery {
        let resource = |plural: &str, singular: &str, kind: &str, short: &str| {
            json!({"resource": plural, "singularResource": singular, "responseKind": {"kind": kind},
                "scope": "Namespaced", "shortNames": [short], "categories": ["all"], "verbs": ["list"]})
        };
        let list = json!({"items": [
            {"metadata": {"name": ""}, "versions": [{"version": "v1", "resources": [resource("pods", "pod", "Pod", "po")]}]},
            {"metadata": {"name": "apps"}, "versions": [{"version": "v1", "resources": [resource("deployments", "deployment", "Deployment", "deploy")]}]},
        ]});
        Discovery::parse(&[list])
    }

    #[test]
    fn every_spelling_of_a_type_is_found() {
        let discovery = discovery();
        for word in ["deploy", "deployment", "Deployment", "deployments.apps", "deployments.v1.apps"] {
            assert_eq!(discovery.find(word).expect(word).plural, "deployments");
        }
        let error = discovery.find("widgets").expect_err("there are none");
        assert_eq!(error.to_string(), "the server doesn't have a resource type \"widgets\"");
    }

    #[test]
    fn targets_read_both_forms() {
        let discovery = discovery();
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let read = |text: &str| {
            let targets = targets(&discovery, &words(text)).expect(text);
            targets.into_iter().map(|target| (target.resource.plural, target.names.join(","))).collect::<Vec<_>>()
        };
        assert_eq!(read("po,deploy"), [("pods".to_owned(), String::new()), ("deployments".to_owned(), String::new())]);
        assert_eq!(read("pod a b"), [("pods".to_owned(), "a,b".to_owned())]);
        assert_eq!(
            read("deploy/web po/a po/b"),
            [("deployments".to_owned(), "web".to_owned()), ("pods".to_owned(), "a,b".to_owned())]
        );
        assert_eq!(read("all").len(), 2);
        assert!(targets(&discovery, &words("pod deploy/web")).is_err());
    }

    #[test]
    fn queries_are_encoded() {
        assert_eq!(query(&[("labelSelector", "a in (b,c)"), ("x", "")]), "?labelSelector=a%20in%20%28b%2Cc%29");
    }
}
