//! Carries out what `decide` decided, one thing at a time. Rules live in `decide`; here is only how each thing is done, and in which
//! order its intent becomes durable.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use futures_util::StreamExt as _;
use jiff::Timestamp;
use jobd_api::{
    registry::Kind,
    write::{self, Updated},
};
use k8s_openapi::api::core::v1::{Container as PodContainer, Pod};
use serde_json::Value;
use tracing::{debug, info, warn};

use super::{
    AWAY_AGAIN, Shared, Turn,
    containers::label,
    decide::{Action, Commit, Signal},
    environment::{self, Sources},
    events,
    health::Running,
    images::{Ensured, Wanted},
    logs,
    observed::{
        Call, Calls, Died, Evidence, Health, History, Memory, NodeFacts, PodKey, Role, Seen, Step, Trouble, roster,
    },
    spec, termination, volumes,
};
use crate::{
    driver::Error,
    engine::{self, ContainerSpec, ContainerStatus, Engine, EventAction, Image, Network, pause},
    failpoint,
    store::{self, Attempt, Guard, Request, Stored, Write, attempts::AttemptState},
    sys::Now,
};

/// J-2524.
const CONFIG_RETRY: Duration = Duration::from_secs(10);
/// How soon a call is repeated that the engine could not do for reasons of its own (D-702).
const INFRASTRUCTURE_RETRY: Duration = Duration::from_secs(5);
/// How soon a fence is asked for again after another refusal than "it runs" (D-406).
const FENCE_RETRY: Duration = Duration::from_millis(500);
/// How long the engine's memory of events may take to be read.
const REPLAY_TIMEOUT: Duration = Duration::from_secs(10);

/// What the engine's memory of events told about containers, by id.
pub(super) type Replayed = BTreeMap<String, History>;

/// What an action is about: one container of a pod.
pub(super) struct Scene<'a> {
    pub(super) key: &'a PodKey,
    pub(super) stored: &'a Stored,
    pub(super) pod: &'a Pod,
    pub(super) role: Role,
    pub(super) name: &'a str,
    pub(super) health: Health,
    /// The id of the sandbox to join.
    pub(super) sandbox: Option<&'a str>,
    /// The pod's address, once it is known.
    pub(super) address: Option<&'a str>,
    pub(super) last: Option<&'a Attempt>,
    pub(super) container: &'a Seen,
    pub(super) now: Now,
    pub(super) reason: &'static str,
}

impl Scene<'_> {
    /// None: the sandbox.
    fn pod_container(&self) -> Option<&PodContainer> {
        let found = roster(self.pod.spec.as_ref()?).into_iter().find(|(_, container)| container.name == self.name);
        found.map(|(_, container)| container)
    }

    fn uid(&self) -> &str {
        self.pod.metadata.uid.as_deref().unwrap_or_default()
    }

    /// The pod with its address, which its stored status may not have yet.
    fn addressed(&self) -> Pod {
        let mut pod = self.pod.clone();
        if let Some(address) = self.address {
            pod.status.get_or_insert_default().pod_ip = Some(address.to_owned());
        }
        pod
    }

    /// Its container, for probes and hooks.
    fn running<'b>(&'b self, attempt: &'b Attempt, node: &'b NodeFacts) -> Option<Running<'b>> {
        let Self { key, pod, sandbox, .. } = *self;
        Some(Running {
            key,
            pod,
            container: self.pod_container()?,
            id: attempt.container_id.as_deref()?,
            sandbox,
            node,
        })
    }
}

impl<E: Engine> Shared<E> {
    pub(super) async fn act(
        &self,
        scene: &Scene<'_>,
        action: Action,
        memory: &mut Memory,
        replayed: &mut Replayed,
    ) -> Result<Turn, Error> {
        let away = Turn::Rest(Some(scene.now.boot + AWAY_AGAIN));
        Ok(match action {
            Action::Commit(commit) => return self.commit(scene, *commit, memory).await,
            Action::PrepareVolumes => {
                memory.preparation.volumes = self.prepare_volumes(scene, memory).await?;
                Turn::Again
            }
            Action::EnsureImage => return self.ensure_image(scene, memory).await,
            Action::BuildSpec => {
                memory.preparation.spec = self.build_spec(scene, memory).await?;
                Turn::Again
            }
            Action::Create => self.create(scene, memory).await,
            Action::Start { id } => self.start(scene, &id, memory).await,
            Action::Fence { id } => self.fence(scene, &id, memory, replayed).await,
            Action::Inspect => match &scene.last.and_then(|last| last.container_id.clone()) {
                Some(id) if self.containers.is_connected() => match self.inspect(id, scene.now).await {
                    Seen::Unknown => away,
                    Seen::Absent | Seen::Present(_) | Seen::Foreign(_) => Turn::Again,
                },
                Some(_) | None => away,
            },
            Action::Replay { id } => match self.replay(&id, scene.now).await {
                Some(mut history) => {
                    if let Some(last) = scene.last.filter(|_| history.evidence == Evidence::Missing) {
                        history.usage = self.cgroups.usage(scene.uid(), scene.name, last.attempt);
                    }
                    replayed.insert(id, history);
                    Turn::Again
                }
                None => away,
            },
            Action::ReadTermination => {
                failpoint::hit("node.after_die");
                memory.termination = Some(self.read_termination(scene).await);
                Turn::Again
            }
            Action::Signal { id, signal } => self.signal(scene, &id, signal, memory).await,
            Action::PreStop { until } => {
                self.begin_end(scene, memory);
                let facts = self.facts();
                if let Some(running) = scene.last.and_then(|last| scene.running(last, &facts)) {
                    self.vitals.begin_pre_stop(&running, until.saturating_sub(scene.now.boot));
                }
                Turn::Again
            }
            Action::Wait(due) => Turn::Rest(due),
        })
    }

    /// Stores attempt, status and events in one transaction, guarded by the pod's revision.
    async fn commit(&self, scene: &Scene<'_>, commit: Commit, memory: &mut Memory) -> Result<Turn, Error> {
        let Commit { attempt, status, events, confirm_deletion } = commit;
        let old = scene.stored.object()?;
        let mut new = old.clone();
        let status = serde_json::to_value(&status).map_err(|error| Error::Other(error.to_string()))?;
        new.0.insert("status".to_owned(), status);
        if confirm_deletion {
            new.metadata_mut().insert("deletionGracePeriodSeconds".to_owned(), Value::from(0));
        }
        let key = scene.stored.key.clone();
        let mut writes: Vec<Write> = Vec::new();
        let mut gone = false;
        match write::update_own(Kind::Pod.resource(), &old, new) {
            Updated::Unchanged { warnings: _ } => {}
            Updated::Changed(prepared) => {
                writes.push(Write::Put { key: key.clone(), index: prepared.index, body: prepared.object.to_stored() })
            }
            Updated::Gone(prepared) => {
                gone = true;
                writes.push(Write::Delete { key: key.clone(), body: prepared.object.to_stored() });
                writes.push(Write::ForgetAttempts { pod_uid: scene.uid().to_owned() });
            }
        }
        let state = attempt.as_ref().map(|attempt| attempt.state);
        if !gone {
            writes.extend(attempt.clone().map(|attempt| Write::Attempt(Box::new(attempt))));
        }
        writes.extend(events.iter().filter_map(|event| self.recorder.record(event, scene.now)));
        let guards = vec![Guard::Unchanged { key, revision: scene.stored.revision }];
        if state == Some(AttemptState::Ended) {
            failpoint::hit("node.before_status_commit");
        }
        match self.store.write(Request { guards, writes, urgent: true }).await {
            // A pod that is gone is cleaned up by the look that its end asks for.
            Ok(written) if !gone => self.own.add(scene.key, &written.revisions),
            Ok(_) => {}
            Err(store::Error::Conflict { .. }) => {
                debug!(namespace = scene.key.namespace, pod = scene.key.name, "somebody else wrote; looking again");
                return Ok(Turn::Again);
            }
            Err(error) => return Err(error.into()),
        }
        if let Some(attempt) = &attempt {
            self.committed(scene, attempt, memory);
        }
        Ok(Turn::Told)
    }

    /// What a stored attempt means for this process's calls.
    fn committed(&self, scene: &Scene<'_>, attempt: &Attempt, memory: &mut Memory) {
        match attempt.state {
            AttemptState::Creating => {
                failpoint::hit("node.after_create_intent");
                memory.turn_to(attempt.attempt);
                memory.calls = Calls::default();
            }
            // Only now, and only in this process, is it certain that start was not sent yet.
            AttemptState::Starting => memory.calls.start = Call::Unsent,
            AttemptState::Fencing => memory.calls.fence = Call::Unsent,
            AttemptState::Running => {
                // What was observed while the start was in doubt no longer matters.
                memory.calls = Calls::default();
                let facts = self.facts();
                if let Some(running) = scene.running(attempt, &facts) {
                    self.vitals.begin_post_start(&running);
                }
            }
            AttemptState::Ended => {
                failpoint::hit("node.after_status_commit");
                self.log_end(scene, attempt);
            }
        }
    }

    fn log_end(&self, scene: &Scene<'_>, attempt: &Attempt) {
        let PodKey { namespace, name: pod } = scene.key;
        let (container, number) = (&attempt.container, attempt.attempt);
        match &attempt.exit {
            Some(exit) => info!(
                namespace,
                pod,
                container,
                attempt = number,
                exit_code = exit.exit_code,
                reason = exit.reason,
                "container {container} of pod {namespace}/{pod} ended: {} ({})",
                exit.reason,
                exit.exit_code
            ),
            None => info!(
                namespace,
                pod,
                container,
                attempt = number,
                reason = scene.reason,
                "container {container} of pod {namespace}/{pod} was not started: {}",
                scene.reason
            ),
        }
    }

    pub(super) async fn sources(&self, pod: &Pod) -> Result<Sources, Error> {
        let references = environment::references(pod);
        let namespace = pod.metadata.namespace.clone().unwrap_or_default();
        let mut sources = Sources::default();
        for name in references.config_maps {
            let key = store::Key::new(Kind::ConfigMap, namespace.clone(), name.clone());
            if let Some(stored) = self.store.get(&key).await? {
                sources.config_maps.insert(name, stored.typed()?);
            }
        }
        for name in references.secrets {
            let key = store::Key::new(Kind::Secret, namespace.clone(), name.clone());
            if let Some(stored) = self.store.get(&key).await? {
                sources.secrets.insert(name, stored.typed()?);
            }
        }
        Ok(sources)
    }

    async fn prepare_volumes(&self, scene: &Scene<'_>, memory: &mut Memory) -> Result<Step, Error> {
        if scene.role == Role::Sandbox {
            return Ok(Step::Done);
        }
        let sources = self.sources(scene.pod).await?;
        let (directories, pod, facts) = (self.directories.clone(), scene.addressed(), self.facts());
        let stamp = scene.now.wall.as_millisecond().to_string();
        let made =
            tokio::task::spawn_blocking(move || volumes::prepare(&directories, &pod, &sources, &facts, &stamp)).await;
        let made = made.map_err(|error| Error::Other(error.to_string()))?;
        Ok(match made {
            Ok(()) => Step::Done,
            Err(volumes::VolumeError { volume, message }) => {
                memory.events.push(events::failed_mount(scene.pod, &volume, &message));
                Step::Trouble(Trouble {
                    reason: "ContainerCreating".to_owned(),
                    message: String::new(),
                    retry_at: scene.now.boot + CONFIG_RETRY,
                })
            }
        })
    }

    async fn ensure_image(&self, scene: &Scene<'_>, memory: &mut Memory) -> Result<Turn, Error> {
        if scene.role == Role::Sandbox {
            return Ok(self.ensure_pause(scene, memory).await);
        }
        let Some(container) = scene.pod_container() else { return Ok(Turn::Rest(None)) };
        let sources = self.sources(scene.pod).await?;
        let wanted = Wanted { key: scene.key, pod: scene.pod, container, sources: &sources };
        memory.preparation.image = match self.images.ensure(&wanted, scene.now, &mut memory.events).await {
            Ensured::Present(image) => {
                memory.image = Some(image);
                Step::Done
            }
            Ensured::Pulling => Step::Running,
            Ensured::Trouble(trouble) => Step::Trouble(trouble),
            Ensured::Away => return Ok(Turn::Rest(Some(scene.now.boot + AWAY_AGAIN))),
        };
        Ok(Turn::Again)
    }

    /// The image of sandboxes is made here, not pulled (D-207).
    async fn ensure_pause(&self, scene: &Scene<'_>, memory: &mut Memory) -> Turn {
        let found = match self.engine.inspect_image(pause::IMAGE).await {
            Err(engine::Error::NotFound(_)) => {
                let loaded = match pause::archive() {
                    Ok(archive) => self.engine.load_image(Bytes::from(archive)).await,
                    Err(error) => Err(engine::Error::Infrastructure(error.to_string())),
                };
                match loaded {
                    Ok(()) => self.engine.inspect_image(pause::IMAGE).await,
                    Err(error) => Err(error),
                }
            }
            found => found,
        };
        memory.preparation.image = match found {
            Ok(image) => {
                memory.image = Some(image);
                Step::Done
            }
            Err(engine::Error::Unreachable(_)) => return Turn::Rest(Some(scene.now.boot + AWAY_AGAIN)),
            Err(error) => self.trouble(scene, memory, "CreateContainerError", error.to_string()),
        };
        Turn::Again
    }

    async fn build_spec(&self, scene: &Scene<'_>, memory: &mut Memory) -> Result<Step, Error> {
        if let Err(message) = spec::kernel_hostname(scene.pod) {
            memory.events.push(events::failed_sandbox(scene.pod, &message));
            let retry_at = scene.now.boot + CONFIG_RETRY;
            let reason = "ContainerCreating".to_owned();
            return Ok(Step::Trouble(Trouble { reason, message: String::new(), retry_at }));
        }
        if let Err(message) = self.cgroups.prepare_pod(scene.uid(), &spec::pod_limits(scene.pod)) {
            return Ok(self.trouble(scene, memory, "CreateContainerConfigError", message));
        }
        if scene.role == Role::Sandbox {
            let cgroup_parent = self.cgroups.parent(scene.uid(), scene.name, memory.attempt);
            let sandbox = spec::sandbox(scene.pod, memory.attempt, &self.facts());
            memory.spec = Some(Box::new(ContainerSpec { cgroup_parent, ..sandbox }));
            return Ok(Step::Done);
        }
        let Some(container) = scene.pod_container().cloned() else { return Ok(Step::Todo) };
        let sources = self.sources(scene.pod).await?;
        let (directories, pod, facts) = (self.directories.clone(), scene.addressed(), self.facts());
        let (image, attempt) = (memory.image.clone().unwrap_or_default(), memory.attempt);
        let sandbox = scene.sandbox.map(str::to_owned);
        let built = tokio::task::spawn_blocking(move || -> Result<ContainerSpec, String> {
            let files = volumes::variable_files(&directories, &pod, &container);
            let sources = Sources { files, ..sources };
            let environment = environment::resolve(&pod, &container, &sources, &facts)?;
            let volumes::Mounts { mounts, tmpfs } =
                volumes::mounts(&directories, &pod, &container, attempt, &environment)?;
            spec::build(spec::Parts {
                pod: &pod,
                container: &container,
                attempt,
                environment: &environment,
                image: &image,
                mounts,
                tmpfs,
                node: &facts,
                sandbox: sandbox.as_deref(),
            })
        });
        Ok(match built.await.map_err(|error| Error::Other(error.to_string()))? {
            Ok(spec) => {
                let cgroup_parent = self.cgroups.parent(scene.uid(), scene.name, memory.attempt);
                memory.spec = Some(Box::new(ContainerSpec { cgroup_parent, ..spec }));
                Step::Done
            }
            Err(message) => self.trouble(scene, memory, "CreateContainerConfigError", message),
        })
    }

    /// J-2511, J-2524, J-2580: the pod waits, says why, and tries again.
    fn trouble(&self, scene: &Scene<'_>, memory: &mut Memory, reason: &str, message: String) -> Step {
        memory.events.push(match scene.role {
            Role::Sandbox => events::failed_sandbox(scene.pod, &message),
            Role::Init | Role::Sidecar | Role::Main => {
                events::failed(scene.pod, scene.name, format!("Error: {message}"))
            }
        });
        Step::Trouble(Trouble { reason: reason.to_owned(), message, retry_at: scene.now.boot + CONFIG_RETRY })
    }

    async fn create(&self, scene: &Scene<'_>, memory: &mut Memory) -> Turn {
        let Some(spec) = memory.spec.clone() else {
            memory.preparation.spec = Step::Todo;
            return Turn::Again;
        };
        let Some(slot) = self.slots.acquire(scene.key) else {
            memory.waits_for_slot = true;
            return Turn::Rest(None);
        };
        memory.preparation.create = Step::Done;
        self.cgroups.prepare(scene.uid(), scene.name, memory.attempt);
        let result = match self.ensure_network(&spec.network, &scene.key.namespace).await {
            Ok(()) => self.engine.create(&spec).await,
            Err(error) => Err(error),
        };
        drop(slot);
        failpoint::hit("node.after_create_sent");
        match result {
            Ok(id) => {
                self.containers.created(made(id.clone(), &spec, memory.image.as_ref()));
                memory.calls.created = Some(id);
                Turn::Again
            }
            Err(engine::Error::Conflict(_)) => {
                // The name is taken: by an earlier create of this attempt, or by a stranger (D-401, F-10).
                match self.inspect(&spec.name, scene.now).await {
                    Seen::Present(found) if is_of_lost_sandbox(&found, &spec) => {
                        // Made for a sandbox that is no more, and never started: a new one takes its name (D-202).
                        self.containers.touch(&found.id);
                        let removed = self.engine.remove(&found.id, false).await;
                        self.containers.suspect(&found.id);
                        if removed.is_err() {
                            return Turn::Rest(Some(scene.now.boot + AWAY_AGAIN));
                        }
                    }
                    Seen::Present(found) if is_ours(&found.labels, &spec) => {
                        memory.calls.found = Some(Seen::Present(found));
                    }
                    Seen::Present(found) => {
                        // Tried again later: the name may be free then.
                        let message = format!("container {} has the name of this one, {}", found.id, spec.name);
                        memory.preparation.create = self.trouble(scene, memory, "CreateContainerError", message);
                    }
                    Seen::Unknown => return Turn::Rest(Some(scene.now.boot + AWAY_AGAIN)),
                    // The conflict is with the sandbox, which does not run any more (D-204).
                    Seen::Absent if scene.sandbox.is_some() => return self.doubt_sandbox(scene),
                    Seen::Absent | Seen::Foreign(_) => {}
                }
                Turn::Again
            }
            Err(engine::Error::NotFound(message)) if message.contains("No such image") => {
                self.images.forget_image(&spec.image);
                memory.preparation.image = Step::Todo;
                memory.preparation.spec = Step::Todo;
                Turn::Again
            }
            Err(engine::Error::Unreachable(_) | engine::Error::NotModified) => {
                Turn::Rest(Some(scene.now.boot + AWAY_AGAIN))
            }
            Err(engine::Error::Infrastructure(message)) => {
                let PodKey { namespace, name } = scene.key;
                warn!(namespace, pod = name, error = message, "the engine could not create a container; trying again");
                memory.preparation.create = Step::Trouble(Trouble {
                    reason: "CreateContainerError".to_owned(),
                    message,
                    retry_at: scene.now.boot + INFRASTRUCTURE_RETRY,
                });
                Turn::Again
            }
            Err(engine::Error::NotFound(message)) if scene.sandbox.is_some_and(|sandbox| message.contains(sandbox)) => {
                self.doubt_sandbox(scene)
            }
            Err(engine::Error::NotFound(message) | engine::Error::Refused { status: _, message }) => {
                memory.preparation.create = self.trouble(scene, memory, "CreateContainerError", message);
                // What was refused may be put right in the meantime (a config map, a volume).
                memory.preparation.volumes = Step::Todo;
                memory.preparation.spec = Step::Todo;
                Turn::Again
            }
        }
    }

    /// Its end is not known here yet; if it lives, the call is made again.
    fn doubt_sandbox(&self, scene: &Scene<'_>) -> Turn {
        if let Some(sandbox) = scene.sandbox {
            self.containers.suspect(sandbox);
        }
        Turn::Rest(Some(scene.now.boot + AWAY_AGAIN))
    }

    /// Sends start: once in the life of an attempt, whatever comes back (D-403, D-406).
    async fn start(&self, scene: &Scene<'_>, id: &str, memory: &mut Memory) -> Turn {
        let Some(slot) = self.slots.acquire(scene.key) else {
            memory.waits_for_slot = true;
            return Turn::Rest(None);
        };
        // From here on it may have been sent.
        memory.calls.start = Call::Lost;
        let result = self.engine.start(id).await;
        drop(slot);
        failpoint::hit("node.after_start_sent");
        match result {
            Ok(()) | Err(engine::Error::NotModified) => memory.calls.start = Call::Done,
            Err(engine::Error::Refused { status: _, message }) => memory.calls.start = Call::Refused(message),
            Err(
                error @ (engine::Error::Infrastructure(_) | engine::Error::NotFound(_) | engine::Error::Conflict(_)),
            ) => {
                // Not proof of anything (D-1602): the fence decides. If it never ran, it is tried again, not at once.
                let PodKey { namespace, name } = scene.key;
                warn!(namespace, pod = name, error = %error, "the engine could not start a container; looking what became of it");
                memory.preparation.create = Step::Trouble(Trouble {
                    reason: "RunContainerError".to_owned(),
                    message: error.to_string(),
                    retry_at: scene.now.boot + INFRASTRUCTURE_RETRY,
                });
            }
            Err(engine::Error::Unreachable(_)) => {}
        }
        if memory.calls.start == Call::Done {
            self.containers.started(id);
            return Turn::Again;
        }
        self.containers.suspect(id);
        if memory.calls.start == Call::Lost
            && let Some(sandbox) = scene.sandbox
        {
            self.containers.suspect(sandbox);
        }
        Turn::Again
    }

    /// Removes without force: what runs is not touched, what is gone by this never ran after it (D-406).
    async fn fence(&self, scene: &Scene<'_>, id: &str, memory: &mut Memory, replayed: &mut Replayed) -> Turn {
        memory.calls.fence = Call::Lost;
        memory.calls.doubt_since.get_or_insert(scene.now.boot);
        self.containers.touch(id);
        let result = self.engine.remove(id, false).await;
        self.containers.suspect(id);
        // What was replayed before the fence says nothing about what came after.
        replayed.remove(id);
        match result {
            Ok(()) | Err(engine::Error::NotFound(_)) => memory.calls.fence = Call::Done,
            Err(engine::Error::Unreachable(_)) => return Turn::Rest(Some(scene.now.boot + AWAY_AGAIN)),
            Err(error) => {
                memory.calls.fence = Call::Refused(error.to_string());
                memory.calls.fence_again = Some(scene.now.boot + FENCE_RETRY);
            }
        }
        Turn::Again
    }

    /// Asks the engine's memory of events about one container.
    async fn replay(&self, id: &str, now: Now) -> Option<History> {
        // From the beginning: the engine keeps few events (D-506), and its stamps may lie before ours if the clock was set.
        let since = Timestamp::from_second(1).ok();
        let read = async {
            let mut stream = self.engine.events(&self.label(), since, Some(now.wall)).await.ok()?;
            let (mut created, mut destroyed, mut died) = (false, false, None);
            while let Some(event) = stream.next().await {
                let event = event.ok()?;
                if event.id != id {
                    continue;
                }
                match event.action {
                    EventAction::Create => created = true,
                    EventAction::Die { exit_code } => died = Some(Died { exit_code, at: event.at }),
                    EventAction::Destroy => destroyed = true,
                    EventAction::Start
                    | EventAction::Oom
                    | EventAction::Kill(_)
                    | EventAction::Stop
                    | EventAction::Pause
                    | EventAction::Unpause
                    | EventAction::Other(_) => {}
                }
            }
            let evidence = if created { Evidence::Complete { destroyed } } else { Evidence::Missing };
            Some(History { evidence, died, ..History::default() })
        };
        tokio::time::timeout(REPLAY_TIMEOUT, read).await.ok().flatten()
    }

    pub(super) fn label(&self) -> String {
        format!("{}={}", label::INSTANCE, self.facts().instance)
    }

    /// J-2515.
    async fn read_termination(&self, scene: &Scene<'_>) -> String {
        let (Some(container), Some(last)) = (scene.pod_container(), scene.last) else { return String::new() };
        let pod_dir = self.directories.pod(scene.uid());
        let all = scene.pod.spec.as_ref().map_or(1, |spec| roster(spec).len());
        let text = termination::read(&termination::path(&pod_dir, &container.name, last.attempt));
        let failed = matches!(scene.container, Seen::Present(found) if found.exit_code != 0);
        let fallback = container.termination_message_policy.as_deref() == Some("FallbackToLogsOnError");
        if !text.is_empty() || !failed || !fallback {
            return termination::share(text, all);
        }
        let path = logs::path(&pod_dir, &container.name, last.attempt);
        if let Some(id) = &last.container_id
            && !path.exists()
            && let Err(error) = logs::copy(&*self.engine, id, &path).await
        {
            debug!(error = %error, "no log to take the termination message from");
        }
        let lines = tokio::task::spawn_blocking(move || logs::tail(&path, termination::FALLBACK_LINES)).await;
        termination::share(termination::from_log(&lines.ok().and_then(Result::ok).unwrap_or_default()), all)
    }

    /// Whatever comes first, its preStop hook or the stop signal, begins its end (J-2582).
    fn begin_end(&self, scene: &Scene<'_>, memory: &mut Memory) {
        let stopped = scene.pod.metadata.deletion_timestamp.is_some();
        if memory.calls.stop_at.is_none()
            && let Some(container) = scene.pod_container()
        {
            let health = Some(scene.health).filter(|_| !stopped);
            memory.events.push(events::killing(scene.pod, &container.name, scene.role, health));
            if health.is_some_and(|health| health.failed.is_some()) {
                memory.probe_ended = scene.last.map(|last| last.attempt);
            }
            if let Some(failure) = self.vitals.post_start_failure(scene.key, &container.name) {
                memory.hook_failed = scene.last.map(|last| (last.attempt, failure));
            }
        }
        memory.calls.stop_at.get_or_insert(scene.now.boot);
    }

    async fn signal(&self, scene: &Scene<'_>, id: &str, signal: Signal, memory: &mut Memory) -> Turn {
        let name = match signal {
            Signal::Stop => {
                self.begin_end(scene, memory);
                self.stop_signal(scene, memory).await
            }
            Signal::Kill => "SIGKILL".to_owned(),
        };
        // The signal's name may have taken a while: what follows has its time from the signal on.
        let now = self.clock.now().boot;
        self.containers.touch(id);
        let result = self.engine.kill(id, &name).await;
        match result {
            // What did not hear of its end is not killed for not obeying (J-2550); nothing is known, or the engine could not (D-702).
            Err(engine::Error::Unreachable(_) | engine::Error::Infrastructure(_)) => {
                self.containers.suspect(id);
                return Turn::Rest(Some(now + AWAY_AGAIN));
            }
            Ok(()) => {}
            // It does not run any more, or the engine cannot: the next look tells.
            Err(error) => {
                debug!(container = id, error = %error, "signal not delivered");
                self.containers.suspect(id);
            }
        }
        match signal {
            Signal::Stop => memory.calls.term_at = Some(now),
            Signal::Kill => memory.calls.kill_at = Some(now),
        }
        Turn::Again
    }

    /// The image's, else TERM.
    async fn stop_signal(&self, scene: &Scene<'_>, memory: &mut Memory) -> String {
        if memory.image.is_none()
            && let Seen::Present(found) = scene.container
            && let Ok(image) = self.engine.inspect_image(&found.image_id).await
        {
            memory.image = Some(image);
        }
        let signal = memory.image.as_ref().map(|Image { stop_signal, .. }| stop_signal.clone());
        signal.filter(|signal| !signal.is_empty()).unwrap_or_else(|| "SIGTERM".to_owned())
    }
}

/// What the engine has created.
fn made(id: String, spec: &ContainerSpec, image: Option<&Image>) -> engine::Container {
    engine::Container {
        id,
        name: spec.name.clone(),
        labels: spec.labels.clone(),
        status: ContainerStatus::Created,
        exit_code: 0,
        error: String::new(),
        oom_killed: false,
        pid: 0,
        started_at: None,
        finished_at: None,
        image: spec.image.clone(),
        image_id: image.map(|image| image.id.clone()).unwrap_or_default(),
        ip: String::new(),
    }
}

/// It was made for a sandbox with another id: then its request differs.
fn is_of_lost_sandbox(found: &engine::Container, spec: &ContainerSpec) -> bool {
    let hash = |labels: &BTreeMap<String, String>| labels.get(label::SPEC_HASH).cloned();
    matches!(spec.network, Network::Container(_))
        && is_ours(&found.labels, spec)
        && found.status == ContainerStatus::Created
        && hash(&found.labels) != hash(&spec.labels)
}

/// D-401: the labels say whose it is.
fn is_ours(found: &BTreeMap<String, String>, spec: &ContainerSpec) -> bool {
    [label::INSTANCE, label::UID, label::CONTAINER, label::ATTEMPT]
        .into_iter()
        .all(|name| found.get(name) == spec.labels.get(name))
}
