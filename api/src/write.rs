//! The one write path: what happens to an object between a request and the store, whoever the writer is.
//!
//! Order (J-301, DESIGN section 3): default, assign name and uid, mutate, validate, then lifecycle: generation,
//! no-op detection, removal of a deleted object whose last finalizer went. All of it is pure; the store checks the
//! guards (name free, namespace active, revision unchanged) in the transaction that writes.

use jiff::Timestamp;

use crate::{index::Index, object::Object, registry::Resource, status::Status};

/// Source of random bits for uids and generated names. Seeded in tests and in the simulation.
pub trait Random {
    fn next_u64(&mut self) -> u64;
}

/// What a write may take from outside.
pub struct Context<'a> {
    pub now: Timestamp,
    pub random: &'a mut dyn Random,
}

/// Which part of an object a PUT or PATCH is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// The resource itself: `status` is kept as stored (W-71).
    Main,
    /// The status subresource: everything but `status` (and metadata that J-601 allows) is kept as stored.
    Status,
}

/// An object that is ready to be stored.
#[derive(Clone, Debug)]
pub struct Prepared {
    pub object: Object,
    pub index: Index,
    /// Texts of `Warning: 299` headers (J-106, W-93). They never fail a request.
    pub warnings: Vec<String>,
}

/// What an update comes to.
#[derive(Clone, Debug)]
pub enum Updated {
    /// Nothing changed: nothing is written, the revision stays (W-51).
    Unchanged {
        warnings: Vec<String>,
    },
    Changed(Prepared),
    /// The last finalizer went from an object that is being deleted: it goes, in this final state.
    Gone(Prepared),
}

/// Prepares a new object.
///
/// `namespace` is the one of the URL (`""` for cluster-scoped kinds), `body` a decoded body ([`crate::decode`]). A client's uid,
/// creationTimestamp, generation, status and so on are overwritten (W-49, J-302). `generateName` gets its suffix here (W-53): on a name
/// collision the caller prepares again, 8 times in all.
///
/// # Errors
/// 400 for a namespace or kind that does not fit the URL, 422 with every invalid field.
pub fn create(
    resource: &Resource,
    namespace: &str,
    body: Object,
    context: &mut Context<'_>,
) -> Result<Prepared, Status> {
    let _ = (resource, namespace, body, context);
    todo!()
}

/// Prepares the replacement of `old` by `body`, a whole decoded object of a PUT, or the result of a patch.
///
/// `body`'s uid and resourceVersion, where given, are the caller's preconditions and were checked by it ([`preconditions`]).
///
/// # Errors
/// 422 with every invalid field and every change of an immutable one.
pub fn update(
    resource: &Resource,
    part: Part,
    old: &Object,
    body: Object,
    context: &mut Context<'_>,
) -> Result<Updated, Status> {
    let _ = (resource, part, old, body, context);
    todo!()
}

/// Checks name, namespace, uid and resourceVersion of a PUT's or patch's object against the stored one (W-68 to W-70).
///
/// # Errors
/// 400 for another name, 409 for another uid or revision.
pub fn preconditions(resource: &Resource, old: &Object, old_revision: i64, body: &Object) -> Result<(), Status> {
    let _ = (resource, old, old_revision, body);
    todo!()
}

/// The same path for this program's own controllers, which change typed objects that they read from the store: generation,
/// no-op detection, index, removal when the last finalizer went. Defaults are there already; validation is not repeated.
#[must_use]
pub fn update_own(resource: &Resource, old: &Object, new: Object) -> Updated {
    let _ = (resource, old, new);
    todo!()
}
