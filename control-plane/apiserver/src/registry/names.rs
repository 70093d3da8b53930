//! How names and values must look (upstream:
//! `apimachinery/pkg/util/validation`). Each function gives the messages of the
//! rules that are broken, none when the value is fine. Called by the generic
//! validation of metadata and by the strategies.

const LABEL_MAX: usize = 63;
const SUBDOMAIN_MAX: usize = 253;
const PORT_NAME_MAX: usize = 15;

const LABEL: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
const SUBDOMAIN: &str = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*";
const DNS1035: &str = "[a-z]([-a-z0-9]*[a-z0-9])?";
const QUALIFIED: &str = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";
const LABEL_VALUE: &str = "(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?";
const CONFIG_KEY: &str = "[-._a-zA-Z0-9]+";

/// Why `name` is no DNS subdomain (RFC 1123). With `prefix`, it will be followed
/// by a generated suffix, so a trailing dash or dot is fine.
pub fn dns_subdomain(name: &str, prefix: bool) -> Vec<String> {
    let mut messages = too_long(name, SUBDOMAIN_MAX);
    if !masked(name, prefix).split('.').all(is_dns_label) {
        messages.push(pattern(
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character",
            SUBDOMAIN,
            &["example.com"],
        ));
    }
    messages
}

/// Why `name` is no DNS label (RFC 1123).
pub fn dns_label(name: &str, prefix: bool) -> Vec<String> {
    let mut messages = too_long(name, LABEL_MAX);
    let name = masked(name, prefix);
    if !is_dns_label(name) && name.split('.').all(is_dns_label) {
        messages.push("must not contain dots".to_owned());
    } else if !is_dns_label(name) {
        messages.push(pattern(
            "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character",
            LABEL,
            &["my-name", "123-abc"],
        ));
    }
    messages
}

/// Why `name` is no DNS label that starts with a letter (RFC 1035).
pub fn dns1035_label(name: &str, prefix: bool) -> Vec<String> {
    let mut messages = too_long(name, LABEL_MAX);
    let name = masked(name, prefix);
    if !is_dns_label(name) || !name.starts_with(|first: char| first.is_ascii_lowercase()) {
        messages.push(pattern(
            "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character",
            DNS1035,
            &["my-name", "abc-123"],
        ));
    }
    messages
}

/// Why `key` is no qualified name (a label key: `example.com/name` or `name`).
pub fn qualified_name(key: &str) -> Vec<String> {
    let mut messages = Vec::new();
    let name = match key.split('/').collect::<Vec<_>>()[..] {
        [name] => name,
        [prefix, name] => {
            if prefix.is_empty() {
                messages.push("prefix part must be non-empty".to_owned());
            } else {
                messages
                    .extend(dns_subdomain(prefix, false).into_iter().map(|message| format!("prefix part {message}")));
            }
            name
        }
        _ => {
            return vec![format!(
                "a qualified name {} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')",
                pattern(QUALIFIED_RULE, QUALIFIED, &["MyName", "my.name", "123-abc"])
            )];
        }
    };
    if name.is_empty() {
        messages.push("name part must be non-empty".to_owned());
    } else if name.len() > LABEL_MAX {
        messages.push(format!("name part {}", max_length(LABEL_MAX)));
    }
    if !is_label_text(name) || name.is_empty() {
        messages.push(format!("name part {}", pattern(QUALIFIED_RULE, QUALIFIED, &["MyName", "my.name", "123-abc"])));
    }
    messages
}

const QUALIFIED_RULE: &str =
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";

/// Why `value` is no label value.
pub fn label_value(value: &str) -> Vec<String> {
    let mut messages = too_long(value, LABEL_MAX);
    if !is_label_text(value) {
        messages.push(pattern(
            "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
            LABEL_VALUE,
            &["MyValue", "my_value", "12345"],
        ));
    }
    messages
}

/// Why `key` cannot be a key of a ConfigMap or Secret.
pub fn config_key(key: &str) -> Vec<String> {
    let mut messages = too_long(key, SUBDOMAIN_MAX);
    if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte)) {
        messages.push(pattern(
            "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
            CONFIG_KEY,
            &["key.name", "KEY_NAME", "key-name"],
        ));
    }
    messages.extend(path_parts(key));
    messages
}

fn path_parts(key: &str) -> Option<String> {
    match key {
        "." => Some("must not be '.'".to_owned()),
        ".." => Some("must not be '..'".to_owned()),
        _ if key.starts_with("..") => Some("must not start with '..'".to_owned()),
        _ => None,
    }
}

/// Why `name` cannot name an environment variable.
///
/// Since 1.30 any printable ASCII but `=` is accepted.
pub fn env_name(name: &str) -> Vec<String> {
    let fine = !name.is_empty() && name.bytes().all(|byte| (b' '..=b'~').contains(&byte) && byte != b'=');
    if fine {
        Vec::new()
    } else {
        vec![
            "a valid environment variable name must consist only of printable ASCII characters other than '='"
                .to_owned(),
        ]
    }
}

/// Why `name` cannot name a port (`IANA_SVC_NAME`).
pub fn port_name(name: &str) -> Vec<String> {
    let mut messages = Vec::new();
    if name.len() > PORT_NAME_MAX {
        messages.push(max_length(PORT_NAME_MAX));
    }
    if !name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-') {
        messages.push("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".to_owned());
    }
    if !name.bytes().any(|byte| byte.is_ascii_lowercase()) {
        messages.push("must contain at least one letter (a-z)".to_owned());
    }
    if name.contains("--") {
        messages.push("must not contain consecutive hyphens".to_owned());
    }
    if name.starts_with('-') || name.ends_with('-') {
        messages.push("must not begin or end with a hyphen".to_owned());
    }
    messages
}

/// Why `port` is no port number.
pub fn port_number(port: i64) -> Vec<String> {
    if (1..=65535).contains(&port) { Vec::new() } else { vec![range(1, 65535)] }
}

/// The message for a number outside `low..=high`.
pub fn range(low: i64, high: i64) -> String {
    format!("must be between {low} and {high}, inclusive")
}

/// Why `name` is no HTTP header name.
pub fn http_header_name(name: &str) -> Vec<String> {
    let fine = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    if fine {
        return Vec::new();
    }
    vec![pattern(
        "a valid HTTP header must consist of alphanumeric characters or '-'",
        "[-A-Za-z0-9]+",
        &["X-Header-Name"],
    )]
}

/// Why the last path segment `name` cannot be part of a URL (used for kinds
/// whose names are otherwise free, such as roles).
pub fn path_segment(name: &str) -> Vec<String> {
    if name == "." || name == ".." {
        return vec![format!("may not be '{name}'")];
    }
    let found = ["/", "%"].into_iter().filter(|part| name.contains(part));
    found.map(|part| format!("may not contain '{part}'")).collect()
}

fn is_dns_label(label: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !label.is_empty() && label.bytes().all(inner) && !label.starts_with('-') && !label.ends_with('-')
}

/// Empty, or letters and digits at both ends with `-_.` between.
fn is_label_text(text: &str) -> bool {
    let edge = |byte: Option<u8>| byte.is_none_or(|byte| byte.is_ascii_alphanumeric());
    edge(text.bytes().next())
        && edge(text.bytes().last())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

/// A prefix may end in a dash, because a suffix follows.
fn masked(name: &str, prefix: bool) -> &str {
    // Upstream replaces the trailing dash by a letter; a single dash stays wrong.
    if prefix && name.len() > 1 { name.strip_suffix('-').unwrap_or(name) } else { name }
}

fn too_long(text: &str, max: usize) -> Vec<String> {
    if text.len() > max { vec![max_length(max)] } else { Vec::new() }
}

/// The message for text of more than `max` characters.
pub fn max_length(max: usize) -> String {
    format!("must be no more than {max} characters")
}

/// A rule, examples and the regular expression, as upstream puts them together.
fn pattern(rule: &str, regex: &str, examples: &[&str]) -> String {
    let quoted: Vec<String> = examples.iter().map(|example| format!("'{example}'")).collect();
    format!("{rule} (e.g. {}, regex used for validation is '{regex}')", quoted.join(",  or "))
}
