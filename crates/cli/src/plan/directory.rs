//! A directory in the work bucket's place.
//!
//! An object of the transfer is a file: what follows `transfers/<name>/` in its key is its path.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use brigade::id::BucketName;
use brigade::layout::Layout;
use brigade::ports::{
    self, AwsError, AwsResult, ObjectAt, ObjectFacts, Page, PageObject, ReadObjects, Upload, WriteObjects,
};
use brigade::route::SourceObject;
use md5::{Digest, Md5};
use tempfile::TempDir;

use crate::grants::Usage;

/// The directory; a temporary one goes with it.
#[derive(Debug)]
pub(super) struct Directory {
    root: PathBuf,
    _temporary: Option<TempDir>,
}

impl Directory {
    /// A directory that is kept: new, or empty.
    pub(super) fn create(root: &Path) -> Result<Self> {
        let wrong = |problem: &str| Usage(format!("--out {}: {problem}", root.display()));
        fs::create_dir_all(root).map_err(|error| wrong(&error.to_string()))?;
        let mut inside = fs::read_dir(root).map_err(|error| wrong(&error.to_string()))?;
        if inside.next().is_some() {
            return Err(wrong("is not empty; give a new directory").into());
        }
        Ok(Self { root: root.to_owned(), _temporary: None })
    }

    /// A directory that is not.
    pub(super) fn temporary() -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("brigade-plan-").tempdir();
        let directory =
            directory.context("failed to make a temporary directory; set TMPDIR, or give --out")?;
        Ok(Self { root: directory.path().to_owned(), _temporary: Some(directory) })
    }

    /// Removes what only the steps tell each other.
    pub(super) fn tidy(&self, layout: Layout<'_>) -> Result<()> {
        for key in [layout.claim(), layout.slices(), layout.partitions()] {
            gone(fs::remove_file(self.path(key.as_str())), key.as_str())?;
        }
        for folder in [layout.tallies(), layout.partition_parts()] {
            gone(fs::remove_dir_all(self.path(folder.as_str())), folder.as_str())?;
        }
        Ok(())
    }

    /// Keys are the layout's own: two names, then the path.
    fn path(&self, key: &str) -> PathBuf {
        self.root.join(key.splitn(3, '/').last().unwrap_or(key))
    }

    fn writable(&self, at: &ObjectAt) -> AwsResult<PathBuf> {
        let path = self.path(at.key.as_str());
        let folder = path.parent().unwrap_or(&self.root);
        fs::create_dir_all(folder).map_err(|error| failed(folder, &error))?;
        Ok(path)
    }
}

fn failed(path: &Path, error: &std::io::Error) -> AwsError {
    let said = format!("{}: {error}", path.display());
    match error.kind() {
        ErrorKind::NotFound => AwsError::NotFound(said),
        ErrorKind::AlreadyExists => AwsError::Conflict(said),
        _ => AwsError::Refused(said),
    }
}

/// The bytes of a file: those of the transfer are small.
pub(super) struct Body(Option<Vec<u8>>);

impl ports::Body for Body {
    async fn chunk(&mut self) -> AwsResult<Option<Vec<u8>>> {
        Ok(self.0.take())
    }
}

impl ReadObjects for Directory {
    type Body = Body;

    async fn head(&self, at: &ObjectAt) -> AwsResult<ObjectFacts> {
        let path = self.path(at.key.as_str());
        let size = fs::metadata(&path).map_err(|error| failed(&path, &error))?.len();
        Ok(ObjectFacts { size, ..ObjectFacts::default() })
    }

    async fn read(&self, at: &ObjectAt, _: Option<&str>) -> AwsResult<Body> {
        let path = self.path(at.key.as_str());
        fs::read(&path).map(|bytes| Body(Some(bytes))).map_err(|error| failed(&path, &error))
    }

    async fn try_read(&self, at: &ObjectAt) -> AwsResult<()> {
        self.head(at).await.map(drop)
    }

    async fn try_tags(&self, at: &ObjectAt) -> AwsResult<()> {
        Err(AwsError::Refused(format!("a file has no tags: {at}")))
    }

    async fn list(&self, _: &BucketName, prefix: &str, after: Option<&str>) -> AwsResult<Page> {
        let folder = self.path(prefix);
        let files = match fs::read_dir(&folder) {
            Ok(files) => files,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Page::default()),
            Err(error) => return Err(failed(&folder, &error)),
        };
        let mut objects = Vec::new();
        for file in files {
            let name = file.map_err(|error| failed(&folder, &error))?.file_name();
            let key = format!("{prefix}{}", name.to_string_lossy());
            if after.is_some_and(|after| key.as_str() <= after) {
                continue;
            }
            let key = key.parse().map_err(|error| AwsError::Refused(format!("{error}")))?;
            let object = SourceObject {
                key,
                version: None,
                size: None,
                storage_class: None,
                archived: false,
                encryption: None,
            };
            objects.push(PageObject { object, modified: None, etag: None });
        }
        objects.sort_by(|one, other| one.object.key.cmp(&other.object.key));
        Ok(Page { objects, more: false })
    }
}

fn gone(removed: std::io::Result<()>, key: &str) -> Result<()> {
    match removed {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("failed to remove what stands for {key}"))
        }
        _ => Ok(()),
    }
}

impl WriteObjects for Directory {
    type Upload = Writing;

    async fn write(&self, at: &ObjectAt, bytes: Vec<u8>, _: &str) -> AwsResult<String> {
        let path = self.writable(at)?;
        fs::write(&path, &bytes).map_err(|error| failed(&path, &error))?;
        // Only a manifest's ETag is told; the MD5 of a part would take as long as writing its rows.
        Ok(if path.extension().is_some_and(|extension| extension == "json") {
            hex::encode(Md5::digest(&bytes))
        } else {
            String::new()
        })
    }

    async fn create(&self, at: &ObjectAt, bytes: Vec<u8>) -> AwsResult<()> {
        let path = self.writable(at)?;
        let created = OpenOptions::new().write(true).create_new(true).open(&path);
        created.and_then(|mut file| file.write_all(&bytes)).map_err(|error| failed(&path, &error))
    }

    async fn upload(&self, at: &ObjectAt, _: &str) -> AwsResult<Writing> {
        let path = self.writable(at)?;
        let file = File::create(&path).map_err(|error| failed(&path, &error))?;
        Ok(Writing { path, file })
    }
}

/// A file being written.
#[derive(Debug)]
pub(super) struct Writing {
    path: PathBuf,
    file: File,
}

impl Upload for Writing {
    async fn push(&mut self, bytes: &[u8]) -> AwsResult<()> {
        self.file.write_all(bytes).map_err(|error| failed(&self.path, &error))
    }

    async fn finish(self) -> AwsResult<()> {
        Ok(())
    }
}
