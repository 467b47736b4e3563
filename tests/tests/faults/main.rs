//! What the daemon must survive (F-1 to F-20 of the promises' list): a full disk, an engine that misbehaves, strangers who
//! touch our containers, hostile clients, older and newer files.

mod clients;
mod disk;
mod engine;
mod files;
mod marks;
mod strangers;

const JOBS: &str = "/apis/batch/v1/namespaces/default/jobs";
const PODS: &str = "/api/v1/namespaces/default/pods";
