//! The files of the engine's host (D-1001): they are looked at, and made, where this process sees them; the engine gets the host's own
//! paths. Only `hostPath` volumes reach them, everything else lies in directories of ours. Synchronous file work.

use std::{
    fs, io,
    os::fd::{AsRawFd as _, OwnedFd},
    path::{Component, Path, PathBuf},
};

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};

/// What a look without opening takes.
const LOOK: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);

/// Where the host's root directory is seen: `/`, or where it is mounted in our container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostRoot(PathBuf);

impl HostRoot {
    #[must_use]
    pub fn new(root: &Path) -> Self {
        Self(root.to_owned())
    }

    fn is_ours(&self) -> bool {
        self.0 == Path::new("/")
    }

    /// What lies at a path of the host, symbolic links followed; none when there is nothing.
    #[must_use]
    pub fn file_type(&self, path: &Path) -> Option<FileType> {
        if self.is_ours() {
            return rustix::fs::stat(path).ok().map(|stat| FileType::from_raw_mode(stat.st_mode));
        }
        let file = self.open(path, LOOK).ok()?;
        rustix::fs::fstat(file).ok().map(|stat| FileType::from_raw_mode(stat.st_mode))
    }

    /// Makes a directory of the host, with those above it.
    ///
    /// # Errors
    /// When one cannot be made.
    pub fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        if self.is_ours() {
            return fs::create_dir_all(path);
        }
        let mut made = PathBuf::from("/");
        for part in path.components() {
            let Component::Normal(name) = part else { continue };
            let parent = self.open(&made, LOOK | OFlags::DIRECTORY)?;
            match rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(rustix::io::Errno::EXIST) => made.push(name),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Makes an empty file of the host where none is; its directory must be there.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn create_file(&self, path: &Path) -> io::Result<()> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::ErrorKind::InvalidFilename.into());
        };
        let parent = self.directory(parent)?;
        let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC;
        rustix::fs::openat(&parent, name, flags, Mode::from_raw_mode(0o644))?;
        Ok(())
    }

    /// A directory of the host, to resolve paths beneath it.
    ///
    /// # Errors
    /// When there is none.
    pub fn directory(&self, path: &Path) -> io::Result<OwnedFd> {
        if self.is_ours() {
            return Ok(rustix::fs::open(path, LOOK | OFlags::DIRECTORY, Mode::empty())?);
        }
        self.open(path, LOOK | OFlags::DIRECTORY)
    }

    /// The host's path of a file that was opened below [`Self::directory`].
    ///
    /// # Errors
    /// When the kernel does not say.
    pub fn path_of(&self, file: &OwnedFd) -> io::Result<PathBuf> {
        let seen = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
        Ok(seen.strip_prefix(&self.0).map_or(seen.clone(), |rest| Path::new("/").join(rest)))
    }

    /// The kernel resolves the host's absolute links from the host's root, not from ours.
    fn open(&self, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
        let root = rustix::fs::open(&self.0, LOOK | OFlags::DIRECTORY, Mode::empty())?;
        Ok(rustix::fs::openat2(&root, path, flags, Mode::empty(), ResolveFlags::IN_ROOT)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mounted_root_is_looked_at_as_the_host_does_d1001() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let host = HostRoot::new(&root);
        host.create_dir_all(Path::new("/srv/data")).unwrap();
        host.create_dir_all(Path::new("/srv/data")).unwrap();
        assert!(root.join("srv/data").is_dir());
        assert_eq!(host.file_type(Path::new("/srv/data")), Some(FileType::Directory));
        assert_eq!(host.file_type(Path::new("/srv/none")), None);
        // An absolute link of the host means the host's path.
        std::os::unix::fs::symlink("/srv", root.join("link")).unwrap();
        host.create_file(Path::new("/link/file")).unwrap();
        assert!(root.join("srv/file").is_file());
        assert_eq!(host.file_type(Path::new("/link/file")), Some(FileType::RegularFile));
        let found = host.directory(Path::new("/link/data")).unwrap();
        assert_eq!(host.path_of(&found).unwrap(), Path::new("/srv/data"));
    }

    #[test]
    fn our_own_root_is_used_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().canonicalize().unwrap().join("a/b");
        let host = HostRoot::new(Path::new("/"));
        host.create_dir_all(&path).unwrap();
        host.create_file(&path.join("file")).unwrap();
        assert_eq!(host.file_type(&path.join("file")), Some(FileType::RegularFile));
        assert_eq!(host.path_of(&host.directory(&path).unwrap()).unwrap(), path);
    }
}
