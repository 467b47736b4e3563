//! What the pods that are placed on the node take of it. Pure.
#![deny(clippy::disallowed_methods)]

use std::collections::BTreeMap;

use super::facts::{Amounts, HostPort, PodFacts};

/// Sums over the placed pods, kept as they come and go: a decision never looks at all of them (I-5).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Usage {
    pub(super) pods: u32,
    pub(super) requests: Amounts,
    /// With how many pods have it: pods that were given their node by others may share one.
    pub(super) host_ports: BTreeMap<HostPort, u32>,
}

impl Usage {
    pub(super) fn add(&mut self, pod: &PodFacts) {
        self.pods += 1;
        self.requests.add(&pod.requests);
        for port in &pod.host_ports {
            *self.host_ports.entry(port.clone()).or_default() += 1;
        }
    }

    /// Takes off what [`Self::add`] added for the same amounts.
    pub(super) fn remove(&mut self, requests: &Amounts, host_ports: &[HostPort]) {
        self.pods = self.pods.saturating_sub(1);
        self.requests.subtract(requests);
        for port in host_ports {
            if let Some(count) = self.host_ports.get_mut(port) {
                *count -= 1;
                if *count == 0 {
                    self.host_ports.remove(port);
                }
            }
        }
    }
}
