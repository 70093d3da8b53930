//! The objects that every cluster has, made at start: four namespaces, the Service
//! `default/kubernetes` with its Endpoints and EndpointSlice, and the roles of
//! [`policy`]. Called by [`crate::ApiServer`] at start and after a restore. What
//! exists already stays as it is, but for what is missing; nothing is written when
//! nothing is.

use crate::{
    Server,
    authorization::policy::{self, Reconciled},
    http::{
        negotiate::Accepted,
        query::Query,
        reply::{IncludeObject, Rendering},
        request_info::RequestInfo,
        status::ApiError,
    },
    object,
    registry::{self, Resource, Scope},
    storage::{self, Update},
    verbs::{
        Call,
        create::{Managed, create_object},
        options::WriteOptions,
    },
};
use futures::{StreamExt, TryStreamExt, stream};
use http::HeaderMap;
use ipnet::Ipv4Net;
use serde_json::{Value, json};
use std::{net::Ipv4Addr, sync::Arc};
use wk_platform::UserInfo;
use wk_store::{Key, Page};

/// Roles written at a time. They share the store's commits, so that a new cluster
/// waits for a few of them and not for a hundred.
const WRITES_AT_ONCE: usize = 256;

const NAMESPACES: &[&str] = &["default", "kube-system", "kube-public", "kube-node-lease"];

/// Learns what Services have taken, then makes what is missing.
///
/// # Errors
/// When the store cannot be read or written.
pub async fn run(server: &Arc<Server>, service_cidr: Ipv4Net) -> Result<(), ApiError> {
    learn_services(server).await?;
    for name in NAMESPACES {
        ensure(server, "", "namespaces", json!({"metadata": {"name": name}})).await?;
    }
    let advertise = server.advertise;
    ensure(server, "", "services", service(first_address(service_cidr), advertise.port())).await?;
    ensure(server, "", "endpoints", endpoints(advertise.ip(), advertise.port())).await?;
    ensure(server, "discovery.k8s.io", "endpointslices", slice(advertise.ip(), advertise.port())).await?;
    let roles = stream::iter(policy::objects());
    let written = roles.map(|(row, wanted)| reconcile(server, row, wanted)).buffer_unordered(WRITES_AT_ONCE);
    written.try_collect::<()>().await
}

/// Brings a role or a binding up to the policy.
async fn reconcile(server: &Arc<Server>, row: &'static Resource, mut wanted: Value) -> Result<(), ApiError> {
    let (namespace, name) = (object::namespace(&wanted).to_owned(), object::name(&wanted).to_owned());
    let key = storage::key(row, &namespace, &name);
    if let Some(entry) = server.storage.entry(&key).await? {
        let stored = storage::Encoded::stored(entry.value.clone(), entry.modified).decode(row)?;
        let update = match policy::reconcile(&stored, &wanted) {
            Reconciled::Keep => return Ok(()),
            Reconciled::Update(new) => Update::Write(new),
            Reconciled::Replace => Update::Delete(stored),
        };
        let made_anew = matches!(update, Update::Delete(_));
        // Who was faster has done the same, or knows better.
        server.storage.write(row, &entry, update).await?;
        if !made_anew {
            return Ok(());
        }
    }
    row.strategy.default(&mut wanted);
    create(server, row, wanted).await
}

async fn create(server: &Arc<Server>, row: &'static Resource, object: Value) -> Result<(), ApiError> {
    let call = internal_call(server, row, object::namespace(&object));
    let options = WriteOptions { field_manager: "kube-apiserver".to_owned(), ..WriteOptions::default() };
    match create_object(&call, object, &options, Managed::ByUpdate, &mut Vec::new()).await {
        Ok(_) | Err(ApiError::AlreadyExists(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

async fn learn_services(server: &Arc<Server>) -> Result<(), ApiError> {
    let Some(row) = registry::find("", "v1", "services") else { return Ok(()) };
    let prefix = Key::from(crate::storage::prefix(row, ""));
    let listing = server.storage.store().list(&prefix, Page::default()).await?;
    for entry in &listing.entries {
        server.allocators.learn(&crate::storage::Encoded::stored(entry.value.clone(), entry.modified).decode(row)?);
    }
    Ok(())
}

/// Where the API is for clients in the cluster (`10.96.0.1`).
pub fn first_address(service_cidr: Ipv4Net) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(service_cidr.network()).saturating_add(1))
}

fn service(address: Ipv4Addr, port: u16) -> Value {
    json!({
        "metadata": {
            "name": "kubernetes", "namespace": "default",
            "labels": {"component": "apiserver", "provider": "kubernetes"},
        },
        "spec": {
            "type": "ClusterIP", "clusterIP": address.to_string(), "clusterIPs": [address.to_string()],
            "ports": [{"name": "https", "protocol": "TCP", "port": 443, "targetPort": port}],
            "sessionAffinity": "None",
        },
    })
}

fn endpoints(address: std::net::IpAddr, port: u16) -> Value {
    json!({
        "metadata": {
            "name": "kubernetes", "namespace": "default",
            "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"},
        },
        "subsets": [{
            "addresses": [{"ip": address.to_string()}],
            "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
        }],
    })
}

fn slice(address: std::net::IpAddr, port: u16) -> Value {
    json!({
        "metadata": {
            "name": "kubernetes", "namespace": "default", "labels": {"kubernetes.io/service-name": "kubernetes"},
        },
        "addressType": if address.is_ipv4() { "IPv4" } else { "IPv6" },
        "endpoints": [{"addresses": [address.to_string()], "conditions": {"ready": true}}],
        "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
    })
}

async fn ensure(server: &Arc<Server>, group: &str, plural: &str, mut object: Value) -> Result<(), ApiError> {
    let row = registry::all().iter().find(|row| row.group == group && row.plural == plural);
    let Some(row) = row else { return Ok(()) };
    object["apiVersion"] = row.api_version().into();
    object["kind"] = row.kind.into();
    row.strategy.default(&mut object);
    let (namespace, name) = (object::namespace(&object).to_owned(), object::name(&object).to_owned());
    if server.storage.entry(&storage::key(row, &namespace, &name)).await?.is_some() {
        return refresh(server, row, &object).await;
    }
    create(server, row, object).await
}

/// What says where this server listens is brought up to date.
async fn refresh(server: &Arc<Server>, row: &'static Resource, wanted: &Value) -> Result<(), ApiError> {
    let refreshed = |mut object: Value| {
        for field in ["subsets", "endpoints", "ports"] {
            if let Some(value) = wanted.get(field) {
                object[field] = value.clone();
            }
        }
        if let Some(ports) = object::at(wanted, "spec.ports") {
            object["spec"]["ports"] = ports.clone();
        }
        Ok(Update::Write(object))
    };
    server.storage.update(row, object::namespace(wanted), object::name(wanted), refreshed).await.map(|_| ())
}

/// A call that the server makes itself.
fn internal_call(server: &Arc<Server>, row: &'static Resource, namespace: &str) -> Call {
    let namespace = if row.scope == Scope::Namespaced { namespace } else { "" };
    let info = RequestInfo {
        verb: "create",
        is_resource: true,
        group: row.group.to_owned(),
        version: row.version.to_owned(),
        namespace: namespace.to_owned(),
        resource: row.plural.to_owned(),
        ..RequestInfo::default()
    };
    let rendering = Rendering {
        accepted: Accepted::default(),
        include: IncludeObject::default(),
        now: server.clock.now(),
        gzip: false,
    };
    let user = UserInfo::new("system:apiserver", &[wk_platform::identity::SYSTEM_MASTERS]);
    let (query, headers) = (Query::default(), HeaderMap::new());
    Call { server: server.clone(), row, info, query, user, headers, rendering }
}
