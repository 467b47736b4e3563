//! The file that keeps some space back for a full disk: freed then, so that deletes and status writes go through (R-9, F-5).

use std::{
    fs::OpenOptions,
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

/// How much is kept back: room for about a thousand status writes, their log included.
const BYTES: u64 = 16 << 20;

/// Below this much space an open may fail: the log's index is 32 KiB, and the log itself grows with a migration.
const OPEN_BYTES: u64 = 1 << 20;

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
        if self.available()? < 2 * BYTES {
            return Err(std::io::ErrorKind::StorageFull.into());
        }
        self.fill().inspect_err(|_| {
            let _ = self.free();
        })
    }

    /// Whether the disk has not even room for the files that SQLite makes when it opens the database.
    pub(super) fn is_needed_to_open(&self) -> bool {
        self.available().is_ok_and(|bytes| bytes < OPEN_BYTES)
    }

    fn available(&self) -> std::io::Result<u64> {
        #[cfg(test)]
        if limit::pages(&self.path).is_some() {
            return Ok(OPEN_BYTES);
        }
        let directory = self.path.parent().unwrap_or(Path::new("."));
        let disk = rustix::fs::statvfs(directory)?;
        Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
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

/// A disk that is full after so many pages, for tests: without root, and the same on every machine. The number stands in a
/// file beside the database; the reserve, while it is there, takes its part of the disk as it does on a real one.
#[cfg(test)]
pub(super) mod limit {
    use std::path::Path;

    use sqlx::{AssertSqlSafe, SqliteConnection};

    pub(in crate::store) const EXTENSION: &str = "limit";

    pub(super) fn pages(database: &Path) -> Option<u64> {
        std::fs::read_to_string(database.with_extension(EXTENSION)).ok()?.parse().ok()
    }

    pub(in crate::store) async fn apply(connection: &mut SqliteConnection, database: &Path) -> Result<(), sqlx::Error> {
        let Some(pages) = pages(database) else { return Ok(()) };
        let freed = if database.with_extension("reserve").exists() { 0 } else { super::BYTES / 4096 };
        let sql = format!("PRAGMA max_page_count = {}", pages + freed);
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await.map(drop)
    }
}
