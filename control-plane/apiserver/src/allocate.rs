//! Cluster IPs and node ports of Services: which are taken, kept in memory and
//! read anew from the stored Services at start (upstream:
//! `registry/core/service/{ipallocator,portallocator}`).

use crate::{
    http::status::{ApiError, Target},
    object,
    registry::{Resource, metadata::invalid_shown},
    schema::FieldError,
};
use ipnet::Ipv4Net;
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::{collections::HashSet, net::Ipv4Addr, ops::RangeInclusive, sync::Arc};
use wk_platform::Entropy;

/// The first addresses are left to those who choose their own (upstream: the
/// static part of the range, at most 256).
const STATIC_ADDRESSES: u64 = 256;

/// What is taken. Clones share it.
#[derive(Clone)]
pub struct Allocators {
    taken: Arc<Mutex<Taken>>,
    cidr: Ipv4Net,
    ports: RangeInclusive<u16>,
    entropy: Entropy,
}

#[derive(Default)]
struct Taken {
    addresses: HashSet<Ipv4Addr>,
    ports: HashSet<u16>,
}

/// What one write has taken and what it will set free. Dropped without
/// [`Claims::keep`], everything is as before.
#[must_use]
pub struct Claims {
    taken: Arc<Mutex<Taken>>,
    addresses: Vec<Ipv4Addr>,
    ports: Vec<u16>,
    freed: (Vec<Ipv4Addr>, Vec<u16>),
}

impl Claims {
    /// The write has happened.
    pub fn keep(mut self) {
        self.addresses.clear();
        self.ports.clear();
        let (addresses, ports) = std::mem::take(&mut self.freed);
        self.taken.lock().free(&addresses, &ports);
    }
}

impl Drop for Claims {
    fn drop(&mut self) {
        self.taken.lock().free(&self.addresses, &self.ports);
    }
}

impl Taken {
    fn free(&mut self, addresses: &[Ipv4Addr], ports: &[u16]) {
        for address in addresses {
            self.addresses.remove(address);
        }
        for port in ports {
            self.ports.remove(port);
        }
    }
}

impl Allocators {
    /// Nothing is taken yet.
    pub fn new(cidr: Ipv4Net, ports: RangeInclusive<u16>, entropy: Entropy) -> Self {
        Self { taken: Arc::default(), cidr, ports, entropy }
    }

    /// Where addresses come from.
    pub fn cidr(&self) -> Ipv4Net {
        self.cidr
    }

    /// Forgets everything; the stored Services are learned anew after it.
    pub fn forget(&self) {
        *self.taken.lock() = Taken::default();
    }

    /// Counts what a stored Service has as taken.
    pub fn learn(&self, service: &Value) {
        let mut taken = self.taken.lock();
        taken.addresses.extend(addresses_of(service));
        taken.ports.extend(ports_of(service));
    }

    /// Sets free what a deleted Service had.
    pub fn release(&self, row: &Resource, object: &Value) {
        if is_service(row) {
            self.taken.lock().free(&addresses_of(object), &ports_of(object));
        }
    }

    /// Gives a Service the addresses and ports it asks for or needs. Other
    /// objects need none.
    ///
    /// # Errors
    /// 422 when something it asks for cannot be had.
    pub fn claim(&self, row: &Resource, object: &mut Value, old: Option<&Value>) -> Result<Claims, ApiError> {
        let mut claims =
            Claims { taken: self.taken.clone(), addresses: Vec::new(), ports: Vec::new(), freed: Default::default() };
        if is_service(row) {
            let name = object::name(object).to_owned();
            let result = self.claim_all(&mut claims, object, old.unwrap_or(&Value::Null));
            result.map_err(|error| ApiError::Invalid(Target::kind(row, &name), vec![error]))?;
        }
        Ok(claims)
    }

    fn claim_all(&self, claims: &mut Claims, service: &mut Value, old: &Value) -> Result<(), FieldError> {
        if needs_address(service) {
            self.claim_address(claims, service, old)?;
        }
        if needs_ports(service) {
            self.claim_ports(claims, service, old)?;
        }
        if needs_health_check(service) {
            self.claim_health_check(claims, service, old)?;
        }
        let (addresses, ports) = (addresses_of(service), ports_of(service));
        claims.freed.0 = addresses_of(old).into_iter().filter(|address| !addresses.contains(address)).collect();
        claims.freed.1 = ports_of(old).into_iter().filter(|port| !ports.contains(port)).collect();
        Ok(())
    }

    fn claim_address(&self, claims: &mut Claims, service: &mut Value, old: &Value) -> Result<(), FieldError> {
        let asked = object::str_at(service, "spec.clusterIP").to_owned();
        let address = match asked.parse() {
            Ok(address) if addresses_of(old).contains(&address) => return Ok(()),
            Ok(address) => self.take_address(address)?,
            Err(_) => self.next_address()?,
        };
        claims.addresses.push(address);
        let spec = object::map_mut(service, "spec");
        spec.insert("clusterIP".to_owned(), json!(address.to_string()));
        spec.insert("clusterIPs".to_owned(), json!([address.to_string()]));
        Ok(())
    }

    fn take_address(&self, address: Ipv4Addr) -> Result<Ipv4Addr, FieldError> {
        let refused = |why: String| {
            let shown = format!("[]string{{\"{address}\"}}");
            Err(invalid_shown("spec.clusterIPs", &shown, &format!("failed to allocate IP {address}: {why}")))
        };
        if !self.cidr.contains(&address) {
            let range = self.cidr;
            return refused(format!(
                "the provided IP ({address}) is not in the valid range. The range of valid IPs is {range}"
            ));
        }
        match self.taken.lock().addresses.insert(address) {
            true => Ok(address),
            false => refused("provided IP is already allocated".to_owned()),
        }
    }

    fn next_address(&self) -> Result<Ipv4Addr, FieldError> {
        let base = u64::from(u32::from(self.cidr.network()));
        // Neither the network's own address nor the broadcast address.
        let usable = (1_u64 << (32 - self.cidr.prefix_len())).saturating_sub(2);
        let reserved = STATIC_ADDRESSES.min(usable / 16);
        let start = self.entropy.below(usable.saturating_sub(reserved).max(1));
        let mut taken = self.taken.lock();
        let candidate = |step: u64| {
            let host = 1 + (reserved + (start + step) % usable.saturating_sub(reserved).max(1)) % usable.max(1);
            u32::try_from(base + host).map(Ipv4Addr::from).ok()
        };
        let free = (0..usable).filter_map(candidate).find(|address| !taken.addresses.contains(address));
        let full = || FieldError::invalid("spec.clusterIPs", Value::Null, "range is full");
        let address = free.ok_or_else(full)?;
        taken.addresses.insert(address);
        Ok(address)
    }

    fn claim_ports(&self, claims: &mut Claims, service: &mut Value, old: &Value) -> Result<(), FieldError> {
        let held = ports_of(old);
        let ports = object::map_mut(service, "spec").get_mut("ports").and_then(Value::as_array_mut);
        for (index, port) in ports.into_iter().flatten().enumerate() {
            let asked = port.get("nodePort").and_then(Value::as_u64).unwrap_or(0);
            if u16::try_from(asked).is_ok_and(|port| held.contains(&port) || claims.ports.contains(&port)) {
                continue;
            }
            let field = format!("spec.ports[{index}].nodePort");
            let number = if asked == 0 { self.next_port(&field)? } else { self.take_port(&field, asked)? };
            claims.ports.push(number);
            port["nodePort"] = number.into();
        }
        Ok(())
    }

    /// A balancer asks this port which nodes have pods of the Service.
    fn claim_health_check(&self, claims: &mut Claims, service: &mut Value, old: &Value) -> Result<(), FieldError> {
        const FIELD: &str = "healthCheckNodePort";
        let number = |service: &Value| service["spec"][FIELD].as_u64().unwrap_or(0);
        let asked = number(service);
        if asked != 0 && asked == number(old) {
            return Ok(());
        }
        let field = format!("spec.{FIELD}");
        let port = if asked == 0 { self.next_port(&field)? } else { self.take_port(&field, asked)? };
        claims.ports.push(port);
        object::map_mut(service, "spec").insert(FIELD.to_owned(), port.into());
        Ok(())
    }

    fn take_port(&self, field: &str, asked: u64) -> Result<u16, FieldError> {
        let port = u16::try_from(asked).ok().filter(|port| self.ports.contains(port)).ok_or_else(|| {
            let (low, high) = (self.ports.start(), self.ports.end());
            let detail = format!("provided port is not in the valid range. The range of valid ports is {low}-{high}");
            FieldError::invalid(field, asked, detail)
        })?;
        match self.taken.lock().ports.insert(port) {
            true => Ok(port),
            false => Err(FieldError::invalid(field, asked, "provided port is already allocated")),
        }
    }

    fn next_port(&self, field: &str) -> Result<u16, FieldError> {
        let size = self.ports.len();
        let start = usize::try_from(self.entropy.below(size as u64)).unwrap_or(0);
        let mut taken = self.taken.lock();
        let mut candidates = self.ports.clone().cycle_from(start, size);
        let port = candidates.find(|port| !taken.ports.contains(port));
        let port = port.ok_or_else(|| FieldError::invalid(field, 0, "range is full"))?;
        taken.ports.insert(port);
        Ok(port)
    }
}

/// Every port once, beginning in the middle.
trait CycleFrom {
    fn cycle_from(self, start: usize, size: usize) -> impl Iterator<Item = u16>;
}

impl CycleFrom for RangeInclusive<u16> {
    fn cycle_from(self, start: usize, size: usize) -> impl Iterator<Item = u16> {
        self.clone().skip(start).chain(self.take(start)).take(size)
    }
}

fn is_service(row: &Resource) -> bool {
    row.group.is_empty() && row.kind == "Service"
}

fn needs_address(service: &Value) -> bool {
    object::str_at(service, "spec.type") != "ExternalName" && object::str_at(service, "spec.clusterIP") != "None"
}

fn needs_ports(service: &Value) -> bool {
    match object::str_at(service, "spec.type") {
        "NodePort" => true,
        "LoadBalancer" => service["spec"]["allocateLoadBalancerNodePorts"] != false,
        _ => false,
    }
}

fn needs_health_check(service: &Value) -> bool {
    let spec = |field: &str| service["spec"][field].as_str().unwrap_or_default();
    spec("type") == "LoadBalancer" && spec("externalTrafficPolicy") == "Local"
}

fn addresses_of(service: &Value) -> Vec<Ipv4Addr> {
    let listed = object::list_at(service, "spec.clusterIPs").iter().filter_map(Value::as_str);
    let mut addresses: Vec<Ipv4Addr> = listed.filter_map(|text| text.parse().ok()).collect();
    addresses.extend(object::str_at(service, "spec.clusterIP").parse::<Ipv4Addr>());
    addresses
}

fn ports_of(service: &Value) -> Vec<u16> {
    let ports = object::list_at(service, "spec.ports").iter().map(|port| &port["nodePort"]);
    let all = ports.chain([&service["spec"]["healthCheckNodePort"]]);
    let number = |port: &Value| port.as_u64().and_then(|port| u16::try_from(port).ok());
    all.filter_map(number).filter(|port| *port != 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::core::service::RESOURCE;

    fn allocators(cidr: &str) -> Allocators {
        Allocators::new(cidr.parse().expect("a network"), 30000..=30002, Entropy::seeded(1))
    }

    fn service(address: &str) -> Value {
        json!({"metadata": {"name": "a"}, "spec": {"type": "NodePort", "clusterIP": address, "ports": [{"port": 80}]}})
    }

    #[test]
    fn claims_are_given_back_unless_kept() {
        let (allocators, mut first) = (allocators("10.96.0.0/16"), service("10.96.0.9"));
        drop(allocators.claim(&RESOURCE, &mut first, None).expect("free"));
        allocators.claim(&RESOURCE, &mut first, None).expect("free again").keep();
        let error = allocators.claim(&RESOURCE, &mut service("10.96.0.9"), None).err().expect("taken");
        let message = error.status()["message"].to_string();
        assert!(message.contains("failed to allocate IP 10.96.0.9: provided IP is already allocated"), "{message}");
        allocators.release(&RESOURCE, &first);
        allocators.claim(&RESOURCE, &mut service("10.96.0.9"), None).expect("released").keep();
    }

    #[test]
    fn an_exhausted_range_refuses() {
        let allocators = allocators("10.96.0.0/30");
        for _ in 0..2 {
            allocators.claim(&RESOURCE, &mut service(""), None).expect("two usable addresses").keep();
        }
        assert!(allocators.claim(&RESOURCE, &mut service(""), None).is_err());
    }

    #[test]
    fn an_update_keeps_what_it_has_and_frees_the_rest() {
        let (allocators, mut old) = (allocators("10.96.0.0/16"), service(""));
        allocators.claim(&RESOURCE, &mut old, None).expect("free").keep();
        let mut new = old.clone();
        new["spec"]["ports"][0]["nodePort"] = Value::Null;
        allocators.claim(&RESOURCE, &mut new, Some(&old)).expect("free").keep();
        assert_eq!(old["spec"]["clusterIP"], new["spec"]["clusterIP"]);
        assert_ne!(ports_of(&old), ports_of(&new));
        assert_eq!(allocators.taken.lock().ports.len(), 1);
    }
}
