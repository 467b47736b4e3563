//! What the server asks the parts when it is asked how they are: `/metrics`, and the checks behind `/livez` and `/readyz`.

use std::sync::Arc;

use futures_util::FutureExt as _;
use jobd_api::registry::Kind;
use tracing::debug;

use crate::{
    engine::Engine,
    metrics,
    node::Node,
    server::{Check, Metrics, Weight},
    store::Store,
};

/// Kinds that have active objects to count.
const COUNTED: [Kind; 2] = [Kind::Job, Kind::Pod];

pub(super) fn metrics<E: Engine>(store: &Store, node: &Node<E>) -> Metrics {
    metrics::start(env!("CARGO_PKG_VERSION"));
    let (store, node) = (store.clone(), node.clone());
    Arc::new(move || {
        let (store, node) = (store.clone(), node.clone());
        async move {
            for kind in COUNTED {
                match store.active(kind).await {
                    Ok(keys) => metrics::controllers::active(kind.as_str(), keys.len()),
                    Err(error) => debug!(error = %error, "active {} were not counted: {error}", kind.as_str()),
                }
            }
            let (pods, containers) = node.count_running();
            metrics::engine::running(pods, containers);
            metrics::engine::up(node.is_connected());
            metrics::render()
        }
        .boxed()
    })
}

/// The checks behind `/livez` and `/readyz`. An engine that is away fails neither: jobs are taken and wait for it.
pub(super) fn health<E: Engine>(store: &Store, node: &Node<E>) -> Vec<Check> {
    let (store, node) = (store.clone(), node.clone());
    vec![
        Check {
            name: "store",
            weight: Weight::Live,
            run: Arc::new(move || store.check().map_err(|error| error.to_string())),
        },
        Check {
            name: "engine",
            weight: Weight::Told,
            run: Arc::new(move || {
                if node.is_connected() { Ok(()) } else { Err("the container engine does not answer".to_owned()) }
            }),
        },
    ]
}
