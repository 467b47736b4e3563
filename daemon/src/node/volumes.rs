//! A pod's volumes as directories of ours that are bound into its containers (D-1001 to D-1008). Synchronous file work: called on a
//! blocking thread.
//!
//! Secrets lie on a tmpfs where the machine has one at `/run` that we may write, so that they never reach the disk; else in the
//! data directory, which is 0700.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read as _},
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Component, Path, PathBuf},
};

use jobd_api::registry::Kind;
use k8s_openapi::api::core::v1::{
    Container, DownwardAPIVolumeFile, HostPathVolumeSource, KeyToPath, Pod, ProjectedVolumeSource, Volume,
};
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};

use super::{
    environment::{self, Environment, Sources},
    host::HostRoot,
    observed::NodeFacts,
    spec, termination,
};
use crate::engine::Mount;

/// `statfs` type of a tmpfs.
const TMPFS_MAGIC: i64 = 0x0102_1994;
/// How much of a file with variables is read: more than any environment can hold.
const VARIABLES_MAX: u64 = 1024 * 1024;
/// J-2410.
const DEFAULT_MODE: i32 = 0o644;

/// Where pods keep their files.
#[derive(Clone, Debug)]
pub struct Directories {
    /// `DATA/pods`
    pods: PathBuf,
    /// Where secrets lie: on a tmpfs if possible.
    secrets: PathBuf,
    /// Secrets never reach the disk.
    pub secrets_in_memory: bool,
    /// Where `hostPath` volumes are looked at.
    host: HostRoot,
}

/// A volume that could not be set up (J-2584).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeError {
    pub volume: String,
    pub message: String,
}

/// What is bound into one container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mounts {
    pub mounts: Vec<Mount>,
    /// Path -> options.
    pub tmpfs: BTreeMap<String, String>,
}

impl Directories {
    /// Looks whether secrets can lie in memory. `instance` keeps two daemons on one machine apart.
    #[must_use]
    pub fn new(data_dir: &Path, instance: &str, host: HostRoot) -> Self {
        Self::with_runtime_dir(data_dir, &Path::new("/run/jobd").join(instance), host)
    }

    fn with_runtime_dir(data_dir: &Path, runtime: &Path, host: HostRoot) -> Self {
        let pods = data_dir.join("pods");
        let made = make_private(runtime).is_ok();
        let in_memory =
            made && rustix::fs::statfs(runtime).is_ok_and(|stat| i128::from(stat.f_type) == i128::from(TMPFS_MAGIC));
        if made && !in_memory {
            // Nothing of ours stays where we don't use it.
            let _ = fs::remove_dir(runtime);
        }
        let secrets = if in_memory { runtime.join("pods") } else { pods.clone() };
        Self { pods, secrets, secrets_in_memory: in_memory, host }
    }

    /// The directory of one pod.
    #[must_use]
    pub fn pod(&self, uid: &str) -> PathBuf {
        self.pods.join(uid)
    }

    fn volume(&self, uid: &str, volume: &Volume) -> PathBuf {
        let root = if is_secret(volume) || is_memory(volume) { &self.secrets } else { &self.pods };
        root.join(uid).join("volumes").join(&volume.name)
    }

    /// Removes everything of a pod, logs included.
    ///
    /// # Errors
    /// When something cannot be removed; absent is removed.
    pub fn remove_pod(&self, uid: &str) -> io::Result<()> {
        for root in [&self.pods, &self.secrets] {
            match fs::remove_dir_all(root.join(uid)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }

    /// Removes what a pod that is over no longer needs: all but its logs. Secrets take memory, and scratch files may be large.
    pub fn remove_volumes(&self, uid: &str) {
        let pod = self.pods.join(uid);
        let mut gone = vec![pod.join("volumes"), pod.join("termination")];
        if self.secrets != self.pods {
            gone.push(self.secrets.join(uid));
        }
        for dir in gone {
            match fs::remove_dir_all(&dir) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    tracing::warn!(uid, error = %error, "files of an ended pod remain until it is deleted");
                }
                Ok(()) | Err(_) => {}
            }
        }
    }

    /// The uids of all pods that have files.
    #[must_use]
    pub fn uids(&self) -> Vec<String> {
        let roots = [&self.pods, &self.secrets];
        let entries = roots.into_iter().filter_map(|root| fs::read_dir(root).ok()).flatten().flatten();
        let mut uids: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        uids.sort();
        uids.dedup();
        uids
    }
}

fn make_private(dir: &Path) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    fs::set_permissions(dir, fs::Permissions::from_mode(0o700))
}

fn is_secret(volume: &Volume) -> bool {
    let projected = volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten());
    volume.secret.is_some() || projected.into_iter().any(|source| source.secret.is_some())
}

fn is_memory(volume: &Volume) -> bool {
    volume.empty_dir.as_ref().is_some_and(|dir| dir.medium.as_deref() == Some("Memory"))
}

/// A memory volume that a tmpfs of the engine cannot be, because that has one container as its whole user (D-1004): it is a directory in
/// memory, without a limit of its own.
fn is_shared_memory(pod: &Pod, volume: &Volume) -> bool {
    let spec = pod.spec.as_ref();
    let containers = spec.into_iter().flat_map(|spec| spec.init_containers.iter().flatten().chain(&spec.containers));
    let mounts = containers.clone().flat_map(|container| container.volume_mounts.iter().flatten());
    let mounts: Vec<_> = mounts.filter(|mount| mount.name == volume.name).collect();
    // Variables are read from it here.
    let sources =
        containers.flat_map(|container| container.env.iter().flatten()).filter_map(|one| one.value_from.as_ref());
    let mut files = sources.filter_map(|source| source.file_key_ref.as_ref());
    let is_read = files.any(|file| file.volume_name == volume.name);
    let is_part =
        |mount: &&k8s_openapi::api::core::v1::VolumeMount| mount.sub_path.is_some() || mount.sub_path_expr.is_some();
    is_memory(volume) && (mounts.len() > 1 || is_read || mounts.iter().any(is_part))
}

/// Makes all volumes of a pod; again after a restart of its container, without harm to what is in them.
///
/// # Errors
/// The first volume that cannot be made.
pub fn prepare(
    directories: &Directories,
    pod: &Pod,
    sources: &Sources,
    node: &NodeFacts,
    stamp: &str,
) -> Result<(), VolumeError> {
    let uid = pod.metadata.uid.as_deref().unwrap_or_default();
    let Some(spec) = &pod.spec else { return Ok(()) };
    let group = spec.security_context.as_ref().and_then(|security| security.fs_group);
    let pod_dir = directories.pod(uid);
    let on_disk = |message: io::Error| VolumeError { volume: String::new(), message: message.to_string() };
    make_private(&directories.pods).and_then(|()| make_private(&pod_dir)).map_err(on_disk)?;
    if spec::has_own_hosts(pod) {
        let address = pod.status.as_ref().and_then(|status| status.pod_ip.as_deref());
        if address.is_none() && !spec::has_no_network(pod) {
            return Err(on_disk(io::Error::other("the pod's address is not known yet")));
        }
        write_hosts(&pod_dir, pod, address).map_err(on_disk)?;
    }
    for volume in spec.volumes.iter().flatten() {
        let dir = directories.volume(uid, volume);
        let failed = |message: String| VolumeError { volume: volume.name.clone(), message };
        if let Some(files) = files_of(pod, volume, sources, node).map_err(failed)? {
            write_atomically(&dir, &files, group, stamp).map_err(|error| failed(error.to_string()))?;
        } else if volume.empty_dir.is_some() {
            if !is_memory(volume) || is_shared_memory(pod, volume) {
                make_empty_dir(&dir, group).map_err(|error| failed(error.to_string()))?;
            }
        } else if let Some(host) = &volume.host_path {
            check_host_path(&directories.host, host).map_err(failed)?;
        } else {
            return Err(failed("this kind of volume is not supported".to_owned()));
        }
    }
    Ok(())
}

/// Whether any volume shows what may change while the pod runs.
#[must_use]
pub fn follow_objects(pod: &Pod) -> bool {
    let mut volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    volumes.any(|volume| {
        let Volume { config_map, secret, downward_api, projected, .. } = volume;
        config_map.is_some() || secret.is_some() || downward_api.is_some() || projected.is_some()
    })
}

/// The config maps and secrets that volumes show.
#[must_use]
pub fn objects(pod: &Pod) -> Vec<(Kind, String)> {
    let mut found = Vec::new();
    for Volume { config_map, secret, projected, .. } in pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten()) {
        found.extend(config_map.as_ref().map(|source| (Kind::ConfigMap, source.name.clone())));
        found.extend(secret.as_ref().and_then(|source| Some((Kind::Secret, source.secret_name.clone()?))));
        for source in projected.iter().flat_map(|projected| projected.sources.iter().flatten()) {
            found.extend(source.config_map.as_ref().map(|source| (Kind::ConfigMap, source.name.clone())));
            found.extend(source.secret.as_ref().map(|source| (Kind::Secret, source.name.clone())));
        }
    }
    found
}

/// Writes anew what has changed in the volumes of a running pod. What cannot be made any more (its object was deleted) stays as it was.
pub fn refresh(directories: &Directories, pod: &Pod, sources: &Sources, node: &NodeFacts, stamp: &str) {
    let uid = pod.metadata.uid.as_deref().unwrap_or_default();
    let Some(spec) = &pod.spec else { return };
    let group = spec.security_context.as_ref().and_then(|security| security.fs_group);
    for volume in spec.volumes.iter().flatten() {
        let dir = directories.volume(uid, volume);
        let written = match files_of(pod, volume, sources, node) {
            Ok(Some(files)) if dir.exists() => {
                write_atomically(&dir, &files, group, stamp).map_err(|error| error.to_string())
            }
            Ok(_) => continue,
            Err(error) => Err(error),
        };
        if let Err(error) = written {
            tracing::debug!(uid, volume = volume.name, error, "a mounted volume stays as it is");
        }
    }
}

/// One file of a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
struct File {
    path: String,
    bytes: Vec<u8>,
    mode: i32,
}

/// The files of a config map, secret, downward API or projected volume; none for the other kinds.
fn files_of(pod: &Pod, volume: &Volume, sources: &Sources, node: &NodeFacts) -> Result<Option<Vec<File>>, String> {
    let mut files = Vec::new();
    if let Some(source) = &volume.config_map {
        let mode = source.default_mode.unwrap_or(DEFAULT_MODE);
        let data = config_map(sources, &source.name, source.optional)?;
        keys(&mut files, data, source.items.as_deref(), mode, source.optional)?;
    } else if let Some(source) = &volume.secret {
        let mode = source.default_mode.unwrap_or(DEFAULT_MODE);
        let name = source.secret_name.clone().unwrap_or_default();
        let data = secret(sources, &name, source.optional)?;
        keys(&mut files, data, source.items.as_deref(), mode, source.optional)?;
    } else if let Some(source) = &volume.downward_api {
        let mode = source.default_mode.unwrap_or(DEFAULT_MODE);
        downward(&mut files, pod, source.items.as_deref(), mode, node)?;
    } else if let Some(source) = &volume.projected {
        projected(&mut files, pod, source, sources, node)?;
    } else {
        return Ok(None);
    }
    Ok(Some(files))
}

fn projected(
    files: &mut Vec<File>,
    pod: &Pod,
    projected: &ProjectedVolumeSource,
    sources: &Sources,
    node: &NodeFacts,
) -> Result<(), String> {
    let mode = projected.default_mode.unwrap_or(DEFAULT_MODE);
    for source in projected.sources.iter().flatten() {
        if let Some(map) = &source.config_map {
            let data = config_map(sources, &map.name, map.optional)?;
            keys(files, data, map.items.as_deref(), mode, map.optional)?;
        }
        if let Some(of) = &source.secret {
            let data = secret(sources, &of.name, of.optional)?;
            keys(files, data, of.items.as_deref(), mode, of.optional)?;
        }
        if let Some(api) = &source.downward_api {
            downward(files, pod, api.items.as_deref(), mode, node)?;
        }
        if source.service_account_token.is_some() {
            return Err("service account tokens are not served".to_owned());
        }
    }
    Ok(())
}

/// What an object has for the files of a volume, and what is said of a key that it has not.
struct Data {
    values: BTreeMap<String, Vec<u8>>,
    lacking: &'static str,
}

fn config_map(sources: &Sources, name: &str, optional: Option<bool>) -> Result<Data, String> {
    let lacking = "configmap references non-existent config key";
    let Some(map) = sources.config_maps.get(name) else { return absent("configmap", name, optional, lacking) };
    let text = map.data.iter().flatten().map(|(key, value)| (key.clone(), value.clone().into_bytes()));
    let binary = map.binary_data.iter().flatten().map(|(key, value)| (key.clone(), value.0.clone()));
    Ok(Data { values: text.chain(binary).collect(), lacking })
}

fn secret(sources: &Sources, name: &str, optional: Option<bool>) -> Result<Data, String> {
    let lacking = "references non-existent secret key";
    let Some(secret) = sources.secrets.get(name) else { return absent("secret", name, optional, lacking) };
    let values = secret.data.iter().flatten().map(|(key, value)| (key.clone(), value.0.clone())).collect();
    Ok(Data { values, lacking })
}

fn absent(kind: &str, name: &str, optional: Option<bool>, lacking: &'static str) -> Result<Data, String> {
    if optional == Some(true) {
        return Ok(Data { values: BTreeMap::new(), lacking });
    }
    Err(format!("{kind} \"{name}\" not found"))
}

/// All keys, or those of `items` under their paths.
fn keys(
    files: &mut Vec<File>,
    Data { values, lacking }: Data,
    items: Option<&[KeyToPath]>,
    mode: i32,
    optional: Option<bool>,
) -> Result<(), String> {
    match items {
        None | Some([]) => files.extend(values.into_iter().map(|(path, bytes)| File { path, bytes, mode })),
        Some(items) => {
            for item in items {
                match values.get(&item.key) {
                    Some(bytes) => {
                        let mode = item.mode.unwrap_or(mode);
                        files.push(File { path: item.path.clone(), bytes: bytes.clone(), mode });
                    }
                    None if optional == Some(true) => {}
                    None => return Err(format!("{lacking}: {}", item.key)),
                }
            }
        }
    }
    Ok(())
}

fn downward(
    files: &mut Vec<File>,
    pod: &Pod,
    items: Option<&[DownwardAPIVolumeFile]>,
    mode: i32,
    node: &NodeFacts,
) -> Result<(), String> {
    for item in items.unwrap_or_default() {
        let text = if let Some(field) = &item.field_ref {
            environment::field(pod, field, node)?
        } else if let Some(resource) = &item.resource_field_ref {
            environment::resource(pod, None, resource, node)?
        } else {
            String::new()
        };
        let mode = item.mode.unwrap_or(mode);
        files.push(File { path: item.path.clone(), bytes: text.into_bytes(), mode });
    }
    Ok(())
}

/// A file's mode as it is written: a group that may own files may read them, as the kubelet sees to.
fn mode_of(file: &File, group: Option<i64>) -> u32 {
    let mode = u32::try_from(file.mode).unwrap_or(0o644) & 0o7777;
    if group.is_some() { mode | ((mode & 0o400) >> 3) } else { mode }
}

/// Whether exactly these files are there already.
fn holds(dir: &Path, files: &[File], group: Option<i64>) -> bool {
    let wanted: BTreeMap<PathBuf, &File> = files.iter().map(|file| (PathBuf::from(&file.path), file)).collect();
    let data = dir.join("..data");
    let same = |(path, file): (&PathBuf, &&File)| {
        let path = data.join(path);
        fs::symlink_metadata(&path).is_ok_and(|found| found.permissions().mode() & 0o7777 == mode_of(file, group))
            && fs::read(&path).is_ok_and(|bytes| bytes == file.bytes)
    };
    fs::symlink_metadata(&data).is_ok()
        && count_files(&data).is_ok_and(|count| count == wanted.len())
        && wanted.iter().all(same)
}

fn count_files(dir: &Path) -> io::Result<usize> {
    let mut count = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        count += if entry.file_type()?.is_dir() { count_files(&entry.path())? } else { 1 };
    }
    Ok(count)
}

/// The layout that readers know: a new directory, `..data` switched over to it by one rename, and a link for each top name.
fn write_atomically(dir: &Path, files: &[File], group: Option<i64>, stamp: &str) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755))?;
    if holds(dir, files, group) {
        return Ok(());
    }
    let (mut version, mut count) = (format!("..{stamp}"), 0);
    while dir.join(&version).exists() {
        count += 1;
        version = format!("..{stamp}.{count}");
    }
    let new = dir.join(&version);
    fs::create_dir(&new)?;
    for file in files {
        let path = new.join(below(&file.path)?);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&path, &file.bytes)?;
        own(&path, group)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(mode_of(file, group)))?;
    }
    own(dir, group)?;
    let previous = fs::read_link(dir.join("..data")).ok();
    let switch = dir.join("..data_tmp");
    let _ = fs::remove_file(&switch);
    symlink(&version, &switch)?;
    fs::rename(&switch, dir.join("..data"))?;
    let tops: std::collections::BTreeSet<&str> = files.iter().filter_map(|file| file.path.split('/').next()).collect();
    for top in &tops {
        let link = dir.join(top);
        if fs::symlink_metadata(&link).is_err() {
            symlink(Path::new("..data").join(top), &link)?;
        }
    }
    for entry in fs::read_dir(dir)?.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if !name.starts_with("..") && !tops.contains(name.as_ref()) {
            fs::remove_file(entry.path())?;
        }
    }
    if let Some(previous) = previous.filter(|previous| previous.as_os_str() != version.as_str()) {
        let _ = fs::remove_dir_all(dir.join(previous));
    }
    Ok(())
}

/// A relative path that stays below where it starts.
fn below(path: &str) -> io::Result<PathBuf> {
    let path = Path::new(path);
    let normal = path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    if normal && path.components().next().is_some() {
        Ok(path.to_owned())
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{} leaves the volume", path.display())))
    }
}

/// Without the right to change owners (a daemon that is not root) things stay ours.
fn own(path: &Path, group: Option<i64>) -> io::Result<()> {
    let Some(group) = group.and_then(|group| u32::try_from(group).ok()) else { return Ok(()) };
    let group = rustix::fs::Gid::from_raw(group);
    rustix::fs::chownat(rustix::fs::CWD, path, None, Some(group), rustix::fs::AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(())
}

/// D-1003.
fn make_empty_dir(dir: &Path, group: Option<i64>) -> io::Result<()> {
    if dir.exists() {
        return Ok(());
    }
    fs::create_dir_all(dir)?;
    own(dir, group)?;
    // After the change of owner, which clears the group bit.
    let mode = if group.is_some() { 0o2777 } else { 0o777 };
    fs::set_permissions(dir, fs::Permissions::from_mode(mode))
}

/// D-1002: what `type` demands of the path; the two `OrCreate` types are made here, never by the engine.
fn check_host_path(host: &HostRoot, source: &HostPathVolumeSource) -> Result<(), String> {
    let path = Path::new(&source.path);
    let found = host.file_type(path);
    let failed = |what: &str| Err(format!("hostPath type check failed: {} is not a {what}", source.path));
    match source.type_.as_deref().unwrap_or_default() {
        "DirectoryOrCreate" if found.is_none() => host.create_dir_all(path).map_err(|error| error.to_string()),
        "FileOrCreate" if found.is_none() => host.create_file(path).map_err(|error| error.to_string()),
        "Directory" | "DirectoryOrCreate" if found != Some(FileType::Directory) => failed("directory"),
        "File" | "FileOrCreate" if found != Some(FileType::RegularFile) => failed("file"),
        "Socket" if found != Some(FileType::Socket) => failed("socket file"),
        "CharDevice" if found != Some(FileType::CharacterDevice) => failed("character device"),
        "BlockDevice" if found != Some(FileType::BlockDevice) => failed("block device"),
        _ => Ok(()),
    }
}

/// The hosts file as a kubelet writes it. A pod without a network (D-212) finds itself by the loopback.
fn write_hosts(pod_dir: &Path, pod: &Pod, address: Option<&str>) -> io::Result<()> {
    let spec = pod.spec.as_ref();
    let name = spec::hostname(pod);
    let names = match spec::domain(pod) {
        Some(domain) => format!("{name}.{domain}\t{name}"),
        None => name,
    };
    let mut text = String::from(
        "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n\
         fe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n",
    );
    text.push_str(&format!("{}\t{names}\n", address.unwrap_or("127.0.1.1")));
    let aliases: Vec<_> = spec.iter().flat_map(|spec| spec.host_aliases.iter().flatten()).collect();
    if !aliases.is_empty() {
        text.push_str("\n# Entries added by HostAliases.\n");
    }
    for alias in aliases {
        let names = alias.hostnames.iter().flatten().map(String::as_str).collect::<Vec<_>>().join("\t");
        text.push_str(&format!("{}\t{names}\n", alias.ip));
    }
    let path = pod_dir.join("etc-hosts");
    // Bound by containers that run already: written in place, and only if it says something else.
    if fs::read(&path).is_ok_and(|old| old == text.as_bytes()) { Ok(()) } else { fs::write(path, text) }
}

/// The files from which a container takes variables, by volume and path. They lie in the pod's scratch space, where other containers have
/// written them; links in them lead nowhere else.
#[must_use]
pub fn variable_files(
    directories: &Directories,
    pod: &Pod,
    container: &Container,
) -> BTreeMap<(String, String), Result<Option<String>, String>> {
    let uid = pod.metadata.uid.as_deref().unwrap_or_default();
    let variables = container.env.iter().flatten().filter_map(|variable| variable.value_from.as_ref());
    let files = variables.filter_map(|source| source.file_key_ref.as_ref());
    let volumes = || pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    let read = files.filter_map(|file| {
        let volume = volumes().find(|volume| volume.name == file.volume_name)?;
        let text = match read_beneath(&directories.volume(uid, volume), Path::new(&file.path)) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(format!("couldn't parse env file: {error}")),
        };
        Some(((file.volume_name.clone(), file.path.clone()), text))
    });
    read.collect()
}

fn read_beneath(root: &Path, path: &Path) -> io::Result<String> {
    let root = rustix::fs::open(root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = fs::File::from(rustix::fs::openat2(&root, path, flags, Mode::empty(), inside())?);
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut text = String::new();
    file.take(VARIABLES_MAX).read_to_string(&mut text)?;
    Ok(text)
}

/// The mounts of a container, in the order of its `volumeMounts`, with the termination file.
///
/// # Errors
/// The text of the `CreateContainerConfigError`.
pub fn mounts(
    directories: &Directories,
    pod: &Pod,
    container: &Container,
    attempt: u32,
    environment: &Environment,
) -> Result<Mounts, String> {
    let uid = pod.metadata.uid.as_deref().unwrap_or_default();
    let pod_dir = directories.pod(uid);
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    let volumes: BTreeMap<&str, &Volume> = volumes.map(|volume| (volume.name.as_str(), volume)).collect();
    let mut found = Mounts::default();
    for mount in container.volume_mounts.iter().flatten() {
        let volume = volumes
            .get(mount.name.as_str())
            .ok_or_else(|| format!("volume \"{}\" of the container is not in the pod", mount.name))?;
        let sub_path = match (&mount.sub_path_expr, &mount.sub_path) {
            (Some(expression), _) if !expression.is_empty() => {
                let (path, missing) = environment.expand_strict(expression);
                if !missing.is_empty() {
                    return Err(format!("missing value for {missing:?} in subPathExpr \"{expression}\""));
                }
                path
            }
            (_, Some(path)) => path.clone(),
            (_, None) => String::new(),
        };
        if is_memory(volume) && !is_shared_memory(pod, volume) {
            found.tmpfs.insert(mount.mount_path.clone(), tmpfs_options(volume, pod));
            continue;
        }
        let ours = HostRoot::new(Path::new("/"));
        let (seen_at, root) = match &volume.host_path {
            Some(host) => (&directories.host, PathBuf::from(&host.path)),
            // The data directory has the same path on both sides.
            None => (&ours, directories.volume(uid, volume)),
        };
        let source = if sub_path.is_empty() {
            root
        } else {
            resolve_sub_path(seen_at, &root, &sub_path)
                .map_err(|error| format!("failed to prepare subPath for volumeMount \"{}\": {error}", mount.name))?
        };
        found.mounts.push(Mount {
            source: source.to_string_lossy().into_owned(),
            target: absolute(&mount.mount_path),
            // What we write atomically is ours alone to change (D-1005).
            read_only: mount.read_only.unwrap_or_default()
                || volume.config_map.is_some()
                || volume.secret.is_some()
                || volume.projected.is_some()
                || volume.downward_api.is_some(),
            propagation: match mount.mount_propagation.as_deref() {
                Some("HostToContainer") => Some("rslave".to_owned()),
                Some("Bidirectional") => Some("rshared".to_owned()),
                Some(_) | None => None,
            },
        });
    }
    let own = |source: PathBuf, target: &str| Mount {
        source: source.to_string_lossy().into_owned(),
        target: target.to_owned(),
        read_only: false,
        propagation: None,
    };
    if spec::has_own_hosts(pod) && !found.mounts.iter().any(|mount| mount.target == "/etc/hosts") {
        found.mounts.push(own(pod_dir.join("etc-hosts"), "/etc/hosts"));
    }
    let message = container.termination_message_path.as_deref().unwrap_or("/dev/termination-log");
    if !message.is_empty() && !found.mounts.iter().any(|mount| mount.target == message) {
        let file = termination::path(&pod_dir, &container.name, attempt);
        termination::prepare(&file).map_err(|error| format!("termination message file: {error}"))?;
        found.mounts.push(own(file, message));
    }
    Ok(found)
}

fn absolute(path: &str) -> String {
    if path.starts_with('/') { path.to_owned() } else { format!("/{path}") }
}

/// D-1004: the engine's default is noexec.
fn tmpfs_options(volume: &Volume, pod: &Pod) -> String {
    let mut options = String::from("exec,mode=1777");
    let limit = volume.empty_dir.as_ref().and_then(|dir| dir.size_limit.as_ref());
    if let Some(size) = limit.and_then(|limit| jobd_api::quantity::Quantity::parse(&limit.0).ok()) {
        options.push_str(&format!(",size={}", size.value()));
    }
    let security = pod.spec.as_ref().and_then(|spec| spec.security_context.as_ref());
    if let Some(group) = security.and_then(|security| security.fs_group) {
        options.push_str(&format!(",gid={group}"));
    }
    options
}

/// A path below a volume's root, made as directories where it is missing, with no way out: the kernel resolves it beneath the root (D-1006).
fn resolve_sub_path(host: &HostRoot, root: &Path, sub_path: &str) -> io::Result<PathBuf> {
    let relative = below(sub_path)?;
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let root_fd = host.directory(root)?;
    let open = || rustix::fs::openat2(&root_fd, &relative, flags, Mode::empty(), inside());
    let found = match open() {
        Ok(found) => found,
        Err(rustix::io::Errno::NOENT) => {
            make_beneath(&root_fd, &relative)?;
            open()?
        }
        Err(error) => return Err(error.into()),
    };
    host.path_of(&found)
}

fn inside() -> ResolveFlags {
    ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS
}

/// Makes the directories of a path one by one, each opened beneath the root before the next is made in it.
fn make_beneath(root: &impl std::os::fd::AsFd, relative: &Path) -> io::Result<()> {
    let mut made = PathBuf::new();
    for part in relative.components() {
        let parent = if made.as_os_str().is_empty() { PathBuf::from(".") } else { made.clone() };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = rustix::fs::openat2(root, &parent, flags, Mode::empty(), inside())?;
        match rustix::fs::mkdirat(&dir, part.as_os_str(), Mode::from_raw_mode(0o750)) {
            Ok(()) => {
                // New directories are open to the pod, as the volume itself is.
                let mode = rustix::fs::statat(root, &parent, rustix::fs::AtFlags::empty())?.st_mode & 0o7777;
                made.push(part);
                rustix::fs::chmodat(&dir, part.as_os_str(), Mode::from_raw_mode(mode), rustix::fs::AtFlags::empty())?;
            }
            Err(rustix::io::Errno::EXIST) => made.push(part),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::{ConfigMap, Secret};

    use super::*;

    fn file(path: &str, text: &str) -> File {
        File { path: path.to_owned(), bytes: text.as_bytes().to_vec(), mode: 0o640 }
    }

    /// J-2584, in the words of each kind.
    #[test]
    fn an_object_or_a_key_that_is_not_there_is_named() {
        let sources = Sources {
            config_maps: [("c".to_owned(), ConfigMap::default())].into(),
            secrets: [("s".to_owned(), Secret::default())].into(),
            ..Sources::default()
        };
        let said = |source: &str| {
            let volume = serde_json::from_str(&format!(r#"{{"name":"v",{source}}}"#)).unwrap();
            files_of(&Pod::default(), &volume, &sources, &NodeFacts::default()).err().unwrap_or_default()
        };
        let items = r#""items":[{"key":"k","path":"p"}]"#;
        for (source, want) in [
            (r#""configMap":{"name":"x"}"#.to_owned(), "configmap \"x\" not found"),
            (r#""secret":{"secretName":"x"}"#.to_owned(), "secret \"x\" not found"),
            (r#""secret":{"secretName":"x","optional":true}"#.to_owned(), ""),
            (format!(r#""configMap":{{"name":"c",{items}}}"#), "configmap references non-existent config key: k"),
            (format!(r#""secret":{{"secretName":"s",{items}}}"#), "references non-existent secret key: k"),
            (format!(r#""secret":{{"secretName":"s","optional":true,{items}}}"#), ""),
        ] {
            assert_eq!(said(&source), want, "{source}");
        }
    }

    #[test]
    fn files_are_switched_over_at_once_d1005() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("volume");
        write_atomically(&dir, &[file("a", "1"), file("b/c", "2")], None, "one").unwrap();
        assert_eq!(fs::read_to_string(dir.join("a")).unwrap(), "1");
        assert_eq!(fs::read_to_string(dir.join("b/c")).unwrap(), "2");
        assert_eq!(fs::metadata(dir.join("a")).unwrap().permissions().mode() & 0o777, 0o640);
        write_atomically(&dir, &[file("a", "3")], None, "two").unwrap();
        assert_eq!(fs::read_to_string(dir.join("a")).unwrap(), "3");
        assert!(!dir.join("b").exists());
        assert_eq!(fs::read_link(dir.join("..data")).unwrap(), Path::new("..two"));
        assert!(!dir.join("..one").exists());
        assert!(write_atomically(&dir, &[file("../x", "1")], None, "three").is_err());
        // What is there already is left alone; another mode or one file less is a change.
        write_atomically(&dir, &[file("a", "3")], None, "four").unwrap();
        assert_eq!(fs::read_link(dir.join("..data")).unwrap(), Path::new("..two"));
        write_atomically(&dir, &[File { mode: 0o600, ..file("a", "3") }], None, "five").unwrap();
        assert_eq!(fs::metadata(dir.join("a")).unwrap().permissions().mode() & 0o777, 0o600);
        write_atomically(&dir, &[], None, "six").unwrap();
        assert!(!dir.join("a").exists());
    }

    #[test]
    fn a_sub_path_never_leaves_its_volume_d1006() {
        let host = HostRoot::new(Path::new("/"));
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("volume");
        fs::create_dir(&root).unwrap();
        fs::create_dir(dir.path().join("outside")).unwrap();
        symlink("../outside", root.join("evil")).unwrap();
        symlink("/etc", root.join("host")).unwrap();
        assert!(resolve_sub_path(&host, &root, "evil").is_err());
        assert!(resolve_sub_path(&host, &root, "evil/new").is_err());
        assert!(resolve_sub_path(&host, &root, "host/passwd").is_err());
        assert!(resolve_sub_path(&host, &root, "../outside").is_err());
        let made = resolve_sub_path(&host, &root, "x/y").unwrap();
        assert_eq!(made, fs::canonicalize(root.join("x/y")).unwrap());
        assert!(!dir.path().join("outside/new").exists());
    }

    #[test]
    fn an_empty_dir_is_open_to_all_and_keeps_its_content_d1003() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("scratch");
        make_empty_dir(&dir, None).unwrap();
        assert_eq!(fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o777);
        fs::write(dir.join("kept"), "x").unwrap();
        make_empty_dir(&dir, None).unwrap();
        assert!(dir.join("kept").exists());
    }

    #[test]
    fn host_paths_are_checked_by_their_type_d1002() {
        let host = HostRoot::new(Path::new("/"));
        let dir = tempfile::tempdir().unwrap();
        let source = |name: &str, type_: &str| HostPathVolumeSource {
            path: dir.path().join(name).to_string_lossy().into_owned(),
            type_: Some(type_.to_owned()),
        };
        assert!(check_host_path(&host, &source("a", "Directory")).is_err());
        assert!(check_host_path(&host, &source("a", "DirectoryOrCreate")).is_ok());
        assert!(check_host_path(&host, &source("a", "Directory")).is_ok());
        assert!(check_host_path(&host, &source("a", "File")).is_err());
        assert!(check_host_path(&host, &source("f", "FileOrCreate")).is_ok());
        assert!(check_host_path(&host, &source("f", "File")).is_ok());
        assert!(check_host_path(&host, &source("none", "")).is_ok());
    }
}
