//! DELETE of one object and of a collection, and eviction (sections 2.13 and 2.21).

use axum::{http::StatusCode, response::Response};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;
use jobd_api::{
    lifecycle::{self, Deletion},
    object::Object,
    registry::Kind,
    status::Status,
};
use k8s_openapi::{api::policy::v1::Eviction, apimachinery::pkg::apis::meta::v1::DeleteOptions};
use serde_json::{Value, json};

use super::{
    Call, body,
    negotiate::Scope,
    pages::Item,
    query::{ListOptions, Query, parse_include_object},
    read, respond,
    selection::is_stored_shape,
    write::TRIES_MAX,
};
use crate::store::{Error, Guard, Key, Request, Revision, Write};

const DELETE_OPTIONS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions";
const EVICTION: &str = "io.k8s.api.policy.v1.Eviction";

/// How many objects of a collection are deleted at once: enough that they share commits, few enough that other writers
/// get their turn.
const DELETES_AT_ONCE: usize = 16;

/// What a delete came to.
enum Outcome {
    /// The object was removed; its final state.
    Removed(Object, Revision),
    /// It is still there, in this state.
    Kept(Object, Revision),
}

/// DELETE of one object.
pub(crate) async fn delete(call: &Call, body: &[u8]) -> Result<Response, Status> {
    let options = options(call, body)?;
    let view = call.view(Scope::One, parse_include_object(&call.query)?)?;
    let (outcome, warnings) = delete_one(call, &call.key(), &options, Why::Delete).await?;
    let resource = call.target.resource;
    let show = |object: Object, revision: Revision| {
        let object = object.with_revision(revision.0);
        let object = if is_stored_shape(resource) { object } else { resource.rules.from_stored(object) };
        view.one_object(&object, call.now())
    };
    let response = match outcome {
        Outcome::Removed(object, _) if answers_status(resource.stored) => {
            let mut details = json!({"name": object.name(), "kind": resource.plural, "uid": object.uid()});
            if !resource.group.is_empty() {
                details["group"] = json!(resource.group);
            }
            respond::value(StatusCode::OK, &success(&details), view.pretty)
        }
        Outcome::Removed(object, revision) => respond::json(StatusCode::OK, show(object, revision)),
        Outcome::Kept(object, revision) => {
            // W-107: the one case in which the reference says that it is not done yet.
            let code = if options.orphan_dependents == Some(false) { StatusCode::ACCEPTED } else { StatusCode::OK };
            respond::json(code, show(object, revision))
        }
    };
    Ok(respond::with_warnings(response, &warnings))
}

/// Whether a removal is answered with a Status; other kinds answer with the object (W-107).
fn answers_status(kind: Kind) -> bool {
    match kind {
        Kind::ConfigMap | Kind::CronJob | Kind::Event | Kind::Job | Kind::Node | Kind::Secret => true,
        Kind::Namespace | Kind::Pod | Kind::PodTemplate | Kind::Service | Kind::ServiceAccount => false,
    }
}

/// A Success Status (S-17).
fn success(details: &Value) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})
}

/// The delete options: from the body if there is one, however empty, else from the query (W-96, W-97).
fn options(call: &Call, body: &[u8]) -> Result<DeleteOptions, Status> {
    let options = if body.is_empty() {
        options_of_query(&call.query)?
    } else {
        body::message(DELETE_OPTIONS, "DeleteOptions", body::format(&call.headers)?, body)?.1
    };
    // Here already, for the object may be absent and the collection empty.
    lifecycle::validate_options(&options)?;
    Ok(options)
}

fn options_of_query(query: &Query) -> Result<DeleteOptions, Status> {
    let dry_run = query.all("dryRun").filter(|value| !value.is_empty()).map(str::to_owned).collect::<Vec<_>>();
    Ok(DeleteOptions {
        propagation_policy: query.filled("propagationPolicy").map(str::to_owned),
        grace_period_seconds: query.integer("gracePeriodSeconds")?,
        orphan_dependents: query.find_flag("orphanDependents"),
        dry_run: Some(dry_run).filter(|values| !values.is_empty()),
        ..DeleteOptions::default()
    })
}

/// What a delete is for.
#[derive(Clone, Copy)]
enum Why {
    Delete,
    Eviction,
}

/// Says in a pod's status that it did not choose its end, in the same write that deletes it (J-2542, J-1104).
fn mark_disrupted(pod: &mut Object, now: Timestamp) {
    let generation = pod.get(&["metadata", "generation"]).cloned();
    let status = pod.0.entry("status").or_insert_with(|| json!({}));
    let Some(Value::Array(conditions)) =
        status.as_object_mut().map(|status| status.entry("conditions").or_insert_with(|| json!([])))
    else {
        return;
    };
    if conditions.iter().any(|one| one["type"] == "DisruptionTarget" && one["status"] == "True") {
        return;
    }
    conditions.retain(|one| one["type"] != "DisruptionTarget");
    let mut condition = json!({
        "type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI",
        "message": "Eviction API: evicting", "lastTransitionTime": jobd_api::time::render(now),
    });
    if let Some(generation) = generation {
        condition["observedGeneration"] = generation;
    }
    conditions.push(condition);
}

/// Reads, decides and commits; again when somebody else wrote in between (preconditions are checked anew each time).
async fn delete_one(
    call: &Call,
    key: &Key,
    options: &DeleteOptions,
    why: Why,
) -> Result<(Outcome, Vec<String>), Status> {
    let resource = call.target.resource;
    let failed = |failure| super::error::of_store(resource, &key.name, failure);
    for attempt in 1.. {
        let stored = call.app.store.get(key).await.map_err(failed)?;
        let stored = stored.ok_or_else(|| Status::not_found(resource, &key.name))?;
        let mut old = stored.object().map_err(failed)?;
        match why {
            Why::Delete => {}
            Why::Eviction => mark_disrupted(&mut old, call.now()),
        }
        let decided = lifecycle::delete(resource, &old, stored.revision.0, options, call.now())?;
        let (prepared, write, removed) = match decided.deletion {
            Deletion::Unchanged => return Ok((Outcome::Kept(old, stored.revision), decided.warnings)),
            Deletion::Remove(prepared) => {
                let write = Write::Delete { key: key.clone(), body: prepared.object.to_stored() };
                (prepared, write, true)
            }
            Deletion::Mark(prepared) => {
                let (index, body) = (prepared.index.clone(), prepared.object.to_stored());
                (prepared, Write::Put { key: key.clone(), index, body }, false)
            }
        };
        let warnings = [decided.warnings, prepared.warnings].concat();
        let outcome = |revision| {
            let outcome = if removed { Outcome::Removed } else { Outcome::Kept };
            outcome(prepared.object, revision)
        };
        if options.dry_run.as_ref().is_some_and(|values| !values.is_empty()) {
            return Ok((outcome(stored.revision), warnings));
        }
        let guards = vec![Guard::Unchanged { key: key.clone(), revision: stored.revision }];
        match call.app.store.write(Request { guards, writes: vec![write], urgent: true }).await {
            Ok(committed) => {
                let revision = committed.revisions.first().copied().unwrap_or(stored.revision);
                return Ok((outcome(revision), warnings));
            }
            Err(Error::Conflict { have: Some(_), .. }) if attempt < TRIES_MAX => {}
            Err(failure) => return Err(failed(failure)),
        }
    }
    Err(Status::internal("no delete was tried"))
}

/// DELETE of a collection: deletes what is selected and answers with the list as it was (W-110). A limit bounds what is deleted, as it
/// bounds what is listed: who asks for one object to go must not lose all.
pub(crate) async fn delete_collection(call: Call, body: &[u8]) -> Result<Response, Status> {
    let delete_options = options(&call, body)?;
    let options = ListOptions::parse(call.target.resource, &call.query)?;
    let view = call.view(Scope::List, options.include_object)?;
    let page = read::Page::of(&call, &options).await?;
    let mut reader = page.reader(&call.app);
    let mut warnings = Vec::new();
    while let Some(items) = reader.next().await.map_err(|failure| page.refuse(failure, &call))? {
        warnings.extend(delete_items(&call, items, &delete_options).await?);
        warnings.dedup();
    }
    let seen = page.at(reader.revision());
    let listed = seen.reader(&call.app);
    let response = read::stream_list(call, view, listed, |failure, call| seen.refuse(failure, call)).await?;
    Ok(respond::with_warnings(response, &warnings))
}

async fn delete_items(call: &Call, items: Vec<Item>, options: &DeleteOptions) -> Result<Vec<String>, Status> {
    let deletes = items.into_iter().map(|item| async move {
        match delete_one(call, &item.stored.key, options, Why::Delete).await {
            Ok((_, warnings)) => Ok(warnings),
            // Somebody else deleted it first.
            Err(status) if status.code == 404 => Ok(Vec::new()),
            Err(status) => Err(status),
        }
    });
    let warnings = stream::iter(deletes).buffer_unordered(DELETES_AT_ONCE).try_concat().await?;
    Ok(warnings)
}

/// POST of an eviction: a delete of the pod that says so in its status (W-170, J-2542).
pub(crate) async fn evict(call: &Call, body: &[u8]) -> Result<Response, Status> {
    let (object, eviction) = body::message::<Eviction>(EVICTION, "Eviction", body::format(&call.headers)?, body)?;
    if object.name() != call.target.name {
        return Err(Status::bad_request("name in URL does not match name in Eviction object"));
    }
    let mut options = eviction.delete_options.unwrap_or_default();
    if call.query.dry_run("CreateOptions")? {
        options.dry_run = Some(vec!["All".to_owned()]);
    }
    lifecycle::validate_options(&options)?;
    let (_, warnings) = delete_one(call, &call.key(), &options, Why::Eviction).await?;
    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201});
    Ok(respond::with_warnings(respond::value(StatusCode::CREATED, &status, false), &warnings))
}
