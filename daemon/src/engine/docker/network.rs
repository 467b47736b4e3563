//! User-defined networks through bollard (D-213).

use std::collections::{BTreeMap, HashMap};

use bollard::{
    Docker,
    errors::Error,
    models::NetworkCreateRequest,
    query_parameters::{InspectNetworkOptions, ListNetworksOptions},
};

use super::super::ListedNetwork;

/// Looks first, which is the usual case. Whoever calls sees to it that nobody else makes the same network meanwhile: an engine makes a
/// second one of that name (seen on 20.10).
pub(super) async fn ensure(client: &Docker, name: &str, labels: &BTreeMap<String, String>) -> Result<(), Error> {
    match client.inspect_network(name, None::<InspectNetworkOptions>).await {
        Ok(_) => return Ok(()),
        Err(Error::DockerResponseServerError { status_code: 404, .. }) => {}
        Err(error) => return Err(error),
    }
    let request = NetworkCreateRequest {
        name: name.to_owned(),
        driver: Some("bridge".to_owned()),
        labels: Some(labels.clone().into_iter().collect()),
        ..NetworkCreateRequest::default()
    };
    match client.create_network(request).await {
        Ok(_) => Ok(()),
        // It was made in between, by an engine that minds.
        Err(Error::DockerResponseServerError { status_code: 409, .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

pub(super) async fn list(client: &Docker, filters: HashMap<String, Vec<String>>) -> Result<Vec<ListedNetwork>, Error> {
    let found = client.list_networks(Some(ListNetworksOptions { filters: Some(filters) })).await?;
    let listed = found.into_iter().filter_map(|network| {
        let labels = network.labels.unwrap_or_default().into_iter().collect();
        Some(ListedNetwork { name: network.name?, labels })
    });
    Ok(listed.collect())
}
