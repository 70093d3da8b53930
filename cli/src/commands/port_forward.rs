//! `wk port-forward`: local ports lead to a pod's, each connection on its own.

use super::{Context, name_of, pods_behind};
use crate::output;
use anyhow::{Context as _, Result, bail};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use serde_json::Value;
use std::{
    io::Write,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};
use wk_platform::{
    listen::{BoxByteStream, Listener},
    tasks::{OnError, TaskGroup},
};

/// `[LOCAL:]REMOTE`
#[derive(Debug, PartialEq, Eq)]
struct Pair {
    /// 0 for any free port.
    local: u16,
    /// Number or name, of the service for a service.
    remote: String,
}

impl Pair {
    fn parse(text: &str) -> Result<Self> {
        let (local, remote) = text.split_once(':').unwrap_or((text, text));
        let local = match local {
            "" => 0,
            number if text.contains(':') => {
                number.parse().with_context(|| format!("error parsing local port {number:?}"))?
            }
            number => number.parse().unwrap_or(0),
        };
        if remote.is_empty() || remote == "0" {
            bail!("remote port must be > 0");
        }
        Ok(Self { local, remote: remote.to_owned() })
    }
}

pub(super) async fn run(context: &Context, args: &crate::args::PortForward) -> Result<()> {
    let pairs = args.ports.iter().map(|text| Pair::parse(text)).collect::<Result<Vec<_>>>()?;
    let discovery = context.discovery().await?;
    let pod = pods_behind::one(context, &discovery, &args.target, &args.pod_running_timeout).await?;
    if pod["status"]["phase"] != "Running" {
        bail!(
            "unable to forward port because pod is not running. Current status={}",
            pod["status"]["phase"].as_str().unwrap_or("Unknown")
        );
    }
    let service = service_of(context, &args.target).await?;
    let tasks = TaskGroup::new();
    let mut listening = 0;
    for pair in &pairs {
        let remote = pod_port(&pair.remote, service.as_ref(), &pod)?;
        listening += listen(context, &tasks, &args.address, pair.local, remote, name_of(&pod)).await?;
    }
    if listening == 0 {
        bail!("unable to listen on any of the requested ports: {:?}", args.ports);
    }
    tokio::signal::ctrl_c().await.context("wait for Ctrl-C")?;
    let _ = tasks.shutdown(std::time::Duration::from_secs(1)).await;
    Ok(())
}

async fn service_of(context: &Context, target: &str) -> Result<Option<Value>> {
    match target.split_once('/') {
        Some(("svc" | "service" | "services", name)) => {
            let path = format!("/api/v1/namespaces/{}/services/{name}", context.namespace());
            Ok(Some(context.rest.get(&path).await?))
        }
        _ => Ok(None),
    }
}

/// The pod's port behind a service's port, a named port, or a number.
fn pod_port(remote: &str, service: Option<&Value>, pod: &Value) -> Result<u16> {
    let mut wanted = Value::from(remote);
    if let Some(service) = service {
        let ports = service["spec"]["ports"].as_array().map(Vec::as_slice).unwrap_or_default();
        let number = remote.parse::<u64>().ok();
        let matches = |port: &&Value| (number.is_some() && port["port"].as_u64() == number) || port["name"] == remote;
        let port = ports
            .iter()
            .find(matches)
            .with_context(|| format!("Service {} does not have a service port {remote}", name_of(service)))?;
        wanted = if port["targetPort"].is_null() { port["port"].clone() } else { port["targetPort"].clone() };
    }
    let text = wanted.as_str().map_or_else(|| wanted.to_string(), str::to_owned);
    if let Ok(number) = text.parse() {
        return Ok(number);
    }
    let containers = pod["spec"]["containers"].as_array().map(Vec::as_slice).unwrap_or_default();
    let ports = containers.iter().flat_map(|container| container["ports"].as_array().into_iter().flatten());
    let named = ports.into_iter().find(|port| port["name"] == text.as_str());
    let number = named.and_then(|port| port["containerPort"].as_u64()).and_then(|port| u16::try_from(port).ok());
    number.with_context(|| format!("Pod '{}' does not have a named port '{text}'", name_of(pod)))
}

/// Listens on every address; how many worked. Only `localhost` may fail in part
/// (a host without IPv6).
async fn listen(
    context: &Context,
    tasks: &TaskGroup,
    addresses: &[String],
    local: u16,
    remote: u16,
    pod: &str,
) -> Result<usize> {
    let mut listening = 0;
    let mut local = local;
    for address in addresses {
        let candidates: Vec<IpAddr> = match address.as_str() {
            "localhost" => vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()],
            other => vec![other.parse().with_context(|| format!("invalid address {other:?}"))?],
        };
        for ip in candidates {
            match Listener::tcp(SocketAddr::new(ip, local)).await {
                Ok(listener) => {
                    // With any free port, the other family takes the same one.
                    local = listener.local_addr().map_or(local, |bound| bound.port());
                    output::line(format_args!("Forwarding from {} -> {remote}", SocketAddr::new(ip, local)))?;
                    spawn_accept(context, tasks, listener, remote, pod);
                    listening += 1;
                }
                Err(error) if ip.is_ipv4() || address != "localhost" => {
                    writeln!(std::io::stderr(), "Unable to listen on port {local}: {error}")?;
                }
                Err(_) => {}
            }
        }
    }
    Ok(listening)
}

fn spawn_accept(context: &Context, tasks: &TaskGroup, mut listener: Listener, remote: u16, pod: &str) {
    let pods: Api<Pod> = Api::namespaced(context.rest.client(), context.namespace());
    let (group, pod, local) = (tasks.clone(), pod.to_owned(), listener.local_addr());
    tasks.spawn("port-forward", OnError::Log, async move {
        loop {
            let (stream, _) = listener.accept().await?;
            let _ = output::line(format_args!("Handling connection for {}", local.map_or(0, |local| local.port())));
            let (pods, pod) = (pods.clone(), pod.clone());
            group.spawn("port-forward connection", OnError::Log, async move {
                if let Err(error) = forward(&pods, &pod, remote, stream).await {
                    let _ = writeln!(std::io::stderr(), "error forwarding port {remote} to pod {pod}: {error:#}");
                }
                Ok::<_, std::convert::Infallible>(())
            });
        }
        #[allow(unreachable_code, reason = "names the error type of the loop above")]
        Ok::<_, std::io::Error>(())
    });
}

/// One connection: it fails or ends alone, the forward goes on.
async fn forward(pods: &Api<Pod>, pod: &str, remote: u16, mut local: BoxByteStream) -> Result<()> {
    let mut forwarder = pods.portforward(pod, &[remote]).await.context("open the forward")?;
    let mut stream = forwarder.take_stream(remote).context("the server gave no stream")?;
    let failure = forwarder.take_error(remote);
    let copied = tokio::io::copy_bidirectional(&mut local, &mut stream).await;
    drop(stream);
    if let Some(failure) = failure
        && let Ok(Some(message)) = tokio::time::timeout(std::time::Duration::from_millis(100), failure).await
    {
        bail!(message);
    }
    match copied {
        // The local client went away: nothing to say.
        Ok(_) => Ok(()),
        Err(error) if matches!(error.kind(), std::io::ErrorKind::ConnectionReset | std::io::ErrorKind::BrokenPipe) => {
            Ok(())
        }
        Err(error) => Err(error).context("copy"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn ports_are_read_in_every_form() {
        let pair = |local, remote: &str| Pair { local, remote: remote.to_owned() };
        assert_eq!(Pair::parse("8080:80").expect("valid"), pair(8080, "80"));
        assert_eq!(Pair::parse("80").expect("valid"), pair(80, "80"));
        assert_eq!(Pair::parse(":80").expect("valid"), pair(0, "80"));
        assert_eq!(Pair::parse("8080:http").expect("valid"), pair(8080, "http"));
        assert!(Pair::parse("x:80").is_err() && Pair::parse("8080:").is_err());
    }

    #[test]
    fn a_services_port_leads_to_the_pods() {
        let service = json!({"metadata": {"name": "web"}, "spec": {"ports": [{"port": 80, "targetPort": "http"}]}});
        let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"ports": [{"name": "http", "containerPort": 8080}]}]}});
        assert_eq!(pod_port("80", Some(&service), &pod).expect("named"), 8080);
        assert!(pod_port("81", Some(&service), &pod).is_err());
        assert_eq!(pod_port("9", None, &pod).expect("number"), 9);
    }
}
