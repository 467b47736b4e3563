//! Images: pull policies, pulls in the background and shared, their back-off and their events (J-2407, J-2523, J-2572 to J-2578).

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use base64::Engine as _;
use k8s_openapi::api::core::v1::{Container, Pod};
use serde_json::Value;

use super::{
    AWAY_AGAIN,
    environment::Sources,
    events,
    observed::{PodKey, Trouble},
};
use crate::{
    driver::Waker,
    engine::{Engine, Error, Image, RegistryAuth},
    recorder::{EventSpec, EventType},
    sys::{Clock, Now},
};

/// J-2523.
const BACKOFF_MIN: Duration = Duration::from_secs(10);
const BACKOFF_MAX: Duration = Duration::from_secs(300);
/// How long a failed pull is shown as `ErrImagePull` before it becomes `ImagePullBackOff` (J-2576).
const SHOW_ERROR: Duration = Duration::from_secs(2);
/// How long an image that was seen is taken for present. A create that misses it says so, and then it is looked for again.
const SEEN_FOR: Duration = Duration::from_secs(30);
/// J-2524.
const RETRY: Duration = Duration::from_secs(10);

/// Whether an attempt's image is there.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Ensured {
    Present(Image),
    /// Being pulled; the pod is woken at its end.
    Pulling,
    Trouble(Trouble),
    /// The engine does not answer.
    Away,
}

/// The state of the pulls for one pod and image.
#[derive(Clone, Debug)]
enum Pull {
    Running {
        since: Duration,
    },
    /// The engine went away meanwhile: not before this time again.
    Lost {
        again: Duration,
    },
    /// Not yet used by the attempt that asked.
    Done {
        took: Duration,
    },
    Failed {
        message: String,
        failures: u32,
        at: Duration,
        told: Told,
    },
}

/// Which of a failed pull's events were made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Nothing,
    Error,
    BackOff,
}

type PodImage = (String, String);

/// Who waits for a running pull.
type Waiting = Vec<(PodKey, PodImage)>;

/// The image part of the runner.
pub(super) struct Images<E> {
    engine: Arc<E>,
    clock: Arc<dyn Clock>,
    waker: Waker<PodKey>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    seen: HashMap<String, (Image, Duration)>,
    pulls: HashMap<PodImage, Pull>,
    failures: HashMap<PodImage, u32>,
    /// Running pulls by image and credentials, shared by all who want the same.
    running: HashMap<(String, Vec<String>), Waiting>,
}

/// What an attempt wants.
#[derive(Clone, Debug)]
pub(super) struct Wanted<'a> {
    pub(super) key: &'a PodKey,
    pub(super) pod: &'a Pod,
    pub(super) container: &'a Container,
    pub(super) sources: &'a Sources,
}

impl<E: Engine> Images<E> {
    pub(super) fn new(engine: Arc<E>, clock: Arc<dyn Clock>, waker: Waker<PodKey>) -> Self {
        Self { engine, clock, waker, state: Arc::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The image was missing when it was needed: look again.
    pub(super) fn forget_image(&self, image: &str) {
        self.state().seen.remove(image);
    }

    /// The pod is gone or over.
    pub(super) fn forget_pod(&self, uid: &str) {
        let mut state = self.state();
        state.pulls.retain(|(of, _), _| of != uid);
        state.failures.retain(|(of, _), _| of != uid);
    }

    /// Looks for the image and pulls it if need be. Events are added to `events`.
    pub(super) async fn ensure(&self, wanted: &Wanted<'_>, now: Now, events: &mut Vec<EventSpec>) -> Ensured {
        let Wanted { pod, container, .. } = wanted;
        let image = container.image.clone().unwrap_or_default();
        let id = (pod.metadata.uid.clone().unwrap_or_default(), image.clone());
        let known = self.state().pulls.get(&id).cloned();
        match known {
            Some(Pull::Running { .. }) => return Ensured::Pulling,
            Some(Pull::Lost { again }) if now.boot < again => return Ensured::Away,
            Some(Pull::Done { took }) => {
                self.state().pulls.remove(&id);
                return self.present_after_pull(wanted, &image, took, now, events).await;
            }
            Some(Pull::Failed { message, failures, at, told }) => {
                let due = at + backoff(failures);
                if now.boot < due {
                    return Ensured::Trouble(self.show(wanted, &id, (message, at, due, told), now, events));
                }
            }
            Some(Pull::Lost { .. }) | None => {}
        }
        let policy = container.image_pull_policy.as_deref().unwrap_or("IfNotPresent");
        if policy == "Always" {
            return self.pull(wanted, id, now, events);
        }
        match self.find(&image, now).await {
            Ok(found) => {
                let message =
                    format!("Container image \"{image}\" already present on machine and can be accessed by the pod");
                events.push(events::container(pod, &container.name, EventType::Normal, "Pulled", message));
                Ensured::Present(found)
            }
            Err(Error::NotFound(_)) if policy == "Never" => {
                let message = format!("Container image \"{image}\" is not present with pull policy of Never");
                let reason = "ErrImageNeverPull";
                events.push(events::container(pod, &container.name, EventType::Warning, reason, message.clone()));
                events.push(events::failed(pod, &container.name, format!("Error: {reason}")));
                Ensured::Trouble(Trouble { reason: reason.to_owned(), message, retry_at: now.boot + RETRY })
            }
            Err(Error::NotFound(_)) => self.pull(wanted, id, now, events),
            Err(Error::Unreachable(_) | Error::Infrastructure(_)) => Ensured::Away,
            Err(error) => Ensured::Trouble(refused(wanted, &image, &error, now, events)),
        }
    }

    async fn find(&self, image: &str, now: Now) -> Result<Image, Error> {
        if let Some((found, at)) = self.state().seen.get(image)
            && now.boot < *at + SEEN_FOR
        {
            return Ok(found.clone());
        }
        let found = self.engine.inspect_image(image).await?;
        self.state().seen.insert(image.to_owned(), (found.clone(), now.boot));
        Ok(found)
    }

    async fn present_after_pull(
        &self,
        wanted: &Wanted<'_>,
        image: &str,
        took: Duration,
        now: Now,
        events: &mut Vec<EventSpec>,
    ) -> Ensured {
        let Wanted { pod, container, .. } = wanted;
        match self.find(image, now).await {
            Ok(found) => {
                let millis = Duration::from_millis(u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
                let took = jobd_api::time::go_duration(millis);
                let message = format!(
                    "Successfully pulled image \"{image}\" in {took} ({took} including waiting). Image size: {} bytes.",
                    found.size_bytes
                );
                events.push(events::container(pod, &container.name, EventType::Normal, "Pulled", message));
                Ensured::Present(found)
            }
            Err(Error::Unreachable(_) | Error::Infrastructure(_)) => Ensured::Away,
            Err(error) => Ensured::Trouble(refused(wanted, image, &error, now, events)),
        }
    }

    /// J-2575, J-2576: first the error, then the back-off.
    fn show(
        &self,
        wanted: &Wanted<'_>,
        id: &PodImage,
        (message, at, due, told): (String, Duration, Duration, Told),
        now: Now,
        events: &mut Vec<EventSpec>,
    ) -> Trouble {
        let Wanted { pod, container, .. } = wanted;
        let image = &id.1;
        let back_off = at + SHOW_ERROR;
        if told == Told::Nothing {
            let text = format!("Failed to pull image \"{image}\": {message}");
            events.push(events::failed(pod, &container.name, text));
            events.push(events::failed(pod, &container.name, "Error: ErrImagePull"));
            self.told(id, Told::Error);
        }
        if now.boot < back_off {
            return Trouble { reason: "ErrImagePull".to_owned(), message, retry_at: back_off };
        }
        if told != Told::BackOff {
            let text = format!("Back-off pulling image \"{image}\"");
            events.push(events::container(pod, &container.name, EventType::Normal, "BackOff", text));
            events.push(events::failed(pod, &container.name, "Error: ImagePullBackOff"));
            self.told(id, Told::BackOff);
        }
        Trouble {
            reason: "ImagePullBackOff".to_owned(),
            message: format!("Back-off pulling image \"{image}\": ErrImagePull: {message}"),
            retry_at: due,
        }
    }

    fn told(&self, id: &PodImage, now_told: Told) {
        if let Some(Pull::Failed { told, .. }) = self.state().pulls.get_mut(id) {
            *told = now_told;
        }
    }

    /// Joins a running pull of the same image with the same credentials, or begins one.
    fn pull(&self, wanted: &Wanted<'_>, id: PodImage, now: Now, events: &mut Vec<EventSpec>) -> Ensured {
        let Wanted { key, pod, container, sources } = wanted;
        let image = id.1.clone();
        // Said once, also when the engine went away and the pull begins again.
        if !matches!(self.state().pulls.get(&id), Some(Pull::Lost { .. })) {
            let text = format!("Pulling image \"{image}\"");
            events.push(events::container(pod, &container.name, EventType::Normal, "Pulling", text));
        }
        let credentials = credentials(pod, sources, &image);
        let identity = |one: &RegistryAuth| {
            let RegistryAuth { username, password, server_address, identity_token } = one;
            [username, password, server_address, identity_token].map(String::as_str).join("\0")
        };
        let shared = (image.clone(), credentials.iter().map(identity).collect::<Vec<_>>());
        {
            let mut state = self.state();
            state.pulls.insert(id.clone(), Pull::Running { since: now.boot });
            let waiting = state.running.entry(shared.clone()).or_default();
            waiting.push(((*key).clone(), id));
            if waiting.len() > 1 {
                return Ensured::Pulling;
            }
        }
        let (engine, clock) = (Arc::clone(&self.engine), Arc::clone(&self.clock));
        let (state, waker) = (Arc::clone(&self.state), self.waker.clone());
        tokio::spawn(async move {
            let result = pull_with(&*engine, &image, &credentials).await;
            let now = clock.now();
            let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
            state.seen.remove(&image);
            for (key, id) in state.running.remove(&shared).unwrap_or_default() {
                settle(&mut state, id, &result, now);
                waker.wake(key);
            }
        });
        Ensured::Pulling
    }
}

fn settle(state: &mut State, id: PodImage, result: &Result<(), Error>, now: Now) {
    let since = match state.pulls.remove(&id) {
        Some(Pull::Running { since }) => since,
        Some(Pull::Done { .. } | Pull::Failed { .. } | Pull::Lost { .. }) | None => now.boot,
    };
    match result {
        Ok(()) => {
            state.failures.remove(&id);
            state.pulls.insert(id, Pull::Done { took: now.boot.saturating_sub(since) });
        }
        // The engine went away, not the registry: the pod begins again when it is back (F-8).
        Err(Error::Unreachable(_)) => {
            state.pulls.insert(id, Pull::Lost { again: now.boot + AWAY_AGAIN });
        }
        Err(error) => {
            let failures = state.failures.entry(id.clone()).or_default();
            *failures += 1;
            let failed =
                Pull::Failed { message: error.to_string(), failures: *failures, at: now.boot, told: Told::Nothing };
            state.pulls.insert(id, failed);
        }
    }
}

/// Each of the credentials in turn, none if there are none.
async fn pull_with<E: Engine>(engine: &E, image: &str, credentials: &[RegistryAuth]) -> Result<(), Error> {
    if credentials.is_empty() {
        return engine.pull(image, None).await;
    }
    let mut last = Ok(());
    for auth in credentials {
        last = engine.pull(image, Some(auth)).await;
        match &last {
            Ok(()) | Err(Error::Unreachable(_)) => return last,
            Err(_) => {}
        }
    }
    last
}

fn backoff(failures: u32) -> Duration {
    BACKOFF_MIN.saturating_mul(1 << failures.saturating_sub(1).min(10)).min(BACKOFF_MAX)
}

/// J-2578, and what else the engine may say about a name.
fn refused(wanted: &Wanted<'_>, image: &str, error: &Error, now: Now, events: &mut Vec<EventSpec>) -> Trouble {
    let Wanted { pod, container, .. } = wanted;
    let text = error.to_string();
    let (reason, message) = if text.contains("invalid reference format") {
        let message =
            format!("Failed to apply default image tag \"{image}\": couldn't parse image name \"{image}\": {text}");
        ("InvalidImageName", message)
    } else {
        ("ImageInspectError", format!("Failed to inspect image \"{image}\": {text}"))
    };
    events.push(events::container(pod, &container.name, EventType::Warning, "InspectFailed", message.clone()));
    events.push(events::failed(pod, &container.name, format!("Error: {reason}")));
    Trouble { reason: reason.to_owned(), message, retry_at: now.boot + RETRY }
}

/// Credentials of the pod's pull secrets for the image's registry, in their order.
fn credentials(pod: &Pod, sources: &Sources, image: &str) -> Vec<RegistryAuth> {
    let registry = registry(image);
    let names = pod.spec.iter().flat_map(|spec| spec.image_pull_secrets.iter().flatten());
    let mut found = Vec::new();
    for reference in names {
        let Some(data) = sources.secrets.get(&reference.name).and_then(|secret| secret.data.as_ref()) else { continue };
        let entries = if let Some(config) = data.get(".dockerconfigjson") {
            let parsed: Option<Value> = serde_json::from_slice(&config.0).ok();
            parsed.and_then(|config| config.get("auths").cloned())
        } else {
            data.get(".dockercfg").and_then(|config| serde_json::from_slice(&config.0).ok())
        };
        let entries: BTreeMap<String, Value> =
            entries.and_then(|entries| serde_json::from_value(entries).ok()).unwrap_or_default();
        for (server, entry) in entries {
            if host(&server) == host(&registry) {
                found.push(auth(&server, &entry));
            }
        }
    }
    found
}

/// `docker.io` for names without a registry.
fn registry(image: &str) -> String {
    match image.split_once('/') {
        Some((first, _)) if first.contains(['.', ':']) || first == "localhost" => first.to_owned(),
        Some(_) | None => "docker.io".to_owned(),
    }
}

/// The registry's host out of the forms that configurations use.
fn host(server: &str) -> String {
    let bare = server.split_once("://").map_or(server, |(_, rest)| rest);
    let host = bare.split('/').next().unwrap_or_default();
    if matches!(host, "index.docker.io" | "registry-1.docker.io") { "docker.io".to_owned() } else { host.to_owned() }
}

fn auth(server: &str, entry: &Value) -> RegistryAuth {
    let text = |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (mut username, mut password) = (text("username"), text("password"));
    let decoded = base64::engine::general_purpose::STANDARD.decode(text("auth")).ok();
    if username.is_empty()
        && let Some(decoded) = decoded.and_then(|bytes| String::from_utf8(bytes).ok())
        && let Some((user, secret)) = decoded.split_once(':')
    {
        (username, password) = (user.to_owned(), secret.to_owned());
    }
    RegistryAuth { username, password, server_address: server.to_owned(), identity_token: text("identitytoken") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pull_back_offs_double_to_five_minutes_j2523() {
        let waits: Vec<u64> = (1..=7).map(|failures| backoff(failures).as_secs()).collect();
        assert_eq!(waits, [10, 20, 40, 80, 160, 300, 300]);
        assert_eq!(backoff(u32::MAX), BACKOFF_MAX);
    }

    #[test]
    fn registries_are_found_in_image_names() {
        assert_eq!(registry("busybox:1"), "docker.io");
        assert_eq!(registry("library/busybox"), "docker.io");
        assert_eq!(registry("localhost/x"), "localhost");
        assert_eq!(registry("127.0.0.1:5000/x:1"), "127.0.0.1:5000");
        assert_eq!(host("https://index.docker.io/v1/"), "docker.io");
    }

    #[test]
    fn credentials_come_from_either_form() {
        let entry = serde_json::json!({"auth": "dXNlcjpwYXNz"});
        let found = auth("r", &entry);
        assert_eq!((found.username.as_str(), found.password.as_str()), ("user", "pass"));
        let entry = serde_json::json!({"username": "u", "password": "p", "auth": "dXNlcjpwYXNz"});
        assert_eq!(auth("r", &entry).username, "u");
    }
}
