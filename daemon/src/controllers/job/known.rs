//! What the controller remembers between two looks at a job: whom a change wakes, back-off, and pods read before.
//!
//! Only of jobs that are active (I-5); all of it may be lost, then it is read or computed again.

use std::{collections::BTreeMap, sync::Arc};

use jobd_api::selector::Labels;

use super::snapshot::{Memory, Pod};
use crate::store::Revision;

/// Namespace and name of a job.
pub(super) type Place = (String, String);

/// What is remembered of one active job.
#[derive(Debug, Default)]
pub(super) struct KnownJob {
    pub(super) uid: String,
    /// None selects nothing.
    pub(super) selector: Option<Labels>,
    pub(super) memory: Memory,
    /// Pods as they were at the last look. Every change of a pod has its own revision (I-7).
    pub(super) pods: BTreeMap<Revision, Arc<Pod>>,
    /// The store's newest revision at the last look: what didn't change since is not read again.
    pub(super) seen: Revision,
}

/// All active jobs that were looked at since the start.
#[derive(Debug, Default)]
pub(super) struct Known {
    jobs: BTreeMap<Place, KnownJob>,
    /// The revision that the next whole look at a job must have seen: one of its finished pods was relabelled then, which is in no later
    /// snapshot of what changed (J-2102).
    relabelled: BTreeMap<Place, Revision>,
    by_uid: BTreeMap<String, Place>,
}

impl Known {
    /// The job with this uid.
    pub(super) fn find(&self, uid: &str) -> Option<&Place> {
        self.by_uid.get(uid)
    }

    /// The jobs of a namespace that would adopt a pod with these labels (J-2101).
    pub(super) fn adopters(&self, namespace: &str, labels: &[(String, String)]) -> Vec<Place> {
        let get = |key: &str| labels.iter().find(|(k, _)| k == key).map(|(_, value)| value.as_str());
        self.jobs
            .range((namespace.to_owned(), String::new())..)
            .take_while(|((ns, _), _)| ns == namespace)
            .filter(|(_, job)| job.selector.as_ref().is_some_and(|selector| selector.matches(get)))
            .map(|(place, _)| place.clone())
            .collect()
    }

    /// The newest revision of the last look at a job, if what changed since is enough to look at; none when all of it must be read.
    pub(super) fn seen(&self, place: &Place) -> Option<Revision> {
        let seen = self.jobs.get(place)?.seen;
        self.relabelled.get(place).is_none_or(|at| *at <= seen).then_some(seen)
    }

    /// A finished pod of this job has these labels now: if they don't match its selector any more, the next look must be a whole one.
    pub(super) fn finished_and_relabelled(&mut self, uid: &str, labels: &[(String, String)], at: Revision) {
        let Some(place) = self.by_uid.get(uid) else { return };
        let get = |key: &str| labels.iter().find(|(k, _)| k == key).map(|(_, value)| value.as_str());
        let matches = |job: &KnownJob| job.selector.as_ref().is_some_and(|selector| selector.matches(get));
        if self.jobs.get(place).is_some_and(|job| !matches(job)) {
            self.relabelled.insert(place.clone(), at);
        }
    }

    /// What was remembered of a job, if it is still the one with this uid.
    pub(super) fn recall(&self, place: &Place, uid: &str) -> Option<&KnownJob> {
        self.jobs.get(place).filter(|known| known.uid == uid)
    }

    pub(super) fn remember(&mut self, place: &Place, job: KnownJob) {
        if self.jobs.get(place).is_some_and(|known| known.uid != job.uid) {
            self.forget(place);
        }
        self.by_uid.insert(job.uid.clone(), place.clone());
        self.jobs.insert(place.clone(), job);
    }

    pub(super) fn forget(&mut self, place: &Place) {
        self.relabelled.remove(place);
        if let Some(known) = self.jobs.remove(place) {
            self.by_uid.remove(&known.uid);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(name: &str) -> Place {
        ("ns".to_owned(), name.to_owned())
    }

    fn known(uid: &str) -> KnownJob {
        KnownJob { uid: uid.to_owned(), ..KnownJob::default() }
    }

    #[test]
    fn a_new_job_of_the_same_name_is_another_job() {
        let mut all = Known::default();
        let started = KnownJob { memory: Memory { started: None, ..Memory::default() }, ..known("old") };
        all.remember(&place("a"), started);
        assert!(all.recall(&place("a"), "new").is_none());
        all.remember(&place("a"), known("new"));
        assert_eq!(all.find("old"), None);
        assert_eq!(all.find("new"), Some(&place("a")));
        all.forget(&place("a"));
        assert_eq!(all.find("new"), None);
    }

    #[test]
    fn a_finished_pod_that_matches_no_more_asks_for_a_whole_look_until_one_was_made() {
        let mut all = Known::default();
        let at = |revision| KnownJob { selector: Some(Labels::default()), seen: Revision(revision), ..known("1") };
        all.remember(&place("a"), at(5));
        all.finished_and_relabelled("1", &[], Revision(6));
        assert_eq!(all.seen(&place("a")), Some(Revision(5)), "it still matches");
        all.remember(&place("a"), KnownJob { selector: None, ..at(5) });
        all.finished_and_relabelled("1", &[], Revision(7));
        assert_eq!(all.seen(&place("a")), None);
        all.remember(&place("a"), at(6));
        assert_eq!(all.seen(&place("a")), None, "that look was under way already");
        all.remember(&place("a"), at(7));
        assert_eq!(all.seen(&place("a")), Some(Revision(7)));
    }

    #[test]
    fn only_jobs_of_the_namespace_whose_selector_matches_adopt() {
        let mut all = Known::default();
        let matching = |uid: &str| KnownJob { selector: Some(Labels::default()), ..known(uid) };
        all.remember(&place("a"), matching("1"));
        all.remember(&place("b"), known("2"));
        all.remember(&("other".to_owned(), "c".to_owned()), matching("3"));
        assert_eq!(all.adopters("ns", &[]), [place("a")]);
    }
}
