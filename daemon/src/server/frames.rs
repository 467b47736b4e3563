//! Watch frames that many watchers share: a change is serialised once per representation (DESIGN section 5).

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

use bytes::Bytes;
use jobd_api::table::IncludeObject;

use super::{negotiate::Shape, view::View};
use crate::store::Revision;

/// How many frames are kept. All watchers wake at the same commit, so a few commits' worth is enough.
const FRAMES_MAX: usize = 256;
/// How many bytes of frames are kept, for a store of large objects.
const BYTES_MAX: usize = 2 * 1024 * 1024;

/// What a watch event says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EventType {
    Added,
    Modified,
    Deleted,
}

impl EventType {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            EventType::Added => "ADDED",
            EventType::Modified => "MODIFIED",
            EventType::Deleted => "DELETED",
        }
    }
}

/// Which frame: the change, what it means to the watcher, and how it is shown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrameKey {
    revision: Revision,
    event_type: EventType,
    /// The body before the change is shown, not the one after it (W-126).
    previous: bool,
    group: &'static str,
    shape: Shape,
    include: IncludeObject,
}

impl FrameKey {
    pub(crate) fn new(revision: Revision, event_type: EventType, previous: bool, view: &View) -> Self {
        let View { resource, shape, include, pretty: _ } = view;
        Self { revision, event_type, previous, group: resource.group, shape: *shape, include: *include }
    }
}

/// The frames of the newest changes.
#[derive(Default)]
pub(crate) struct Frames(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    frames: VecDeque<(FrameKey, Bytes)>,
    bytes: usize,
}

impl Frames {
    pub(crate) fn find(&self, key: &FrameKey) -> Option<Bytes> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.frames.iter().rev().find(|(found, _)| found == key).map(|(_, frame)| frame.clone())
    }

    pub(crate) fn keep(&self, key: FrameKey, frame: &Bytes) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.bytes += frame.len();
        kept.frames.push_back((key, frame.clone()));
        while kept.frames.len() > FRAMES_MAX || kept.bytes > BYTES_MAX {
            let Some((_, dropped)) = kept.frames.pop_front() else { break };
            kept.bytes -= dropped.len();
        }
    }
}
