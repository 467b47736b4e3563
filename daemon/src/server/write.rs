//! POST, PUT and PATCH of objects: decode, let `jobd_api::write` decide, commit, answer (sections 2.8 to 2.12).

use axum::{http::StatusCode, response::Response};
use jobd_api::{
    decode::{self, FieldValidation},
    field::{FieldErrors, Path},
    object::Object,
    patch::{Patch, PatchType},
    registry::{Kind, Resource},
    status::Status,
    write::{self, Context, Part, Prepared, Updated},
};
use serde_json::json;

use super::{
    Call, body, negotiate::Scope, path::Sub, query::parse_include_object, respond, selection::is_stored_shape,
    view::View,
};
use crate::store::{Error, Guard, Key, Request, Revision, Write};

/// How many generated names are tried before the collision is the client's (W-53).
const NAMES_MAX: usize = 8;
/// How often an update without a precondition is computed again after somebody else wrote in between.
pub(crate) const TRIES_MAX: usize = 5;

/// What the query says about any write.
struct Options {
    validation: FieldValidation,
    dry_run: bool,
    view: View,
}

impl Options {
    /// Read before the body, so that a request that cannot be answered changes nothing.
    fn parse(call: &Call, kind: &str) -> Result<Self, Status> {
        call.query.field_manager(kind)?;
        Ok(Self {
            validation: call.query.field_validation(kind)?,
            dry_run: call.query.dry_run(kind)?,
            view: call.view(Scope::One, parse_include_object(&call.query)?)?,
        })
    }
}

/// POST of a new object.
pub(crate) async fn create(call: &Call, body: &[u8]) -> Result<Response, Status> {
    let options = Options::parse(call, "CreateOptions")?;
    let decoded = decode::object(call.target.resource, body::format(&call.headers)?, body, options.validation)?;
    insert_new(call, &options, decoded.object, decoded.warnings).await
}

/// Prepares and stores a new object, under further names when a generated one is taken.
async fn insert_new(call: &Call, options: &Options, body: Object, warnings: Vec<String>) -> Result<Response, Status> {
    let resource = call.target.resource;
    let generated = body.name().is_empty();
    for attempt in 1.. {
        let prepared = match prepare_new(call, body.clone()) {
            Ok(prepared) => prepared,
            // A missing namespace is told before what is wrong with the object (W-61).
            Err(status) => return Err(namespace_fault(call, "").await?.unwrap_or(status)),
        };
        let key = Key::of(resource.stored, &prepared.object);
        match insert(call, &prepared, &key, options.dry_run).await {
            Ok(revision) => {
                let warnings = [warnings, prepared.warnings].concat();
                return Ok(answer(call, options, StatusCode::CREATED, prepared.object, revision, &warnings));
            }
            Err(Error::AlreadyExists { .. }) if generated && attempt < NAMES_MAX => {}
            Err(Error::AlreadyExists { key }) => return Err(taken(call, &key, generated).await),
            Err(failure) => {
                let name = prepared.object.name();
                return Err(super::error::of_store(resource, name, failure));
            }
        }
    }
    Err(Status::internal("no name was tried"))
}

/// The answer to a name that is taken: one that is about to be free says so, and another generated one may be free.
async fn taken(call: &Call, key: &Key, generated: bool) -> Status {
    let mut status = Status::already_exists(call.target.resource, &key.name);
    if generated {
        status.message += ", the server was not able to generate a unique name for the object";
        status.retry_after = Some(1);
        if let Some(details) = &mut status.details {
            details["retryAfterSeconds"] = json!(1);
        }
    }
    // Gone by now, or not to be read: then the name alone is told.
    let stored = call.app.store.get(key).await.ok().flatten().and_then(|stored| stored.object().ok());
    if stored.is_some_and(|object| object.get(&["metadata", "deletionTimestamp"]).is_some()) {
        status.message = format!("object is being deleted: {}", status.message);
    }
    status
}

fn prepare_new(call: &Call, body: Object) -> Result<Prepared, Status> {
    let mut random = &*call.app.random;
    let mut context = Context { now: call.now(), random: &mut random };
    write::create(call.target.resource, &call.target.namespace, body, &mut context)
}

/// Stores a new object; its revision, or none in a dry run (W-94).
async fn insert(call: &Call, prepared: &Prepared, key: &Key, dry_run: bool) -> Result<Option<Revision>, Error> {
    if dry_run {
        if call.app.store.get(key).await?.is_some() {
            return Err(Error::AlreadyExists { key: key.clone() });
        }
        return match find_namespace_fault(call).await? {
            Some(fault) => Err(fault),
            None => Ok(None),
        };
    }
    let mut guards = vec![Guard::Absent(key.clone())];
    if call.target.resource.namespaced {
        guards.insert(0, Guard::NamespaceActive(call.target.namespace.clone()));
    }
    let request = Request { guards, writes: vec![put(call, key, prepared)], urgent: false };
    let committed = call.app.store.write(request).await?;
    Ok(committed.revisions.first().copied())
}

/// What is wrong with the target's namespace, if anything.
async fn find_namespace_fault(call: &Call) -> Result<Option<Error>, Error> {
    let namespace = call.target.namespace.clone();
    if !call.target.resource.namespaced {
        return Ok(None);
    }
    let Some(stored) = call.app.store.get(&Key::new(Kind::Namespace, "", &*namespace)).await? else {
        return Ok(Some(Error::NamespaceMissing { namespace }));
    };
    let deleting = stored.object()?.text(&["metadata", "deletionTimestamp"]).is_some();
    Ok(deleting.then_some(Error::NamespaceTerminating { namespace }))
}

async fn namespace_fault(call: &Call, name: &str) -> Result<Option<Status>, Status> {
    let fault = find_namespace_fault(call).await.map_err(|failure| call.failed(failure))?;
    Ok(fault.map(|fault| super::error::of_store(call.target.resource, name, fault)))
}

/// What is stored. An event is kept for so long from now on, whatever times stand in it.
fn put(call: &Call, key: &Key, prepared: &Prepared) -> Write {
    let mut index = prepared.index.clone();
    if key.kind == Kind::Event {
        index.due_at = call.now().checked_add(call.app.event_ttl).ok();
    }
    Write::Put { key: key.clone(), index, body: prepared.object.to_stored() }
}

/// PUT of an object or its status.
pub(crate) async fn replace(call: &Call, sub: Sub, body: &[u8]) -> Result<Response, Status> {
    let options = Options::parse(call, "UpdateOptions")?;
    let decoded = decode::object(call.target.resource, body::format(&call.headers)?, body, options.validation)?;
    update(call, sub, &options, |_| Ok(decoded.clone())).await
}

/// PATCH of an object or its status.
pub(crate) async fn patch(call: &Call, sub: Sub, body: &[u8]) -> Result<Response, Status> {
    let media_type = body::media_type(&call.headers);
    if media_type == "application/apply-patch+yaml" {
        return apply(call, sub, body).await;
    }
    let Some(patch_type) = PatchType::find(media_type) else {
        // W-76; kubectl takes it for a server without server-side apply.
        return Err(Status::new(415, "UnsupportedMediaType", "415: Unsupported Media Type"));
    };
    let options = Options::parse(call, "PatchOptions")?;
    if call.query.text("force").is_some() {
        return Err(invalid_options(|errors| {
            errors.forbidden(&Path::new("force"), "may not be specified for non-apply patch");
        }));
    }
    let patch = Patch::parse(patch_type, body)?;
    let computed = |current: &Object| patch.apply(call.target.resource, current, options.validation);
    update(call, sub, &options, computed).await
}

/// Server-side apply without tracking who owns what (W-84, W-85): the body is merged over the object, or creates it.
async fn apply(call: &Call, sub: Sub, body: &[u8]) -> Result<Response, Status> {
    let options = Options::parse(call, "PatchOptions")?;
    if call.query.filled("fieldManager").is_none() {
        return Err(invalid_options(|errors| {
            errors.required(&Path::new("fieldManager"), "is required for apply patch");
        }));
    }
    let resource = call.target.resource;
    let decoded = decode::apply_body(resource, body, options.validation)?;
    let patch = Patch::from_apply(decoded.object.clone());
    for attempt in 1.. {
        let computed = |current: &Object| {
            let mut patched = patch.apply(resource, current, options.validation)?;
            patched.warnings.extend(decoded.warnings.iter().cloned());
            Ok(patched)
        };
        match update(call, sub, &options, computed).await {
            Err(status) if status.code == 404 && sub == Sub::Main => {}
            result => return result,
        }
        let mut object = decoded.object.clone();
        if object.name().is_empty() {
            object.metadata_mut().insert("name".to_owned(), call.target.name.clone().into());
        }
        if object.name() != call.target.name {
            let (name, wanted) = (object.name(), &call.target.name);
            let text = format!("the name of the object ({name}) does not match the name on the URL ({wanted})");
            return Err(Status::bad_request(text));
        }
        match insert_new(call, &options, object, decoded.warnings.clone()).await {
            // Somebody else made it in between: merge over that one.
            Err(status) if status.reason == "AlreadyExists" && attempt < TRIES_MAX => {}
            result => return result,
        }
    }
    Err(Status::internal("no apply was tried"))
}

fn invalid_options(add: impl FnOnce(&mut FieldErrors)) -> Status {
    let mut errors = FieldErrors::default();
    add(&mut errors);
    Status::invalid_kind("meta.k8s.io", "PatchOptions", "", &errors)
}

/// Reads, computes and writes; again when somebody else wrote in between. A precondition in the new object fails by itself
/// the next time round, because it is checked against what was read.
async fn update(
    call: &Call,
    sub: Sub,
    options: &Options,
    compute: impl Fn(&Object) -> Result<decode::Decoded, Status>,
) -> Result<Response, Status> {
    let resource = call.target.resource;
    for attempt in 1.. {
        let stored = call.stored().await?;
        let old = stored.object().map_err(|failure| call.failed(failure))?;
        let decoded = compute(&served_copy(resource, &old))?;
        write::preconditions(resource, &served_copy(resource, &old), stored.revision.0, &decoded.object)?;
        let part = match sub {
            Sub::Main => Part::Main,
            Sub::Status => Part::Status,
        };
        let updated = {
            let mut random = &*call.app.random;
            let mut context = Context { now: call.now(), random: &mut random };
            write::update(resource, part, &old, decoded.object, &mut context)?
        };
        let urgent = sub == Sub::Status;
        match commit(call, updated, old, stored.revision, options.dry_run, urgent).await {
            Ok((object, revision, warnings)) => {
                let warnings = [decoded.warnings, warnings].concat();
                return Ok(answer(call, options, StatusCode::OK, object, Some(revision), &warnings));
            }
            Err(Error::Conflict { have: Some(_), .. }) if attempt < TRIES_MAX => {}
            Err(failure) => return Err(call.failed(failure)),
        }
    }
    Err(Status::internal("no update was tried"))
}

/// Commits what an update came to. Answers the object in its stored shape, its revision and warnings.
pub(crate) async fn commit(
    call: &Call,
    updated: Updated,
    old: Object,
    seen: Revision,
    dry_run: bool,
    urgent: bool,
) -> Result<(Object, Revision, Vec<String>), Error> {
    let key = call.key();
    let (prepared, write) = match updated {
        Updated::Unchanged { warnings } => return Ok((old, seen, warnings)),
        Updated::Changed(prepared) => {
            let write = put(call, &key, &prepared);
            (prepared, write)
        }
        Updated::Gone(prepared) => {
            let write = Write::Delete { key: key.clone(), body: prepared.object.to_stored() };
            (prepared, write)
        }
    };
    if dry_run {
        return Ok((prepared.object, seen, prepared.warnings));
    }
    let guards = vec![Guard::Unchanged { key, revision: seen }];
    let committed = call.app.store.write(Request { guards, writes: vec![write], urgent }).await?;
    let revision = committed.revisions.first().copied().unwrap_or(seen);
    Ok((prepared.object, revision, prepared.warnings))
}

/// PUT of `namespaces/NAME/finalize`: the only way in which a client changes `spec.finalizers`.
pub(crate) async fn finalize(call: &Call, body: &[u8]) -> Result<Response, Status> {
    let options = Options::parse(call, "UpdateOptions")?;
    let resource = call.target.resource;
    let decoded = decode::object(resource, body::format(&call.headers)?, body, options.validation)?;
    let stored = call.stored().await?;
    let old = stored.object().map_err(|failure| call.failed(failure))?;
    write::preconditions(resource, &old, stored.revision.0, &decoded.object)?;
    let updated = write::finalize(resource, &old, &decoded.object)?;
    let committed = commit(call, updated, old, stored.revision, options.dry_run, true).await;
    let (object, revision, warnings) = committed.map_err(|failure| call.failed(failure))?;
    Ok(answer(call, &options, StatusCode::OK, object, Some(revision), &[decoded.warnings, warnings].concat()))
}

/// A copy of a stored object in the shape under which `resource` serves it.
fn served_copy(resource: &Resource, object: &Object) -> Object {
    if is_stored_shape(resource) { object.clone() } else { resource.rules.from_stored(object.clone()) }
}

/// The answer to a write. `object` is in its stored shape.
fn answer(
    call: &Call,
    options: &Options,
    code: StatusCode,
    object: Object,
    revision: Option<Revision>,
    warnings: &[String],
) -> Response {
    let object = served_copy(call.target.resource, &object);
    let object = match revision {
        Some(revision) => object.with_revision(revision.0),
        None => object,
    };
    respond::with_warnings(respond::json(code, options.view.one_object(&object, call.now())), warnings)
}
