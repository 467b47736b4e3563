//! Names of pods (D-213): on which network a pod finds others by name, and under which names they find it.
//!
//! A pod with `hostname` and `subdomain` is on a network of its namespace, whose names are answered by the engine; any other is on the
//! engine's default bridge, which costs less and has no names. A network is made with the first such pod of its namespace and goes with the
//! namespace.

use std::collections::{BTreeMap, BTreeSet};

use jobd_api::registry::Kind;
use k8s_openapi::api::core::v1::Pod;
use tracing::debug;

use super::{Shared, chores::Chore, containers::label, lock, spec};
use crate::{
    driver::Error,
    engine::{self, Engine, Network},
    store::{self, Change, ChangeType},
};

/// Where names of services end.
pub(super) const ZONE: &str = "svc.cluster.local";

/// The network of a pod that wants to be found by name; none: it does not.
#[must_use]
pub fn named(pod: &Pod, instance: &str) -> Option<Network> {
    let filled = |field: &Option<String>| field.clone().filter(|text| !text.is_empty());
    let subdomain = filled(&pod.spec.as_ref()?.subdomain)?;
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let short = ZONE.split('.').next().unwrap_or_default();
    // Of all pods of the subdomain together, as a headless service has it.
    let mut aliases: Vec<String> = [
        subdomain.clone(),
        format!("{subdomain}.{namespace}"),
        format!("{subdomain}.{namespace}.{short}"),
        format!("{subdomain}.{namespace}.{ZONE}"),
    ]
    .into();
    // Its own, which a pod without a host name has not.
    if filled(&pod.spec.as_ref()?.hostname).is_some() {
        let host = spec::hostname(pod);
        let own: Vec<String> = aliases.iter().map(|of_all| format!("{host}.{of_all}")).collect();
        aliases.push(host);
        aliases.extend(own);
    }
    Some(Network::Named { network: name(instance, namespace), aliases })
}

/// The deterministic name of a namespace's network.
fn name(instance: &str, namespace: &str) -> String {
    format!("jobd-{instance}-{namespace}")
}

impl<E: Engine> Shared<E> {
    /// The network of a container that is about to be created.
    pub(super) async fn ensure_network(&self, network: &Network, namespace: &str) -> Result<(), engine::Error> {
        let Network::Named { network, aliases: _ } = network else { return Ok(()) };
        let instance = self.facts().instance.clone();
        let labels = [(label::INSTANCE, instance), (label::NAMESPACE, namespace.to_owned())];
        let labels: BTreeMap<String, String> = labels.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        // One after the other: engines make two networks of one name for two who ask at once, and then neither can be named.
        let alone = self.making_network.lock().await;
        self.engine.ensure_network(network, &labels).await?;
        drop(alone);
        lock(&self.networks).insert(namespace.to_owned());
        Ok(())
    }

    /// With a namespace goes its network.
    pub(super) fn notice_namespace(&self, change: &Change) {
        let is_gone = change.key.kind == Kind::Namespace && change.change_type == ChangeType::Deleted;
        if is_gone && lock(&self.networks).contains(&change.key.name) {
            self.chores.add(Chore::CleanNetworks);
        }
    }

    /// Removes the networks of namespaces that are gone. One that is still in use stays until the next time.
    pub(super) async fn clean_networks(&self) -> Result<(), Error> {
        let failed = |error: engine::Error| Error::Other(error.to_string());
        let mut left = BTreeSet::new();
        for found in self.engine.list_networks(&self.label()).await.map_err(failed)? {
            let Some(namespace) = found.labels.get(label::NAMESPACE) else { continue };
            if self.store.get(&store::Key::new(Kind::Namespace, "", namespace)).await?.is_some() {
                left.insert(namespace.clone());
            } else if let Err(error) = self.engine.remove_network(&found.name).await {
                debug!(namespace, error = %error, "network {} stays: {error}", found.name);
                left.insert(namespace.clone());
            }
        }
        *lock(&self.networks) = left;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(spec: &str, want: Option<&[&str]>) {
        let pod = format!(r#"{{"metadata":{{"name":"mesh-1-x7k2p","namespace":"ns"}},"spec":{spec}}}"#);
        let got = named(&serde_json::from_str(&pod).unwrap(), "i");
        let aliases = want.map(|want| want.iter().map(|alias| (*alias).to_owned()).collect());
        assert_eq!(got, aliases.map(|aliases| Network::Named { network: "jobd-i-ns".to_owned(), aliases }));
    }

    #[test]
    fn d_213_a_pod_with_a_subdomain_has_its_names_in_every_form() {
        check(
            r#"{"containers":[],"hostname":"mesh-1","subdomain":"peers"}"#,
            Some(&[
                "peers",
                "peers.ns",
                "peers.ns.svc",
                "peers.ns.svc.cluster.local",
                "mesh-1",
                "mesh-1.peers",
                "mesh-1.peers.ns",
                "mesh-1.peers.ns.svc",
                "mesh-1.peers.ns.svc.cluster.local",
            ]),
        );
    }

    #[test]
    fn d_213_a_pod_without_a_host_name_has_only_those_of_its_subdomain() {
        check(
            r#"{"containers":[],"subdomain":"peers"}"#,
            Some(&["peers", "peers.ns", "peers.ns.svc", "peers.ns.svc.cluster.local"]),
        );
    }

    #[test]
    fn d_212_other_pods_stay_on_the_default_bridge() {
        check(r#"{"containers":[],"hostname":"mesh-1"}"#, None);
        check(r#"{"containers":[],"hostname":"mesh-1","subdomain":""}"#, None);
    }
}
