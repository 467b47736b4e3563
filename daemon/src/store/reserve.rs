//! The file that keeps some space back for a full disk: freed then, so that deletes and status writes go through (R-9, F-5).

use std::{
    fs::OpenOptions,
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

/// How much is kept back: room for about a thousand status writes, their log included.
const BYTES: u64 = 16 << 20;

pub(super) struct Reserve {
    path: PathBuf,
}

impl Reserve {
    pub(super) fn new(database: &Path) -> Self {
        Self { path: super::schema::beside(database, "reserve") }
    }

    /// Gives the space back to the disk.
    pub(super) fn free(&self) -> std::io::Result<()> {
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Takes the space, unless it is taken already. Fails when the disk has no room for it and as much again: on a disk that is
    /// filled to its last byte by the reserve, the next create would only free it again.
    pub(super) fn take(&self) -> std::io::Result<()> {
        if std::fs::metadata(&self.path).is_ok_and(|metadata| metadata.len() == BYTES) {
            return Ok(());
        }
        let directory = self.path.parent().unwrap_or(Path::new("."));
        let disk = rustix::fs::statvfs(directory)?;
        if disk.f_bavail.saturating_mul(disk.f_frsize) < 2 * BYTES {
            return Err(std::io::ErrorKind::StorageFull.into());
        }
        self.fill().inspect_err(|_| {
            let _ = self.free();
        })
    }

    fn fill(&self) -> std::io::Result<()> {
        let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&self.path)?;
        match rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, BYTES) {
            Ok(()) => Ok(()),
            // Not every file system can; zeros take the space as well.
            Err(rustix::io::Errno::OPNOTSUPP) => {
                let zeros = vec![0_u8; 64 << 10];
                (0..BYTES / zeros.len() as u64).try_for_each(|_| file.write_all(&zeros))
            }
            Err(error) => Err(error.into()),
        }
    }
}
