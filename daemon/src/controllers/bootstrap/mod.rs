//! What is there from the start: four namespaces, the node, the API's own service, and in each namespace the default service account and the
//! server's certificate authority (W-185, W-190). The last two come back when somebody deletes them, as on any cluster.

use std::{collections::BTreeSet, sync::Arc};

use jobd_api::{
    object::Object,
    registry::Kind,
    write::{self, Context, Prepared},
};
use serde_json::{Value, json};

use super::{
    edit::{self, Meta},
    listing::{self, CHUNK},
};
use crate::{
    driver::{Controller, Error, Next},
    store::{self, Change, ChangeType, Guard, Key, ListQuery, Request, Store},
    sys::{Now, SharedRandom},
};

mod node;

pub use node::NodeFacts;

/// The namespaces of every cluster.
const NAMESPACES: [&str; 4] = ["default", "kube-system", "kube-public", "kube-node-lease"];
const SERVICE_ACCOUNT: &str = "default";
const ROOT_CA: &str = "kube-root-ca.crt";
const OWN_SERVICE: &str = "kubernetes";
const DEFAULT_NAMESPACE: &str = "default";

/// Makes what is missing at a start, and tells the node anew. Afterwards the server may answer.
///
/// # Errors
/// When the store fails.
pub async fn ensure(
    store: &Store,
    objects: &DefaultObjects,
    random: &SharedRandom,
    node: &NodeFacts,
    now: Now,
) -> Result<(), Error> {
    for namespace in NAMESPACES {
        let body = object(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}));
        ensure_absent_is_made(store, Kind::Namespace, "", body, random, now).await?;
        objects.reconcile(&namespace.to_owned(), now).await?;
    }
    ensure_node(store, random, node, now).await
}

/// Tells the node object what the machine and its engine say now.
///
/// # Errors
/// When the store fails.
pub async fn ensure_node(store: &Store, random: &SharedRandom, facts: &NodeFacts, now: Now) -> Result<(), Error> {
    let key = Key::new(Kind::Node, "", &*facts.name);
    match store.get(&key).await? {
        None => ensure_absent_is_made(store, Kind::Node, "", facts.create(now.wall), random, now).await,
        Some(stored) => {
            let old = stored.object()?;
            let new = facts.update(&old, now.wall);
            edit::commit(store, edit::update(&stored, &old, new).into_iter().collect()).await
        }
    }
}

/// Creates an object unless one of that name exists.
async fn ensure_absent_is_made(
    store: &Store,
    kind: Kind,
    namespace: &str,
    body: Object,
    random: &SharedRandom,
    now: Now,
) -> Result<(), Error> {
    let key = Key::new(kind, namespace, body.name());
    if store.get(&key).await?.is_some() {
        return Ok(());
    }
    let prepared = prepare(kind, namespace, body, random, now)?;
    let mut guards = vec![Guard::Absent(key.clone())];
    if !namespace.is_empty() {
        guards.push(Guard::NamespaceActive(namespace.to_owned()));
    }
    match store.write(Request { guards, writes: vec![edit::put(key, prepared)], urgent: false }).await {
        // Somebody was faster, or took the namespace away: both are as good.
        Ok(_)
        | Err(
            store::Error::AlreadyExists { .. }
            | store::Error::NamespaceMissing { .. }
            | store::Error::NamespaceTerminating { .. },
        ) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn prepare(kind: Kind, namespace: &str, body: Object, random: &SharedRandom, now: Now) -> Result<Prepared, Error> {
    let status = body.0.get("status").cloned();
    let name = body.name().to_owned();
    let context = &mut Context { now: now.wall, random: &mut &*random };
    let mut prepared = write::create_own(kind.resource(), namespace, body, context)
        .map_err(|status| Error::Other(format!("create {} {name}: {status}", kind.as_str())))?;
    // A client's status may be dropped at creation; this one is ours to say.
    if let Some(status) = status {
        prepared.object.0.insert("status".to_owned(), status);
    }
    Ok(prepared)
}

fn object(value: &Value) -> Object {
    Object(value.as_object().cloned().unwrap_or_default())
}

/// Keeps the default service account and the CA's config map in each namespace.
pub struct DefaultObjects {
    store: Store,
    random: Arc<SharedRandom>,
    ca_pem: String,
}

impl DefaultObjects {
    #[must_use]
    pub fn new(store: Store, random: Arc<SharedRandom>, ca_pem: String) -> Self {
        Self { store, random, ca_pem }
    }

    async fn ensure_service_account(&self, namespace: &str, now: Now) -> Result<(), Error> {
        let body = object(&json!({
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": SERVICE_ACCOUNT, "namespace": namespace},
        }));
        ensure_absent_is_made(&self.store, Kind::ServiceAccount, namespace, body, &self.random, now).await
    }

    /// The name of the API: clients ask for it to see whether a cluster answers. Without an address, as no pod reaches us by one.
    async fn ensure_own_service(&self, now: Now) -> Result<(), Error> {
        let body = object(&json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {
                "name": OWN_SERVICE, "namespace": DEFAULT_NAMESPACE,
                "labels": {"component": "apiserver", "provider": "kubernetes"},
            },
            "spec": {
                "clusterIP": "None",
                "ports": [{"name": "https", "protocol": "TCP", "port": 443, "targetPort": 6443}],
            },
        }));
        ensure_absent_is_made(&self.store, Kind::Service, DEFAULT_NAMESPACE, body, &self.random, now).await
    }

    async fn ensure_root_ca(&self, namespace: &str, now: Now) -> Result<(), Error> {
        let data = json!({"ca.crt": self.ca_pem});
        let Some(stored) = self.store.get(&Key::new(Kind::ConfigMap, namespace, ROOT_CA)).await? else {
            let body = object(&json!({
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": ROOT_CA, "namespace": namespace},
                "data": data,
            }));
            return ensure_absent_is_made(&self.store, Kind::ConfigMap, namespace, body, &self.random, now).await;
        };
        let old = stored.object()?;
        let mut new = old.clone();
        new.0.insert("data".to_owned(), data);
        edit::commit(&self.store, edit::update(&stored, &old, new).into_iter().collect()).await
    }

    /// The namespaces in which an object with this name exists.
    async fn namespaces_with(&self, kind: Kind, name: &str) -> Result<BTreeSet<String>, Error> {
        let query = ListQuery { name: Some(name.to_owned()), ..ListQuery::all(kind, CHUNK) };
        let mut namespaces = BTreeSet::new();
        listing::each(&self.store, query, |object| {
            namespaces.insert(object.key.namespace);
        })
        .await?;
        Ok(namespaces)
    }
}

impl Controller for DefaultObjects {
    const NAME: &'static str = "default-objects";
    type Key = String;

    fn wakes(&self, change: &Change) -> Vec<String> {
        let name = change.key.name.as_str();
        match (change.key.kind, change.change_type) {
            (Kind::Namespace, ChangeType::Created) => vec![name.to_owned()],
            (Kind::ServiceAccount, ChangeType::Deleted) if name == SERVICE_ACCOUNT => {
                vec![change.key.namespace.clone()]
            }
            (Kind::ConfigMap, ChangeType::Modified | ChangeType::Deleted) if name == ROOT_CA => {
                vec![change.key.namespace.clone()]
            }
            (Kind::Service, ChangeType::Deleted)
                if name == OWN_SERVICE && change.key.namespace == DEFAULT_NAMESPACE =>
            {
                vec![change.key.namespace.clone()]
            }
            _ => Vec::new(),
        }
    }

    async fn active(&self) -> Result<Vec<String>, Error> {
        let accounts = self.namespaces_with(Kind::ServiceAccount, SERVICE_ACCOUNT).await?;
        let authorities = self.namespaces_with(Kind::ConfigMap, ROOT_CA).await?;
        let services = self.namespaces_with(Kind::Service, OWN_SERVICE).await?;
        let mut lacking = Vec::new();
        let lacks = |name: &String| {
            let lacks_service = name == DEFAULT_NAMESPACE && !services.contains(name);
            !accounts.contains(name) || !authorities.contains(name) || lacks_service
        };
        // Only what lacks something is work: namespaces that have it all need no resync (I-11).
        let namespaces = ListQuery::all(Kind::Namespace, CHUNK);
        listing::each(&self.store, namespaces, |namespace| {
            lacking.extend(Some(namespace.key.name).filter(&lacks));
        })
        .await?;
        Ok(lacking)
    }

    async fn reconcile(&self, namespace: &String, now: Now) -> Result<Next, Error> {
        let stored = self.store.get(&Key::new(Kind::Namespace, "", &**namespace)).await?;
        let Some(stored) = stored else { return Ok(Next::Idle) };
        if Meta::read(&stored)?.is_deleting() {
            return Ok(Next::Idle);
        }
        self.ensure_service_account(namespace, now).await?;
        self.ensure_root_ca(namespace, now).await?;
        if namespace == DEFAULT_NAMESPACE {
            self.ensure_own_service(now).await?;
        }
        Ok(Next::Idle)
    }
}
