//! Files that only their owner may read: keys, tokens, the kubeconfig. Written whole or not at all.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
};

/// Writes a file (0600) so that readers see the old or the new one, after a crash too.
pub(crate) fn write(path: &Path, text: &str) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let temporary = path.with_file_name(name);
    // One left behind by a crash may have other permissions; the mode below is only for new files.
    match fs::remove_file(&temporary) {
        Err(failure) if failure.kind() != io::ErrorKind::NotFound => return Err(named(&temporary, &failure)),
        Ok(()) | Err(_) => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&temporary)
        .map_err(|failure| named(&temporary, &failure))?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(|failure| named(&temporary, &failure))?;
    fs::rename(&temporary, path).map_err(|failure| named(path, &failure))?;
    match path.parent() {
        Some(directory) => fs::File::open(directory).and_then(|directory| directory.sync_all()),
        None => Ok(()),
    }
}

/// The text of a file; made with `make` when there is none. Access by others is taken away.
pub(crate) fn read_or_make(path: &Path, make: impl FnOnce() -> io::Result<String>) -> io::Result<String> {
    match fs::read_to_string(path) {
        Ok(text) => {
            let metadata = fs::metadata(path).map_err(|failure| named(path, &failure))?;
            if metadata.permissions().mode() & 0o077 != 0 {
                fs::set_permissions(path, fs::Permissions::from_mode(0o600))
                    .map_err(|failure| named(path, &failure))?;
            }
            Ok(text)
        }
        Err(failure) if failure.kind() == io::ErrorKind::NotFound => {
            let text = make()?;
            write(path, &text)?;
            Ok(text)
        }
        Err(failure) => Err(named(path, &failure)),
    }
}

/// The error with the path in it: `io::Error` alone does not say which file.
pub(crate) fn named(path: &Path, failure: &io::Error) -> io::Error {
    io::Error::new(failure.kind(), format!("{}: {failure}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_private_files_and_takes_access_away_from_others() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        assert_eq!(read_or_make(&path, || Ok("one".to_owned())).unwrap(), "one");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(read_or_make(&path, || Ok("two".to_owned())).unwrap(), "one");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        write(&path, "three").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "three");
    }
}
