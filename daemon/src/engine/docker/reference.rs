//! Image references as `POST /images/create` wants them.

/// The repository, and the tag or digest: `latest` when there is none (D-1202).
pub(super) fn split(image: &str) -> (String, String) {
    if let Some((repository, digest)) = image.split_once('@') {
        return (repository.to_owned(), digest.to_owned());
    }
    let name_start = image.rfind('/').map_or(0, |slash| slash + 1);
    match image[name_start..].rfind(':') {
        Some(colon) => (image[..name_start + colon].to_owned(), image[name_start + colon + 1..].to_owned()),
        None => (image.to_owned(), "latest".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn splits_the_tag_from_the_name_and_not_from_the_port() {
        for (image, repository, tag) in [
            ("busybox", "busybox", "latest"),
            ("busybox:1.36", "busybox", "1.36"),
            ("127.0.0.1:5000/a/b", "127.0.0.1:5000/a/b", "latest"),
            ("127.0.0.1:5000/a/b:x", "127.0.0.1:5000/a/b", "x"),
            ("r.test/a@sha256:00ff", "r.test/a", "sha256:00ff"),
        ] {
            assert_eq!(split(image), (repository.to_owned(), tag.to_owned()), "{image}");
        }
    }
}
