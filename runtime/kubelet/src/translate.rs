//! A pod's spec → the runtime's configurations. Pure: all that comes from
//! elsewhere (objects, services, volumes) is handed in.

pub mod env;
pub mod expand;
pub mod fields;
pub mod mounts;
pub mod quantity;

use crate::{ClusterDns, labels, logs, spec};
use k8s_openapi::api::core::v1::{Container, Pod, ResourceRequirements};
use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    path::Path,
};
use wk_cri::{ContainerConfig, ContainerMetadata, DnsConfig, Mount, PodSandboxConfig, Resources, SandboxMetadata};

/// Longest host name (Linux's limit, which upstream truncates to).
const HOSTNAME_BYTES_MAX: usize = 63;

/// Longest full name as a host name (upstream: `fqdnMaxLen`).
const FULL_NAME_BYTES_MAX: usize = 64;

/// The pod's sandbox.
///
/// # Errors
/// A message for `FailedCreatePodSandBox`.
pub fn sandbox(pod: &Pod, attempt: u32, root_dir: &Path, dns: &ClusterDns) -> Result<PodSandboxConfig, String> {
    let (namespace, name, uid) = (spec::namespace(pod), spec::name(pod), spec::uid(pod));
    let aliases = spec::of(pod).host_aliases.iter().flatten();
    let host_aliases = aliases
        .filter_map(|alias| Some((alias.ip.parse::<IpAddr>().ok()?, alias)))
        .flat_map(|(address, alias)| alias.hostnames.iter().flatten().map(move |name| (name.clone(), address)));
    let domain = domain(pod, dns);
    Ok(PodSandboxConfig {
        metadata: SandboxMetadata {
            name: name.to_owned(),
            namespace: namespace.to_owned(),
            uid: uid.to_owned(),
            attempt,
        },
        hostname: kernel_name(pod, &domain)?,
        domain,
        log_directory: logs::pod_directory(root_dir, namespace, name, uid),
        dns: dns_config(pod, dns),
        host_aliases: host_aliases.collect(),
        host_network: spec::of(pod).host_network == Some(true),
        labels: pod.metadata.labels.clone().into_iter().flatten().chain(pod_labels(pod)).collect(),
        annotations: pod.metadata.annotations.clone().unwrap_or_default(),
    })
}

/// Labels that find a pod's sandboxes and containers.
pub fn pod_labels(pod: &Pod) -> BTreeMap<String, String> {
    let pairs = [
        (labels::POD_NAME, spec::name(pod)),
        (labels::POD_NAMESPACE, spec::namespace(pod)),
        (labels::POD_UID, spec::uid(pod)),
    ];
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// The name that containers see as their host's.
pub fn hostname(pod: &Pod) -> String {
    let name = spec::of(pod).hostname.as_deref().unwrap_or_else(|| spec::name(pod));
    let cut = &name[..name.floor_char_boundary(HOSTNAME_BYTES_MAX)];
    cut.trim_end_matches(['-', '.']).to_owned()
}

/// What follows the host name of a pod with a `subdomain`, under which a headless
/// Service of that name makes it known.
fn domain(pod: &Pod, dns: &ClusterDns) -> String {
    let subdomain = spec::of(pod).subdomain.as_deref().filter(|subdomain| !subdomain.is_empty());
    subdomain.map(|name| format!("{name}.{}.svc.{}", spec::namespace(pod), dns.domain)).unwrap_or_default()
}

/// The host name, or the full one for a pod that wants it (`setHostnameAsFQDN`).
fn kernel_name(pod: &Pod, domain: &str) -> Result<String, String> {
    let name = hostname(pod);
    if spec::of(pod).set_hostname_as_fqdn != Some(true) || domain.is_empty() {
        return Ok(name);
    }
    let full = format!("{name}.{domain}");
    if full.len() <= FULL_NAME_BYTES_MAX {
        return Ok(full);
    }
    Err(format!(
        "failed to construct FQDN from pod hostname and cluster domain, FQDN {full} is too long \
         ({FULL_NAME_BYTES_MAX} characters is the max, {} characters requested)",
        full.len()
    ))
}

/// How names are looked up (upstream: `pkg/kubelet/network/dns/dns.go`).
pub fn dns_config(pod: &Pod, cluster: &ClusterDns) -> DnsConfig {
    let spec = spec::of(pod);
    let on_host = spec.host_network == Some(true);
    let first = match spec.dns_policy.as_deref() {
        Some("None" | "Default") => false,
        Some("ClusterFirstWithHostNet") => true,
        _ => !on_host,
    };
    let mut config = DnsConfig::default();
    if first && !cluster.servers.is_empty() {
        let (namespace, domain) = (spec::namespace(pod), &cluster.domain);
        config.servers = cluster.servers.iter().map(ToString::to_string).collect();
        config.searches = vec![format!("{namespace}.svc.{domain}"), format!("svc.{domain}"), domain.clone()];
        config.options = vec!["ndots:5".to_owned()];
    }
    if let Some(own) = &spec.dns_config {
        config.servers.extend(own.nameservers.iter().flatten().cloned());
        config.searches.extend(own.searches.iter().flatten().cloned());
        for option in own.options.iter().flatten() {
            let name = option.name.clone().unwrap_or_default();
            config.options.retain(|known| known.split(':').next() != Some(name.as_str()));
            config.options.push(option.value.as_ref().map_or_else(|| name.clone(), |value| format!("{name}:{value}")));
        }
    }
    config
}

/// What a container is made of, besides its spec.
pub struct Parts {
    /// How many of this name were before.
    pub attempt: u32,
    /// The image's id.
    pub image_id: String,
    /// Its environment, in order.
    pub envs: Vec<(String, String)>,
    /// Its mounts.
    pub mounts: Vec<Mount>,
}

/// A container of the pod.
pub fn container(pod: &Pod, container: &Container, parts: Parts) -> ContainerConfig {
    let Parts { attempt, image_id, envs, mounts } = parts;
    let variables: HashMap<&str, &str> = envs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let expanded = |list: &Option<Vec<String>>| {
        list.iter().flatten().map(|text| expand::expand(text, |name| variables.get(name).copied())).collect()
    };
    let (command, args) = (expanded(&container.command), expanded(&container.args));
    let mut labels = pod_labels(pod);
    labels.insert(labels::CONTAINER_NAME.to_owned(), container.name.clone());
    let made_from = container.image.clone().unwrap_or_default();
    let security = container.security_context.as_ref();
    ContainerConfig {
        metadata: ContainerMetadata { name: container.name.clone(), attempt },
        image: image_id,
        command,
        args,
        working_dir: container.working_dir.clone().unwrap_or_default(),
        envs,
        mounts,
        labels,
        annotations: [(labels::CONTAINER_HASH.to_owned(), made_from)].into(),
        log_path: logs::container_path(&container.name, attempt),
        stdin: container.stdin == Some(true),
        stdin_once: container.stdin_once == Some(true),
        tty: container.tty == Some(true),
        readonly_rootfs: security.and_then(|security| security.read_only_root_filesystem) == Some(true),
        resources: container.resources.as_ref().map(resources).unwrap_or_default(),
    }
}

fn resources(spec: &ResourceRequirements) -> Resources {
    let read =
        |map: &Option<BTreeMap<String, _>>, name: &str| map.as_ref().and_then(|map| quantity::parse(map.get(name)?));
    Resources {
        cpu_request_millis: read(&spec.requests, "cpu").map(quantity::Amount::millis),
        cpu_limit_millis: read(&spec.limits, "cpu").map(quantity::Amount::millis),
        memory_limit_bytes: read(&spec.limits, "memory").map(quantity::Amount::whole),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn pod(spec: Value) -> Pod {
        let metadata = json!({"name": "web", "namespace": "shop", "uid": "u1", "labels": {"app": "web"}});
        serde_json::from_value(json!({"metadata": metadata, "spec": spec})).expect("a pod")
    }

    fn cluster() -> ClusterDns {
        ClusterDns { servers: vec![[10, 96, 0, 10].into()], domain: "cluster.local".to_owned() }
    }

    #[test]
    fn a_sandbox_says_whose_it_is() {
        let spec = json!({"containers": [], "hostAliases": [{"ip": "10.1.1.1", "hostnames": ["a", "b"]}]});
        let config = sandbox(&pod(spec), 2, Path::new("/r"), &cluster()).expect("a sandbox");
        assert_eq!((config.metadata.attempt, config.hostname.as_str()), (2, "web"));
        assert_eq!(config.log_directory, Path::new("/r/logs/shop_web_u1"));
        assert_eq!(config.labels["io.kubernetes.pod.uid"], "u1");
        assert_eq!(config.labels["app"], "web");
        assert_eq!(config.host_aliases.len(), 2);
    }

    #[test]
    fn a_pod_under_a_subdomain_has_a_full_name() {
        let named = |more: Value| {
            let mut spec = json!({"containers": [], "hostname": "web-0", "subdomain": "web"});
            spec.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
            sandbox(&pod(spec), 0, Path::new("/r"), &cluster()).map(|config| (config.hostname, config.domain))
        };
        let pair = |name: &str, domain: &str| Ok((name.to_owned(), domain.to_owned()));
        assert_eq!(named(json!({})), pair("web-0", "web.shop.svc.cluster.local"));
        let full = named(json!({"setHostnameAsFQDN": true}));
        assert_eq!(full, pair("web-0.web.shop.svc.cluster.local", "web.shop.svc.cluster.local"));
        assert_eq!(named(json!({"subdomain": "", "setHostnameAsFQDN": true})), pair("web-0", ""));
        let long = named(json!({"setHostnameAsFQDN": true, "hostname": "a".repeat(38)})).expect_err("too long");
        assert!(long.ends_with("is too long (64 characters is the max, 65 characters requested)"), "{long}");
    }

    #[test]
    fn cluster_names_are_searched_first() {
        let config = dns_config(&pod(json!({"containers": []})), &cluster());
        assert_eq!(config.servers, ["10.96.0.10"]);
        assert_eq!(config.searches, ["shop.svc.cluster.local", "svc.cluster.local", "cluster.local"]);
        assert_eq!(config.options, ["ndots:5"]);
    }

    #[test]
    fn a_pod_may_bring_its_own_names() {
        let spec = json!({"containers": [], "dnsPolicy": "None", "dnsConfig": {"nameservers": ["1.1.1.1"],
            "searches": ["x"], "options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}]}});
        let config = dns_config(&pod(spec), &cluster());
        assert_eq!((config.servers, config.searches), (vec!["1.1.1.1".to_owned()], vec!["x".to_owned()]));
        assert_eq!(config.options, ["ndots:2", "edns0"]);
        let on_host = dns_config(&pod(json!({"containers": [], "hostNetwork": true})), &cluster());
        assert_eq!(on_host, DnsConfig::default());
    }

    #[test]
    fn a_container_is_translated_whole() {
        let pod = pod(json!({"containers": [{"name": "main", "command": ["serve"], "args": ["--port=$(PORT)"],
            "workingDir": "/w", "stdin": true, "tty": true, "securityContext": {"readOnlyRootFilesystem": true},
            "resources": {"requests": {"cpu": "250m"}, "limits": {"cpu": "1", "memory": "64Mi"}}}]}));
        let (_, spec) = spec::container(&pod, "main").expect("in the spec");
        let envs = vec![("PORT".to_owned(), "80".to_owned())];
        let parts = Parts { attempt: 1, image_id: "sha256:1".to_owned(), envs, mounts: vec![] };
        let config = container(&pod, &spec, parts);
        assert_eq!((config.command, config.args), (vec!["serve".to_owned()], vec!["--port=80".to_owned()]));
        assert_eq!(
            (config.working_dir.as_str(), config.stdin, config.tty, config.stdin_once),
            ("/w", true, true, false)
        );
        assert!(config.readonly_rootfs);
        assert_eq!(config.log_path, Path::new("main/1.log"));
        assert_eq!(config.labels["io.kubernetes.container.name"], "main");
        let expected = Resources {
            cpu_request_millis: Some(250),
            cpu_limit_millis: Some(1_000),
            memory_limit_bytes: Some(64 << 20),
        };
        assert_eq!(config.resources, expected);
    }

    #[test]
    fn long_names_make_valid_host_names() {
        let mut pod = pod(json!({"containers": []}));
        pod.metadata.name = Some(format!("{}-b", "a".repeat(62)));
        assert_eq!(hostname(&pod), "a".repeat(62));
    }
}
