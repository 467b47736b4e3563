//! An attempt's log after its container is gone: copied byte exact at exit into a compact file of ours, with the stream and the
//! time of every piece (DESIGN section 6, D-612, D-901 to D-905).
//!
//! File: `jobdlog1`, then for each piece: one byte (1: stderr), the time since the piece before in nanoseconds as zigzag varint, the
//! length as varint, the bytes. A file is complete when it has its final name: it is written under another one and renamed.

use std::{
    fs,
    io::{self, BufReader, BufWriter, Read, Write as _},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream::BoxStream};
use jiff::Timestamp;

use crate::engine::{Engine, Error, LogFrame, LogQuery};

const MAGIC: &[u8; 8] = b"jobdlog1";
/// A piece of a line has at most 16 KiB (D-901); more than this means that the file is damaged.
const PIECE_MAX: u64 = 16 << 20;

/// Where an attempt's copy is.
#[must_use]
pub fn path(pod_dir: &Path, container: &str, attempt: u32) -> PathBuf {
    pod_dir.join("logs").join(format!("{container}-{attempt}.log"))
}

/// What became of a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copied {
    Done,
    /// The container is gone, and its log with it.
    Lost,
}

/// Copies an ended container's log. Durable when it returns.
///
/// # Errors
/// When the engine does not answer or the disk refuses; then nothing is kept of the attempt to copy.
pub async fn copy<E: Engine>(engine: &E, id: &str, path: &Path) -> Result<Copied, CopyError> {
    let frames = match engine.logs(id, LogQuery::default()).await {
        Ok(frames) => frames,
        Err(Error::NotFound(_)) => return Ok(Copied::Lost),
        // A driver that cannot be read, or a container that was never started: there is nothing to keep.
        Err(Error::Refused { .. }) => return Ok(Copied::Lost),
        Err(error) => return Err(error.into()),
    };
    match write(frames, path).await {
        Ok(()) => Ok(Copied::Done),
        // The engine may say so only with the first frame. Without this the attempt would never be tidied up after.
        Err(CopyError::Engine(Error::NotFound(_) | Error::Refused { .. })) => {
            let _ = fs::remove_file(path.with_extension("partial"));
            Ok(Copied::Lost)
        }
        Err(error) => Err(error),
    }
}

/// Why a log was not copied; it is tried again.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    #[error(transparent)]
    Engine(#[from] Error),
    #[error("keep the log: {0}")]
    Disk(#[from] io::Error),
}

async fn write(mut frames: BoxStream<'static, Result<LogFrame, Error>>, path: &Path) -> Result<(), CopyError> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let partial = path.with_extension("partial");
    let mut file = BufWriter::with_capacity(64 << 10, fs::File::create(&partial)?);
    file.write_all(MAGIC)?;
    let mut last = Timestamp::UNIX_EPOCH;
    while let Some(frame) = frames.next().await {
        write_frame(&mut file, &frame?, &mut last)?;
    }
    let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
    // Before the engine's copy goes, ours must be on disk (D-612): once per attempt, off the critical path.
    tokio::task::spawn_blocking(move || file.sync_data()).await.map_err(io::Error::other)??;
    fs::rename(&partial, path)?;
    if let Some(parent) = path.parent() {
        fs::File::open(parent)?.sync_all()?;
    }
    Ok(())
}

fn write_frame(out: &mut impl io::Write, frame: &LogFrame, last: &mut Timestamp) -> io::Result<()> {
    let LogFrame { stderr, at, data } = frame;
    let delta = at.as_nanosecond() - last.as_nanosecond();
    let delta = i64::try_from(delta).unwrap_or(0);
    out.write_all(&[u8::from(*stderr)])?;
    write_varint(out, ((delta << 1) ^ (delta >> 63)).cast_unsigned())?;
    write_varint(out, data.len() as u64)?;
    out.write_all(data)?;
    *last = *at;
    Ok(())
}

fn write_varint(out: &mut impl io::Write, mut value: u64) -> io::Result<()> {
    let mut bytes = [0; 10];
    let mut length = 0;
    loop {
        let low = (value & 0x7f) as u8;
        value >>= 7;
        bytes[length] = if value == 0 { low } else { low | 0x80 };
        length += 1;
        if value == 0 {
            return out.write_all(&bytes[..length]);
        }
    }
}

fn read_varint(input: &mut impl Read) -> io::Result<u64> {
    let (mut value, mut shift) = (0_u64, 0);
    loop {
        let mut byte = [0];
        input.read_exact(&mut byte)?;
        if shift > 63 {
            return Err(io::ErrorKind::InvalidData.into());
        }
        value |= u64::from(byte[0] & 0x7f) << shift;
        if byte[0] & 0x80 == 0 {
            return Ok(value);
        }
        shift += 7;
    }
}

/// Reads a copy piece by piece.
pub struct Copy<R> {
    input: R,
    last: Timestamp,
}

impl Copy<BufReader<fs::File>> {
    /// # Errors
    /// When there is no copy, or it is not one.
    pub fn open(path: &Path) -> io::Result<Self> {
        Self::new(BufReader::with_capacity(64 << 10, fs::File::open(path)?))
    }
}

impl<R: Read> Copy<R> {
    fn new(mut input: R) -> io::Result<Self> {
        let mut magic = [0; 8];
        input.read_exact(&mut magic)?;
        if magic != *MAGIC {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "not a log of ours"));
        }
        Ok(Self { input, last: Timestamp::UNIX_EPOCH })
    }

    fn read(&mut self) -> io::Result<Option<LogFrame>> {
        let mut kind = [0];
        match self.input.read_exact(&mut kind) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            other => other?,
        }
        let zigzag = read_varint(&mut self.input)?;
        let delta = (zigzag >> 1).cast_signed() ^ -(zigzag & 1).cast_signed();
        let length = read_varint(&mut self.input)?;
        if length > PIECE_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the log is damaged"));
        }
        let mut data = vec![0; usize::try_from(length).unwrap_or_default()];
        self.input.read_exact(&mut data)?;
        let at = self.last.as_nanosecond() + i128::from(delta);
        self.last = Timestamp::from_nanosecond(at).map_err(io::Error::other)?;
        Ok(Some(LogFrame { stderr: kind[0] == 1, at: self.last, data: Bytes::from(data) }))
    }
}

impl<R: Read> Iterator for Copy<R> {
    type Item = io::Result<LogFrame>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}

/// The last lines of a copy as bytes (J-2515).
///
/// # Errors
/// When there is no copy, or it is damaged.
pub fn tail(path: &Path, lines: usize) -> io::Result<Vec<u8>> {
    let mut tail = super::read::Tail::new(lines);
    for frame in Copy::open(path)? {
        tail.push(frame?);
    }
    Ok(tail.finish().into_iter().flat_map(|frame| frame.data).collect())
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use proptest::prelude::*;

    use super::*;

    fn frame(stderr: bool, nanos: i64, data: &[u8]) -> LogFrame {
        LogFrame { stderr, at: Timestamp::from_nanosecond(nanos.into()).unwrap(), data: Bytes::copy_from_slice(data) }
    }

    proptest! {
        #[test]
        fn every_byte_comes_back_d905(
            frames in prop::collection::vec((any::<bool>(), 0_i64..i64::MAX, prop::collection::vec(any::<u8>(), 0..80)), 0..20)
        ) {
            let frames: Vec<LogFrame> = frames.iter().map(|(stderr, at, data)| frame(*stderr, *at, data)).collect();
            let mut bytes = MAGIC.to_vec();
            let mut last = Timestamp::UNIX_EPOCH;
            for frame in &frames {
                write_frame(&mut bytes, frame, &mut last).unwrap();
            }
            let back: Vec<LogFrame> = Copy::new(&bytes[..]).unwrap().map(Result::unwrap).collect();
            prop_assert_eq!(back, frames);
        }

        #[test]
        fn a_damaged_copy_is_an_error_and_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut damaged = MAGIC.to_vec();
            damaged.extend(bytes);
            for frame in Copy::new(&damaged[..]).unwrap() {
                if frame.is_err() {
                    break;
                }
            }
        }
    }

    #[tokio::test]
    async fn a_copy_has_its_name_only_when_it_is_complete() {
        let dir = tempfile::tempdir().unwrap();
        let path = path(dir.path(), "main", 3);
        let cut = stream::iter([Ok(frame(false, 1, b"a\n")), Err(Error::Unreachable("cut".to_owned()))]).boxed();
        assert!(write(cut, &path).await.is_err());
        assert!(!path.exists());
        let whole = stream::iter([Ok(frame(false, 1, b"a\n")), Ok(frame(true, 2, b"b"))]).boxed();
        write(whole, &path).await.unwrap();
        assert_eq!(Copy::open(&path).unwrap().count(), 2);
    }
}
