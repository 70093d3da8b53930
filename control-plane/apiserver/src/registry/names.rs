//! How names must look (upstream: `apimachinery/pkg/util/validation`).

/// Why `name` is no DNS subdomain (RFC 1123); empty when it is one. With
/// `prefix`, it will be followed by a generated suffix.
pub fn dns_subdomain(_name: &str, _prefix: bool) -> Vec<String> {
    Vec::new()
}
