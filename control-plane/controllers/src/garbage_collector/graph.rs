//! Who owns whom, as the watches have shown it, and what to look at when that
//! changes. Pure; nothing here deletes (upstream: `graph_builder.go`).
//!
//! An owner that is only known from a reference is *virtual*: it may be gone, or
//! its watch may be behind. It is examined; if the API server has it, it stays.

use super::{FOREGROUND, ORPHAN};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use std::{
    collections::{BTreeSet, HashMap, HashSet},
    fmt::{self, Display},
};

/// Everything needed to find an object again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Group and version.
    pub api_version: String,
    /// Its kind.
    pub kind: String,
    /// Empty for cluster-scoped kinds.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
    /// `metadata.uid`.
    pub uid: String,
}

impl Identity {
    /// The owner that a dependent in `namespace` refers to. It is in the same
    /// namespace, unless its kind has none.
    pub fn of_owner(owner: &OwnerReference, namespace: &str) -> Self {
        Self {
            api_version: owner.api_version.clone(),
            kind: owner.kind.clone(),
            namespace: namespace.to_owned(),
            name: owner.name.clone(),
            uid: owner.uid.clone(),
        }
    }
}

impl Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{} ({})", self.kind, self.namespace, self.name, self.uid)
    }
}

/// Something to do, by UID.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Work {
    /// See whether it has to go.
    Examine(String),
    /// Let go of what it owns.
    Orphan(String),
}

/// An object in the graph.
#[derive(Clone, Debug)]
pub struct Node {
    /// How to find it.
    pub identity: Identity,
    owners: Vec<OwnerReference>,
    dependents: BTreeSet<String>,
    is_virtual: bool,
    is_deleting: bool,
    waits_for_dependents: bool,
    orphans_dependents: bool,
}

impl Node {
    fn virtual_owner(identity: Identity) -> Self {
        Self {
            identity,
            owners: Vec::new(),
            dependents: BTreeSet::new(),
            is_virtual: true,
            is_deleting: false,
            waits_for_dependents: false,
            orphans_dependents: false,
        }
    }

    /// Whether it keeps its owner `uid` from going in the foreground.
    pub fn blocks(&self, uid: &str) -> bool {
        self.owners.iter().any(|owner| owner.uid == uid && owner.block_owner_deletion == Some(true))
    }

    /// Whether it is itself waiting for what it owns.
    pub fn is_deleting_dependents(&self) -> bool {
        self.is_deleting && self.waits_for_dependents
    }
}

/// Every object that was seen or referred to.
#[derive(Debug, Default)]
pub struct Graph {
    nodes: HashMap<String, Node>,
}

impl Graph {
    /// An object, as known.
    pub fn get(&self, uid: &str) -> Option<Node> {
        self.nodes.get(uid).cloned()
    }

    /// What an object owns.
    pub fn dependents(&self, uid: &str) -> Vec<Node> {
        let dependents = self.nodes.get(uid).into_iter().flat_map(|node| &node.dependents);
        dependents.filter_map(|uid| self.nodes.get(uid).cloned()).collect()
    }

    /// Objects of a kind that a new list does not contain. Virtual ones are not
    /// among them: nobody has seen them.
    pub fn others_of(&self, api_version: &str, kind: &str, listed: &HashSet<String>) -> Vec<String> {
        let of_kind = self
            .nodes
            .values()
            .filter(|node| !node.is_virtual && node.identity.api_version == api_version && node.identity.kind == kind);
        of_kind.map(|node| node.identity.uid.clone()).filter(|uid| !listed.contains(uid)).collect()
    }

    /// An object was seen.
    pub fn put(&mut self, identity: Identity, metadata: &ObjectMeta) -> Vec<Work> {
        let uid = identity.uid.clone();
        let owners = metadata.owner_references.clone().unwrap_or_default();
        let has = |name: &str| metadata.finalizers.iter().flatten().any(|finalizer| finalizer == name);
        let mut work = self.link(&uid, &identity.namespace, &owners);
        let node = self.nodes.entry(uid.clone()).or_insert_with(|| Node::virtual_owner(identity.clone()));
        let (was_waiting, was_orphaning) = (node.is_deleting_dependents(), node.is_deleting && node.orphans_dependents);
        node.identity = identity;
        node.owners = owners;
        node.is_virtual = false;
        node.is_deleting = metadata.deletion_timestamp.is_some();
        node.waits_for_dependents = has(FOREGROUND);
        node.orphans_dependents = has(ORPHAN);
        if node.is_deleting && node.orphans_dependents && !was_orphaning {
            work.push(Work::Orphan(uid.clone()));
        }
        if node.is_deleting_dependents() && !was_waiting {
            work.extend(node.dependents.iter().cloned().map(Work::Examine));
            work.push(Work::Examine(uid));
        }
        work
    }

    /// Brings the owners' lists of dependents in line. Owners that were lost may
    /// have waited for this; owners nobody has seen may not exist.
    fn link(&mut self, uid: &str, namespace: &str, owners: &[OwnerReference]) -> Vec<Work> {
        let before = self.nodes.get(uid).map(|node| node.owners.clone()).unwrap_or_default();
        let mut work = Vec::new();
        for owner in owners {
            let node = self.nodes.entry(owner.uid.clone()).or_insert_with(|| {
                work.push(Work::Examine(owner.uid.clone()));
                Node::virtual_owner(Identity::of_owner(owner, namespace))
            });
            let is_new = node.dependents.insert(uid.to_owned());
            if is_new && node.is_deleting_dependents() {
                work.push(Work::Examine(uid.to_owned()));
            }
        }
        for lost in before.iter().filter(|old| !owners.iter().any(|owner| owner.uid == old.uid)) {
            work.extend(self.unlink(uid, &lost.uid));
        }
        let unblocked = |old: &&OwnerReference| {
            old.block_owner_deletion == Some(true)
                && owners.iter().any(|new| new.uid == old.uid && new.block_owner_deletion != Some(true))
        };
        work.extend(before.iter().filter(unblocked).map(|old| Work::Examine(old.uid.clone())));
        work
    }

    fn unlink(&mut self, uid: &str, owner: &str) -> Option<Work> {
        let node = self.nodes.get_mut(owner)?;
        node.dependents.remove(uid);
        if node.is_virtual && node.dependents.is_empty() {
            self.nodes.remove(owner);
            return None;
        }
        node.is_deleting_dependents().then(|| Work::Examine(owner.to_owned()))
    }

    /// An object is gone: what it owned has to be examined, and owners that
    /// waited for it too.
    pub fn remove(&mut self, uid: &str) -> Vec<Work> {
        let Some(node) = self.nodes.remove(uid) else { return Vec::new() };
        let mut work: Vec<Work> = node.owners.iter().filter_map(|owner| self.unlink(uid, &owner.uid)).collect();
        work.extend(node.dependents.iter().cloned().map(Work::Examine));
        work
    }
}

/// How an owner stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is there.
    Solid,
    /// It is there and only waits for what it owns.
    WaitsForDependents,
    /// It is gone.
    Absent,
}

/// How to delete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// What it owns goes first, since its owner waits for all of it.
    Foreground,
    /// As its own finalizers say.
    AsMarked,
}

/// What becomes of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It stays as it is.
    Keep,
    /// It stays without these owners.
    Disown(Vec<String>),
    /// It goes.
    Delete(Manner),
}

/// One solid owner is enough to stay; without any owner nobody decides.
pub fn verdict(owners: &[(String, Standing)], has_dependents: bool) -> Verdict {
    let is = |standing: Standing| owners.iter().any(|(_, other)| *other == standing);
    if owners.is_empty() {
        return Verdict::Keep;
    }
    if is(Standing::Solid) {
        let rest = owners.iter().filter(|(_, standing)| *standing != Standing::Solid);
        let rest: Vec<String> = rest.map(|(uid, _)| uid.clone()).collect();
        return if rest.is_empty() { Verdict::Keep } else { Verdict::Disown(rest) };
    }
    if is(Standing::WaitsForDependents) && has_dependents {
        return Verdict::Delete(Manner::Foreground);
    }
    Verdict::Delete(Manner::AsMarked)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn identity(uid: &str) -> Identity {
        let (api_version, kind) = ("apps/v1".to_owned(), "ReplicaSet".to_owned());
        Identity { api_version, kind, namespace: "default".to_owned(), name: uid.to_owned(), uid: uid.to_owned() }
    }

    fn owned_by(owners: &[&str]) -> ObjectMeta {
        let owners = owners.iter().map(|uid| OwnerReference {
            uid: (*uid).to_owned(),
            block_owner_deletion: Some(true),
            ..OwnerReference::default()
        });
        ObjectMeta { owner_references: Some(owners.collect()), ..ObjectMeta::default() }
    }

    fn deleting(finalizer: &str) -> ObjectMeta {
        serde_json::from_value(json!({"deletionTimestamp": "2024-01-01T00:00:00Z", "finalizers": [finalizer]}))
            .expect("metadata")
    }

    fn examine(uid: &str) -> Work {
        Work::Examine(uid.to_owned())
    }

    #[test]
    fn what_a_gone_object_owned_is_examined() {
        let mut graph = Graph::default();
        assert_eq!(graph.put(identity("rs"), &ObjectMeta::default()), []);
        assert_eq!(graph.put(identity("pod"), &owned_by(&["rs"])), []);
        assert_eq!(graph.remove("rs"), [examine("pod")]);
    }

    #[test]
    fn an_owner_nobody_has_seen_is_examined() {
        let mut graph = Graph::default();
        assert_eq!(graph.put(identity("pod"), &owned_by(&["ghost"])), [examine("ghost")]);
        assert_eq!(graph.put(identity("other"), &owned_by(&["ghost"])), [], "once");
        assert_eq!(graph.remove("ghost"), [examine("other"), examine("pod")]);
    }

    #[test]
    fn a_foreground_deletion_examines_dependents_and_each_of_them_the_owner() {
        let mut graph = Graph::default();
        graph.put(identity("rs"), &ObjectMeta::default());
        graph.put(identity("pod"), &owned_by(&["rs"]));
        assert_eq!(graph.put(identity("rs"), &deleting(FOREGROUND)), [examine("pod"), examine("rs")]);
        assert_eq!(graph.put(identity("rs"), &deleting(FOREGROUND)), [], "only at the transition");
        assert!(graph.dependents("rs")[0].blocks("rs"));
        assert_eq!(graph.remove("pod"), [examine("rs")]);
    }

    #[test]
    fn an_orphaning_deletion_is_its_own_work() {
        let mut graph = Graph::default();
        graph.put(identity("rs"), &ObjectMeta::default());
        assert_eq!(graph.put(identity("rs"), &deleting(ORPHAN)), [Work::Orphan("rs".to_owned())]);
    }

    #[test]
    fn a_new_list_names_those_that_went_meanwhile() {
        let mut graph = Graph::default();
        graph.put(identity("a"), &owned_by(&["ghost"]));
        graph.put(identity("b"), &ObjectMeta::default());
        let listed = HashSet::from(["b".to_owned()]);
        assert_eq!(graph.others_of("apps/v1", "ReplicaSet", &listed), ["a"]);
    }

    #[test]
    fn one_solid_owner_keeps_an_object() {
        let owner = |standing| (format!("{standing:?}"), standing);
        let (solid, waits, absent) =
            (owner(Standing::Solid), owner(Standing::WaitsForDependents), owner(Standing::Absent));
        assert_eq!(verdict(&[], false), Verdict::Keep);
        assert_eq!(verdict(std::slice::from_ref(&solid), false), Verdict::Keep);
        assert_eq!(verdict(&[solid, absent.clone()], false), Verdict::Disown(vec!["Absent".to_owned()]));
        assert_eq!(verdict(&[absent], true), Verdict::Delete(Manner::AsMarked));
        assert_eq!(verdict(std::slice::from_ref(&waits), true), Verdict::Delete(Manner::Foreground));
        assert_eq!(verdict(&[waits], false), Verdict::Delete(Manner::AsMarked));
    }
}
