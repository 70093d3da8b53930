//! The ports of one pod and one protocol: who holds which.
//!
//! A pure table; `pod.rs` locks it. A port is held per scope, as Linux does:
//! `127.0.0.1:80` and `10.244.0.5:80` may have different holders, `0.0.0.0:80`
//! collides with both.

use std::{collections::HashMap, io, ops::RangeInclusive, sync::Arc};

/// Ports given out when a program asks for any (Linux's default
/// `ip_local_port_range`).
const EPHEMERAL: RangeInclusive<u16> = 32_768..=60_999;

/// Which of a pod's addresses a port is held on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Scope {
    /// 0.0.0.0: every address of the pod.
    Any,
    /// 127.0.0.0/8: only from inside the pod.
    Loopback,
    /// The pod's address on the network.
    Pod,
}

impl Scope {
    fn collides(self) -> &'static [Self] {
        match self {
            Self::Any => &[Self::Any, Self::Loopback, Self::Pod],
            Self::Loopback => &[Self::Any, Self::Loopback],
            Self::Pod => &[Self::Any, Self::Pod],
        }
    }
}

/// Held ports. `None` is a port held without receiving: bound and not yet
/// listening, or the local port of a connection.
pub(crate) struct Ports<T> {
    holders: HashMap<(u16, Scope), Option<Arc<T>>>,
    next_ephemeral: u16,
}

impl<T> Default for Ports<T> {
    fn default() -> Self {
        Self { holders: HashMap::new(), next_ephemeral: *EPHEMERAL.start() }
    }
}

impl<T> Ports<T> {
    /// Holds `port`, or a free one when it is 0.
    ///
    /// # Errors
    /// `AddrInUse`.
    pub fn hold(&mut self, scope: Scope, port: u16) -> io::Result<u16> {
        let port = if port == 0 { self.free_ephemeral(scope) } else { Some(port) };
        let port = port.filter(|port| self.is_free(scope, *port)).ok_or(io::ErrorKind::AddrInUse)?;
        self.holders.insert((port, scope), None);
        Ok(port)
    }

    /// Makes `receiver` get what arrives at a held port.
    pub fn receive(&mut self, scope: Scope, port: u16, receiver: Arc<T>) {
        self.holders.insert((port, scope), Some(receiver));
    }

    /// Lets go of a port and gives back its receiver.
    pub fn release(&mut self, scope: Scope, port: u16) -> Option<Arc<T>> {
        self.holders.remove(&(port, scope)).flatten()
    }

    /// Who gets what arrives at `port` of the pod's `scope` address.
    pub fn find(&self, scope: Scope, port: u16) -> Option<Arc<T>> {
        [scope, Scope::Any].iter().find_map(|scope| self.holders.get(&(port, *scope)).cloned().flatten())
    }

    /// Everyone who receives something.
    pub fn receivers(&self) -> impl Iterator<Item = (Scope, u16, &Arc<T>)> {
        self.holders.iter().filter_map(|((port, scope), holder)| Some((*scope, *port, holder.as_ref()?)))
    }

    fn is_free(&self, scope: Scope, port: u16) -> bool {
        scope.collides().iter().all(|scope| !self.holders.contains_key(&(port, *scope)))
    }

    /// The next free ephemeral port; the cursor makes a port rest before reuse.
    fn free_ephemeral(&mut self, scope: Scope) -> Option<u16> {
        for _ in EPHEMERAL {
            let port = self.next_ephemeral;
            self.next_ephemeral = if port == *EPHEMERAL.end() { *EPHEMERAL.start() } else { port + 1 };
            if self.is_free(scope, port) {
                return Some(port);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::{collections::HashSet, io::ErrorKind::AddrInUse};

    fn scope() -> impl Strategy<Value = Scope> {
        prop_oneof![Just(Scope::Any), Just(Scope::Loopback), Just(Scope::Pod)]
    }

    /// The addresses a scope stands for: two holders of a port share none.
    fn reach(scope: Scope) -> &'static [&'static str] {
        match scope {
            Scope::Any => &["loopback", "pod"],
            Scope::Loopback => &["loopback"],
            Scope::Pod => &["pod"],
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_port_of_an_address_has_one_holder(
            steps in prop::collection::vec((any::<bool>(), scope(), 1_u16..4), 1..100),
        ) {
            let (mut ports, mut held) = (Ports::<()>::default(), HashSet::new());
            for (hold, scope, port) in steps {
                if !hold {
                    ports.release(scope, port);
                    held.remove(&(scope, port));
                    continue;
                }
                let shares = |other: Scope| reach(other).iter().any(|address| reach(scope).contains(address));
                let free = !held.iter().any(|(other, number)| *number == port && shares(*other));
                prop_assert_eq!(ports.hold(scope, port).is_ok(), free);
                if free {
                    held.insert((scope, port));
                }
            }
        }
    }

    #[test]
    fn any_collides_with_each_address_and_addresses_not_with_each_other() {
        let mut ports = Ports::<()>::default();
        ports.hold(Scope::Loopback, 80).expect("free");
        ports.hold(Scope::Pod, 80).expect("another address");
        assert_eq!(ports.hold(Scope::Any, 80).map_err(|error| error.kind()), Err(AddrInUse));
        ports.release(Scope::Loopback, 80);
        ports.release(Scope::Pod, 80);
        ports.hold(Scope::Any, 80).expect("both gone");
        assert_eq!(ports.hold(Scope::Pod, 80).map_err(|error| error.kind()), Err(AddrInUse));
    }

    #[test]
    fn what_arrives_at_an_address_finds_its_own_holder_before_any() {
        let mut ports = Ports::default();
        ports.hold(Scope::Any, 80).expect("free");
        assert_eq!(ports.find(Scope::Pod, 80), None, "held, not receiving");
        ports.receive(Scope::Any, 80, Arc::new("any"));
        assert_eq!(ports.find(Scope::Loopback, 80).as_deref(), Some(&"any"));
        ports.hold(Scope::Loopback, 81).expect("free");
        ports.receive(Scope::Loopback, 81, Arc::new("loopback"));
        assert_eq!(ports.find(Scope::Pod, 81), None, "loopback is not visible from outside");
    }

    #[test]
    fn ephemeral_ports_rest_before_reuse_and_run_out() {
        let mut ports = Ports::<()>::default();
        let first = ports.hold(Scope::Pod, 0).expect("free");
        ports.release(Scope::Pod, first);
        assert_ne!(ports.hold(Scope::Pod, 0).expect("free"), first);
        let rest = EPHEMERAL.count() - 1;
        assert!((0..rest).all(|_| ports.hold(Scope::Pod, 0).is_ok()));
        assert_eq!(ports.hold(Scope::Pod, 0).map_err(|error| error.kind()), Err(AddrInUse));
    }
}
