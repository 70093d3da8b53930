//! Names: what a pod gets when it looks one up.
//!
//! There is no name server and no packet: a lookup is a question to a table
//! that `wk-proxy` makes and replaces as a whole. The search list works as in
//! `resolv.conf(5)`. A name outside the cluster's zone goes to the egress, if
//! there is one; a name inside never does.

use crate::{Network, PodPort, pod::Pod, soon::Soon};
use parking_lot::RwLock;
use std::{
    collections::HashMap,
    io,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};
use wk_platform::Entropy;

/// Aliases followed before a name is given up as a loop.
const ALIASES_MAX: usize = 8;

/// Longest name a question may have (RFC 1035, section 2.3.4).
const NAME_BYTES_MAX: usize = 253;

/// A name being looked up. Ends with `NotFound` (no such name, or no address),
/// `InvalidInput` (not a name), or what the egress says.
pub type Lookup = Soon<Vec<IpAddr>>;

/// What a name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// These addresses.
    Addresses(Vec<IpAddr>),
    /// Whatever that name stands for.
    Alias(String),
}

/// All names at one instant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NameTable {
    zone: String,
    records: HashMap<String, Record>,
}

impl NameTable {
    /// An empty table that answers for everything under `zone`, for instance
    /// `cluster.local`.
    pub fn new(zone: &str) -> Self {
        Self { zone: normal(zone), records: HashMap::new() }
    }

    /// Adds a full name; the last one wins.
    pub fn insert(&mut self, name: &str, record: Record) {
        self.records.insert(normal(name), record);
    }

    /// What a full name stands for.
    pub fn get(&self, name: &str) -> Option<&Record> {
        self.records.get(&normal(name))
    }

    /// How many names there are.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    fn is_in_zone(&self, name: &str) -> bool {
        let above = name.strip_suffix(self.zone.as_str());
        !self.zone.is_empty() && above.is_some_and(|above| above.is_empty() || above.ends_with('.'))
    }

    /// Follows aliases from a full name in normal form.
    fn answer(&self, name: &str) -> Answer {
        let mut name = name.to_owned();
        for _ in 0..ALIASES_MAX {
            match self.records.get(&name) {
                Some(Record::Addresses(addresses)) => return Answer::Addresses(addresses.clone()),
                Some(Record::Alias(target)) => name = normal(target),
                None if self.is_in_zone(&name) => return Answer::Nothing,
                None => return Answer::Outside(name),
            }
        }
        Answer::Nothing
    }
}

/// What the table knows of a full name.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Addresses(Vec<IpAddr>),
    Nothing,
    /// Not for this table to say.
    Outside(String),
}

/// How a pod looks names up: its `resolv.conf` and `hosts`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolver {
    /// Domains tried after a short name, in order.
    pub searches: Vec<String>,
    /// A name with at least this many dots is tried as it is first.
    pub dots_min: usize,
    /// Names that need no table.
    pub hosts: Vec<(String, IpAddr)>,
}

impl Default for Resolver {
    /// `resolv.conf` without options.
    fn default() -> Self {
        Self { searches: Vec::new(), dots_min: 1, hosts: Vec::new() }
    }
}

impl Resolver {
    /// The full names that `name` may mean, in the order they are tried.
    fn candidates(&self, name: &str) -> Vec<String> {
        if let Some(full) = name.strip_suffix('.') {
            return vec![normal(full)];
        }
        let searched = self.searches.iter().map(|domain| normal(&format!("{name}.{domain}")));
        let as_it_is = std::iter::once(normal(name));
        match name.matches('.').count() >= self.dots_min {
            true => as_it_is.chain(searched).collect(),
            false => searched.chain(as_it_is).collect(),
        }
    }

    fn host(&self, name: &str) -> Vec<IpAddr> {
        let name = normal(name);
        let same = |(host, _): &&(String, IpAddr)| normal(host) == name;
        self.hosts.iter().filter(same).map(|(_, address)| *address).collect()
    }
}

/// The table in force.
pub(crate) struct Names {
    table: RwLock<Arc<NameTable>>,
    entropy: Entropy,
}

impl Names {
    pub fn new(entropy: Entropy) -> Self {
        Self { table: RwLock::default(), entropy }
    }

    pub fn replace(&self, table: NameTable) {
        *self.table.write() = Arc::new(table);
    }

    pub fn table(&self) -> Arc<NameTable> {
        self.table.read().clone()
    }

    /// Turns the list so that clients that take the first address spread.
    fn turned(&self, mut addresses: Vec<IpAddr>) -> Vec<IpAddr> {
        let by = usize::try_from(self.entropy.below(addresses.len() as u64)).unwrap_or(0);
        addresses.rotate_left(by);
        addresses
    }
}

impl PodPort {
    /// Looks a name up as this pod: addresses as text, its own host name,
    /// `localhost`, its hosts, then the search list over the table.
    pub fn resolve(&self, name: &str) -> Lookup {
        let pod = self.pod();
        match local(pod, name) {
            Ok(addresses) if addresses.is_empty() => pod.network.look_up(pod.config.resolver.candidates(name)),
            local => Soon::done(local),
        }
    }
}

/// What the pod knows by itself; empty when it does not.
///
/// # Errors
/// `InvalidInput` for what cannot be a name.
fn local(pod: &Pod, name: &str) -> io::Result<Vec<IpAddr>> {
    if let Ok(address) = name.parse() {
        return Ok(vec![address]);
    }
    if !is_name(name) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let hosts = pod.config.resolver.host(name);
    match normal(name) {
        _ if !hosts.is_empty() => Ok(hosts),
        name if name == "localhost" => Ok(vec![Ipv4Addr::LOCALHOST.into()]),
        name if name == normal(&pod.config.hostname) => Ok(vec![pod.address.into()]),
        _ => Ok(Vec::new()),
    }
}

impl Network {
    /// Replaces all names.
    pub fn set_names(&self, table: NameTable) {
        self.shared.names.replace(table);
    }

    /// The names in force.
    pub fn names(&self) -> Arc<NameTable> {
        self.shared.names.table()
    }

    /// The first of these full names that has an answer.
    fn look_up(&self, candidates: Vec<String>) -> Lookup {
        let table = self.names();
        let mut outside = Vec::new();
        for name in &candidates {
            match table.answer(name) {
                Answer::Addresses(found) if !found.is_empty() => {
                    return Soon::done(Ok(self.shared.names.turned(found)));
                }
                Answer::Addresses(_) | Answer::Nothing => {}
                Answer::Outside(name) => outside.push(name),
            }
        }
        match (&self.shared.egress, outside.is_empty()) {
            (Some(egress), false) => {
                let egress = egress.clone();
                Soon::waiting(async move {
                    for name in outside {
                        match egress.resolve(name).await {
                            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                            answer => return answer,
                        }
                    }
                    Err(io::ErrorKind::NotFound.into())
                })
            }
            (None, _) | (_, true) => Soon::done(Err(io::ErrorKind::NotFound.into())),
        }
    }
}

/// Lower case, without the final dot.
fn normal(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

/// Whether `name` can be asked for at all. Underscores are allowed, as in
/// `_http._tcp`.
fn is_name(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    let is_letter = |letter: u8| letter.is_ascii_alphanumeric() || matches!(letter, b'-' | b'_');
    let is_label = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(is_letter);
    name.len() <= NAME_BYTES_MAX && name.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Config, Egress, PodConfig};
    use std::io::ErrorKind::{InvalidInput, NotFound};
    use wk_platform::TaskGroup;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("valid")
    }

    fn pod_of(network: &Network) -> PodPort {
        let searches = ["default.svc.cluster.local", "svc.cluster.local", "cluster.local"].map(str::to_owned).to_vec();
        let hosts = vec![("db.example".to_owned(), ip("192.0.2.7"))];
        let resolver = Resolver { searches, dots_min: 5, hosts };
        let config = PodConfig { hostname: "web-0".to_owned(), resolver };
        network.attach("10.244.1.0/24".parse().expect("valid"), config).expect("room")
    }

    fn table() -> NameTable {
        let mut table = NameTable::new("cluster.local.");
        let mut add = |name: &str, record| table.insert(name, record);
        add("web.default.svc.cluster.local", Record::Addresses(vec![ip("10.96.0.1")]));
        add("Web.other.svc.cluster.local.", Record::Addresses(vec![ip("10.96.0.2")]));
        add("none.default.svc.cluster.local", Record::Addresses(Vec::new()));
        add("mail.default.svc.cluster.local", Record::Alias("mail.example.org".to_owned()));
        add("same.default.svc.cluster.local", Record::Alias("web.other.svc.cluster.local".to_owned()));
        add("loop.default.svc.cluster.local", Record::Alias("loop.default.svc.cluster.local".to_owned()));
        table
    }

    async fn resolve(pod: &PodPort, name: &str) -> Result<Vec<String>, io::ErrorKind> {
        let addresses = pod.resolve(name).await.map_err(|error| error.kind())?;
        Ok(addresses.iter().map(IpAddr::to_string).collect())
    }

    #[tokio::test]
    async fn names_are_found_through_the_search_list() {
        let network = Network::new(Config::new(Entropy::seeded(1)));
        let pod = pod_of(&network);
        network.set_names(table());
        let one = |address: &str| Ok(vec![address.to_owned()]);
        assert_eq!(resolve(&pod, "web").await, one("10.96.0.1"));
        assert_eq!(resolve(&pod, "WEB.default").await, one("10.96.0.1"));
        assert_eq!(resolve(&pod, "web.other").await, one("10.96.0.2"));
        assert_eq!(resolve(&pod, "web.other.svc").await, one("10.96.0.2"));
        assert_eq!(resolve(&pod, "web.other.svc.cluster.local").await, one("10.96.0.2"));
        assert_eq!(resolve(&pod, "web.other.svc.cluster.local.").await, one("10.96.0.2"));
        assert_eq!(resolve(&pod, "same").await, one("10.96.0.2"));
        for missing in ["web.", "nobody", "none", "loop", "mail", "web.nowhere", "example.org"] {
            assert_eq!(resolve(&pod, missing).await, Err(NotFound), "{missing}");
        }
    }

    #[tokio::test]
    async fn a_pod_knows_itself_its_hosts_and_addresses() {
        let network = Network::new(Config::new(Entropy::seeded(1)));
        let pod = pod_of(&network);
        let own = pod.address().to_string();
        for (name, address) in [
            ("localhost", "127.0.0.1"),
            ("web-0", own.as_str()),
            ("DB.example", "192.0.2.7"),
            ("192.0.2.1", "192.0.2.1"),
            ("::1", "::1"),
        ] {
            assert_eq!(resolve(&pod, name).await, Ok(vec![address.to_owned()]), "{name}");
        }
        let long = "a".repeat(64);
        for name in ["", ".", "a..b", "a b", "bücher.example", long.as_str()] {
            assert_eq!(resolve(&pod, name).await, Err(InvalidInput), "{name}");
        }
    }

    #[tokio::test]
    async fn only_names_outside_the_zone_leave_the_cluster() {
        let egress = Egress::new(TaskGroup::new(), |_| Box::pin(async { Err(NotFound.into()) })).with_names(|name| {
            Box::pin(
                async move { Ok(vec![if name == "mail.example.org" { ip("192.0.2.1") } else { ip("192.0.2.9") }]) },
            )
        });
        let network = Network::new(Config { egress: Some(egress), ..Config::new(Entropy::seeded(1)) });
        let pod = pod_of(&network);
        network.set_names(table());
        assert_eq!(resolve(&pod, "mail").await, Ok(vec!["192.0.2.1".to_owned()]), "an alias leads outside");
        assert_eq!(resolve(&pod, "example.org").await, Ok(vec!["192.0.2.9".to_owned()]));
        assert_eq!(resolve(&pod, "nobody.default.svc.cluster.local").await, Err(NotFound));
    }

    #[test]
    fn dots_decide_what_is_tried_first() {
        let resolver = Resolver { searches: vec!["a".to_owned(), "b".to_owned()], dots_min: 2, hosts: Vec::new() };
        assert_eq!(resolver.candidates("x.y"), ["x.y.a", "x.y.b", "x.y"]);
        assert_eq!(resolver.candidates("x.y.z"), ["x.y.z", "x.y.z.a", "x.y.z.b"]);
        assert_eq!(resolver.candidates("x."), ["x"]);
    }

    #[test]
    fn a_zone_ends_at_a_dot() {
        let table = NameTable::new("cluster.local");
        assert_eq!(table.answer("x.cluster.local"), Answer::Nothing);
        assert_eq!(table.answer("x.mycluster.local"), Answer::Outside("x.mycluster.local".to_owned()));
    }
}
