//! Addresses of a node's pods: which are free in its pod CIDR.
//!
//! A pure structure, one per CIDR, locked by `lib.rs`. A released address comes
//! back as late as possible, so that a client with an old answer from name
//! lookup meets nobody rather than a stranger.

use ipnet::Ipv4Net;
use std::{collections::HashSet, io, net::Ipv4Addr};

/// The addresses of one pod CIDR. The first usable one is the node's own.
pub(crate) struct Range {
    cidr: Ipv4Net,
    taken: HashSet<u32>,
    /// Where the search for the next free address begins.
    cursor: u32,
}

impl Range {
    /// # Errors
    /// `InvalidInput` when there is no room for a node and a pod.
    pub fn new(cidr: Ipv4Net) -> io::Result<Self> {
        if cidr.prefix_len() > 30 {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("pod CIDR {cidr} has no room for a pod")));
        }
        Ok(Self { cidr, taken: HashSet::new(), cursor: 0 })
    }

    /// The node's own address.
    pub fn node(&self) -> Ipv4Addr {
        node_of(self.cidr)
    }

    /// A free address: the one that has been free longest.
    ///
    /// # Errors
    /// `AddrNotAvailable` when every address is taken.
    pub fn take(&mut self) -> io::Result<Ipv4Addr> {
        let (first, count) = self.pods();
        let offset = (0..count).map(|step| (self.cursor + step) % count).find(|offset| !self.taken.contains(offset));
        let offset = offset.ok_or_else(|| {
            io::Error::new(io::ErrorKind::AddrNotAvailable, format!("pod CIDR {} has no free address", self.cidr))
        })?;
        self.taken.insert(offset);
        self.cursor = (offset + 1) % count;
        Ok(Ipv4Addr::from(first + offset))
    }

    /// Gives an address back; again is not an error.
    pub fn release(&mut self, address: Ipv4Addr) {
        self.taken.remove(&u32::from(address).wrapping_sub(self.pods().0));
    }

    /// First address for pods and how many there are: all but network, node and
    /// broadcast.
    fn pods(&self) -> (u32, u32) {
        let first = u32::from(self.cidr.network()) + 2;
        (first, u32::from(self.cidr.broadcast()) - first)
    }
}

/// The address of the node that has this pod CIDR, the source of what the host
/// sends to pods.
pub(crate) fn node_of(cidr: Ipv4Net) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(cidr.network()).saturating_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// `true` takes an address, `false` gives the oldest one back.
        #[test]
        fn an_address_has_one_owner_and_none_is_lost(steps in prop::collection::vec(any::<bool>(), 1..200)) {
            let (mut range, mut given) = (range("10.244.1.0/28"), std::collections::VecDeque::new());
            for take in steps {
                if !take {
                    given.pop_front().into_iter().for_each(|address| range.release(address));
                    continue;
                }
                match range.take() {
                    Ok(address) => {
                        prop_assert!(!given.contains(&address) && range.cidr.contains(&address));
                        given.push_back(address);
                    }
                    Err(_) => prop_assert_eq!(given.len(), 13, "16 without network, node and broadcast"),
                }
            }
        }
    }

    fn range(cidr: &str) -> Range {
        Range::new(cidr.parse().expect("valid")).expect("room")
    }

    #[test]
    fn network_node_and_broadcast_are_never_given_out() {
        let mut range = range("10.244.1.0/29");
        let given: Vec<_> = std::iter::from_fn(|| range.take().ok()).map(|address| address.octets()[3]).collect();
        assert_eq!((given, range.node()), (vec![2, 3, 4, 5, 6], Ipv4Addr::new(10, 244, 1, 1)));
    }

    #[test]
    fn a_released_address_is_the_last_to_come_back() {
        let mut range = range("10.244.1.0/29");
        let first = range.take().expect("free");
        range.release(first);
        range.release(first);
        let next: Vec<_> = (0..5).map(|_| range.take().expect("free")).collect();
        assert_eq!(next.last(), Some(&first));
        assert_eq!(range.take().map_err(|error| error.kind()), Err(io::ErrorKind::AddrNotAvailable));
    }

    #[test]
    fn a_cidr_without_room_is_refused() {
        assert!(Range::new("10.0.0.0/31".parse().expect("valid")).is_err());
    }
}
