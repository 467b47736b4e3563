//! What the store must be able to ask of an object without reading its body: the columns beside it.

use jiff::Timestamp;

/// The indexed facts of one object, computed from its body whenever it is written. The store keeps them in columns and
/// knows nothing else of what a kind means.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Index {
    pub uid: String,
    /// uid of the owner reference with `controller: true`.
    pub controller_uid: Option<String>,
    /// uids of all owner references (garbage collection asks for dependents by them).
    pub owner_uids: Vec<String>,
    /// All labels, for selectors.
    pub labels: Vec<(String, String)>,
    /// `metadata.deletionTimestamp` is set.
    pub deleting: bool,
    /// The object's active life is over: a pod in phase Succeeded or Failed, a job with Complete or Failed. Always false
    /// for other kinds. I-5: what is finished costs no memory and no start-up time.
    pub finished: bool,
    /// Carries the finalizer `batch.kubernetes.io/job-tracking`.
    pub tracking: bool,
    /// `spec.nodeName` of a pod that has one.
    pub node: Option<String>,
    /// For events: uid of the involved object.
    pub involved_uid: Option<String>,
    /// For events: name of the involved object.
    pub involved_name: Option<String>,
    /// When something is due although nobody changes the object: TTL of a finished job; for events, whoever writes them sets their expiry.
    pub due_at: Option<Timestamp>,
}
