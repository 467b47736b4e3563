//! The file in which a program leaves its last words (J-2515, D-1007).

use std::{
    fs,
    io::{self, Read as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

/// J-2515.
const MESSAGE_MAX: usize = 4096;
/// J-2515: the end of the log that stands in for an empty file.
pub const FALLBACK_BYTES: usize = 2048;
pub const FALLBACK_LINES: usize = 80;

/// J-2515: what all containers of a pod may say together.
const POD_MAX: usize = 12 * 1024;

/// A container's share of that.
#[must_use]
pub fn share(text: String, containers: usize) -> String {
    cut(text, MESSAGE_MAX.min(POD_MAX / containers.max(1)))
}

/// Where an attempt's file is.
#[must_use]
pub fn path(pod_dir: &Path, container: &str, attempt: u32) -> PathBuf {
    pod_dir.join("termination").join(format!("{container}-{attempt}"))
}

/// Makes the empty file that every user in the container may write.
///
/// # Errors
/// When the data directory cannot be written.
pub fn prepare(path: &Path) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::File::create(path)?;
    // Not by the umask: any user of any image may have to write it.
    fs::set_permissions(path, fs::Permissions::from_mode(0o666))
}

/// What was left; empty when there is nothing or no file.
#[must_use]
pub fn read(path: &Path) -> String {
    let mut bytes = Vec::new();
    // The file was bound into the container: what is there now may be anything but must not be followed elsewhere.
    let plain = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_file());
    if plain && let Ok(file) = fs::File::open(path) {
        let _ = file.take(MESSAGE_MAX as u64).read_to_end(&mut bytes);
    }
    let text = String::from_utf8_lossy(&bytes).into_owned();
    cut(text, MESSAGE_MAX)
}

/// U+FFFD is longer than the byte it stands for.
fn cut(mut text: String, most: usize) -> String {
    if text.len() > most {
        let mut end = most;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
    }
    text
}

/// The last lines of a log as a message (`FallbackToLogsOnError`).
#[must_use]
pub fn from_log(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut start = text.len().saturating_sub(FALLBACK_BYTES);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    text[start..].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_is_bound_j2515() {
        let dir = tempfile::tempdir().unwrap();
        let file = path(dir.path(), "main", 0);
        assert_eq!(read(&file), "");
        prepare(&file).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o666);
        assert_eq!(read(&file), "");
        fs::write(&file, vec![b'a'; 10_000]).unwrap();
        assert_eq!(read(&file).len(), 4096);
        fs::write(&file, vec![0xff; 4096]).unwrap();
        assert!(read(&file).len() <= 4096);
        assert_eq!(from_log(&[b'x'; 5000]).len(), 2048);
        assert_eq!(share("a".repeat(5000), 1).len(), 4096);
        assert_eq!(share("a".repeat(5000), 6).len(), 2048);
    }

    #[test]
    fn a_link_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("link");
        std::os::unix::fs::symlink("/etc/hostname", &file).unwrap();
        assert_eq!(read(&file), "");
    }
}
