//! An inventory report where it lies: in S3, or downloaded into a directory.

use std::collections::HashSet;
use std::error::Error;
use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::iter::successors;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use aws_config::SdkConfig;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use brigade::id::BucketName;
use brigade::inventory::InventoryManifest;
use brigade::ports::{self, AwsError, AwsResult, ObjectAt, ObjectFacts, Page, ReadObjects};

use super::Options;
use crate::grants::Usage;
use crate::terminal::{Progress, Terminal};

/// Bytes read from a file at once.
const CHUNK: usize = 128 * 1024;
/// The bucket that a downloaded report is said to lie in when its `manifest.json` tells none.
const NOWHERE: &str = "downloaded-report";

/// A report.
#[derive(Debug)]
pub(super) struct Report {
    manifest: ObjectAt,
    place: Place,
    progress: Option<Arc<Progress>>,
}

#[derive(Debug)]
enum Place {
    S3(Client),
    /// The directory of `manifest.json`, and how the last data file was found.
    Directory(PathBuf, Mutex<Option<Found>>),
}

/// How a data file was found: which folder it lies below, and how many of its key's names are its path.
#[derive(Clone, Debug)]
struct Found {
    below: PathBuf,
    names: usize,
}

/// The report of the source, and that of the destination if both are compared.
#[derive(Debug)]
pub(super) struct Reports {
    pub(super) source: Report,
    pub(super) destination: Option<Report>,
    /// The keys of the destination's: reports may lie in one bucket, and are told apart by nothing else.
    keys: HashSet<String>,
}

impl Reports {
    /// The reports that the options name.
    pub(super) async fn open(options: &Options, config: Option<&SdkConfig>) -> Result<Self> {
        let source = Report::open("--inventory", &options.inventory, config)?;
        let mut keys = HashSet::new();
        let destination = match &options.changed_since {
            None => None,
            Some(address) => {
                let report = Report::open("--changed-since", address, config)?;
                let manifest = report.manifest.key.to_string();
                keys.insert(manifest.replace("manifest.json", "manifest.checksum"));
                // What is wrong with a manifest.json, the step says.
                let bytes = ports::read_whole(&report, &report.manifest).await.unwrap_or_default();
                let listed = serde_json::from_slice::<InventoryManifest>(&bytes);
                keys.extend(listed.into_iter().flat_map(|listed| listed.files).map(|file| file.key.into()));
                keys.insert(manifest);
                Some(report)
            }
        };
        Ok(Self { source, destination, keys })
    }

    /// Whether one of them is in S3.
    pub(super) fn is_remote(&self) -> bool {
        self.source.is_remote() || self.destination.as_ref().is_some_and(Report::is_remote)
    }

    /// Tells from now on how many data files were read.
    pub(super) fn tell(&mut self, terminal: Terminal, files: u64) {
        let progress = Arc::new(terminal.progress("data files read", files));
        for report in self.destination.iter_mut().chain([&mut self.source]) {
            report.progress = Some(Arc::clone(&progress));
        }
    }

    /// Ends the telling.
    pub(super) fn told(&mut self) {
        self.destination = None;
        if let Some(progress) = self.source.progress.take().and_then(Arc::into_inner) {
            progress.done();
        }
    }

    fn of(&self, at: &ObjectAt) -> &Report {
        match &self.destination {
            Some(destination) if self.keys.contains(at.key.as_str()) => destination,
            _ => &self.source,
        }
    }
}

impl ReadObjects for Reports {
    type Body = Body;

    async fn head(&self, at: &ObjectAt) -> AwsResult<ObjectFacts> {
        self.of(at).head(at).await
    }

    async fn read(&self, at: &ObjectAt, etag: Option<&str>) -> AwsResult<Body> {
        self.of(at).read(at, etag).await
    }

    async fn try_read(&self, at: &ObjectAt) -> AwsResult<()> {
        self.of(at).try_read(at).await
    }

    async fn try_tags(&self, at: &ObjectAt) -> AwsResult<()> {
        self.of(at).try_tags(at).await
    }

    async fn list(&self, bucket: &BucketName, prefix: &str, after: Option<&str>) -> AwsResult<Page> {
        self.source.list(bucket, prefix, after).await
    }
}

impl Report {
    /// The report of a `manifest.json`, by its path or `s3://` address, as an option names it.
    pub(super) fn open(option: &str, address: &str, config: Option<&SdkConfig>) -> Result<Self> {
        let wrong = |problem: String| Usage(format!("{option} {address}: {problem}"));
        let (manifest, place) = match (address.strip_prefix("s3://"), config) {
            (Some(rest), Some(config)) => {
                let Some((bucket, key)) = rest.split_once('/') else {
                    return Err(wrong("give s3://bucket/key of the report's manifest.json".to_owned()).into());
                };
                let bucket: BucketName = bucket.parse().map_err(|e| wrong(format!("{e}")))?;
                let key = key.parse().map_err(|e| wrong(format!("{e}")))?;
                let s3 = aws_sdk_s3::config::Builder::from(config);
                // An endpoint of one's own, such as an emulator's, has no host name per bucket.
                let s3 = s3.force_path_style(config.endpoint_url().is_some()).build();
                (ObjectAt::new(&bucket, key), Place::S3(Client::from_conf(s3)))
            }
            _ => {
                let mut path = PathBuf::from(address);
                if path.is_dir() {
                    path.push("manifest.json");
                }
                if !path.is_file() {
                    return Err(wrong("there is no such file".to_owned()).into());
                }
                let key = path.to_string_lossy().parse().map_err(|e| wrong(format!("{e}")))?;
                let directory = path.parent().map(Path::to_owned).unwrap_or_default();
                let place = Place::Directory(directory, Mutex::default());
                (ObjectAt::new(&NOWHERE.parse()?, key), place)
            }
        };
        Ok(Self { manifest, place, progress: None })
    }

    /// Where its `manifest.json` is.
    pub(super) fn manifest(&self) -> ObjectAt {
        self.manifest.clone()
    }

    /// Whether it is in S3.
    pub(super) fn is_remote(&self) -> bool {
        matches!(self.place, Place::S3(_))
    }

    /// What to do where something of it is missing.
    pub(super) fn remedy(&self) -> &'static str {
        match self.place {
            Place::S3(_) => "compare the address, or wait until S3 has written the whole report",
            Place::Directory(..) => {
                "download it too; data files may lie below folders named like their keys, in data/, or beside manifest.json, manifest.checksum beside it"
            }
        }
    }

    /// The address as a person knows it.
    pub(super) fn named<'a>(&self, address: &'a str) -> &'a str {
        let prefix = format!("s3://{NOWHERE}/");
        address.strip_prefix(prefix.as_str()).unwrap_or(address)
    }

    /// The file of a key.
    fn file(&self, directory: &Path, found: &Mutex<Option<Found>>, key: &str) -> Option<PathBuf> {
        if key == self.manifest.key.as_str() {
            return Some(PathBuf::from(key)).filter(|path| path.is_file());
        }
        if let Some(folder) = self.manifest.key.as_str().strip_suffix("manifest.json")
            && key.strip_prefix(folder) == Some("manifest.checksum")
        {
            return Some(directory.join("manifest.checksum")).filter(|path| path.is_file());
        }
        // Nothing of a key may lead out of the folder it is looked for in.
        let path = Path::new(key);
        let names: Vec<&OsStr> = path
            .components()
            .filter_map(|part| match part {
                Component::Normal(name) => Some(name),
                Component::Prefix(_) | Component::RootDir | Component::CurDir | Component::ParentDir => None,
            })
            .collect();
        let tail = |below: &Path, many: usize| {
            let first = names.len().checked_sub(many)?;
            Some(below.join(names[first..].iter().collect::<PathBuf>())).filter(|path| path.is_file())
        };
        let last = found.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(path) = last.and_then(|last| tail(&last.below, last.names)) {
            return Some(path);
        }
        let absolute = std::path::absolute(directory).ok()?;
        // The whole key below any folder above, then ever less of it.
        for many in (1..=names.len()).rev() {
            for below in absolute.ancestors() {
                if let Some(path) = tail(below, many) {
                    let here = Found { below: below.to_owned(), names: many };
                    *found.lock().unwrap_or_else(PoisonError::into_inner) = Some(here);
                    return Some(path);
                }
            }
        }
        None
    }

    /// What stands for an object.
    fn locate(&self, at: &ObjectAt) -> AwsResult<Located<'_>> {
        match &self.place {
            Place::S3(client) => Ok(Located::S3(client)),
            Place::Directory(directory, found) => {
                let missing = || AwsError::NotFound(format!("there is no file for {}", at.key));
                self.file(directory, found, at.key.as_str()).map(Located::File).ok_or_else(missing)
            }
        }
    }
}

enum Located<'a> {
    S3(&'a Client),
    File(PathBuf),
}

/// The bytes of an object or a file, as they arrive.
pub(super) struct Body {
    from: From,
    progress: Option<Arc<Progress>>,
}

enum From {
    S3(ByteStream, String),
    File(File, PathBuf),
}

impl ports::Body for Body {
    async fn chunk(&mut self) -> AwsResult<Option<Vec<u8>>> {
        let chunk = match &mut self.from {
            From::S3(stream, of) => {
                let chunk = stream.try_next().await;
                let chunk = chunk.map_err(|error| AwsError::Transient(format!("GetObject {of}: {error}")))?;
                chunk.map(|bytes| bytes.to_vec())
            }
            From::File(file, path) => {
                let mut chunk = Vec::with_capacity(CHUNK);
                let read = file.take(CHUNK as u64).read_to_end(&mut chunk);
                read.map_err(|error| unreadable(path, &error))?;
                Some(chunk).filter(|chunk| !chunk.is_empty())
            }
        };
        if chunk.is_none()
            && let Some(progress) = self.progress.take()
        {
            progress.advance();
        }
        Ok(chunk)
    }
}

impl ReadObjects for Report {
    type Body = Body;

    async fn head(&self, at: &ObjectAt) -> AwsResult<ObjectFacts> {
        let size = match self.locate(at)? {
            Located::File(path) => std::fs::metadata(&path).map_err(|error| unreadable(&path, &error))?.len(),
            Located::S3(client) => {
                let head = client.head_object().bucket(at.bucket.as_str()).key(at.key.as_str()).send().await;
                let head = head.map_err(|error| refused("HeadObject", at, &error))?;
                head.content_length().and_then(|size| size.try_into().ok()).unwrap_or_default()
            }
        };
        Ok(ObjectFacts { size, ..ObjectFacts::default() })
    }

    async fn read(&self, at: &ObjectAt, etag: Option<&str>) -> AwsResult<Body> {
        let from = match self.locate(at)? {
            Located::File(path) => {
                From::File(File::open(&path).map_err(|error| unreadable(&path, &error))?, path)
            }
            Located::S3(client) => {
                let get = client.get_object().bucket(at.bucket.as_str()).key(at.key.as_str());
                let got = get.set_if_match(etag.map(|etag| format!("\"{etag}\""))).send().await;
                From::S3(got.map_err(|error| refused("GetObject", at, &error))?.body, at.to_string())
            }
        };
        Ok(Body { from, progress: self.progress.clone() })
    }

    async fn try_read(&self, at: &ObjectAt) -> AwsResult<()> {
        self.head(at).await.map(drop)
    }

    async fn try_tags(&self, at: &ObjectAt) -> AwsResult<()> {
        Err(AwsError::Refused(format!("a plan needs no tags of {at}")))
    }

    async fn list(&self, bucket: &BucketName, _: &str, _: Option<&str>) -> AwsResult<Page> {
        Err(AwsError::Refused(format!("a plan of an inventory lists nothing in {bucket}")))
    }
}

fn unreadable(path: &Path, error: &std::io::Error) -> AwsError {
    AwsError::Refused(format!("{}: {error}", path.display()))
}

/// The kind of an error of S3's, with its own words. What may pass is no reason to wait here: the
/// SDK has tried again already.
fn refused<E>(doing: &str, at: &ObjectAt, error: &SdkError<E, HttpResponse>) -> AwsError
where
    E: ProvideErrorMetadata + Error + 'static,
{
    let Some(service) = error.as_service_error() else {
        let causes = successors(Some(error as &dyn Error), |&error| error.source());
        let causes: Vec<String> = causes.map(ToString::to_string).collect();
        return AwsError::Transient(format!("{doing} {at}: {}", causes.join(": ")));
    };
    let code = service.code().unwrap_or_default();
    let said = format!("{code}: {} ({doing} {at})", service.message().unwrap_or("no explanation"));
    match error.raw_response().map(|raw| raw.status().as_u16()) {
        Some(404 | 405) => AwsError::NotFound(said),
        Some(401 | 403) => AwsError::Forbidden(said),
        Some(301 | 307 | 400) if code.contains("Redirect") || code.contains("Location") => {
            AwsError::Refused(format!("{said}; give the bucket's Region by --source-region"))
        }
        _ => AwsError::Refused(said),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn touch(path: &Path) {
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("the folder");
        std::fs::write(path, path.to_string_lossy().as_bytes()).expect("a file");
    }

    #[test]
    fn data_files_are_found_wherever_a_download_puts_them() {
        let root = tempfile::tempdir().expect("a directory");
        let root = root.path();
        let key = "photos/daily/data/1.csv.gz";
        for (manifest, data) in [
            ("whole/photos/daily/2026/manifest.json", "whole/photos/daily/data/1.csv.gz"),
            ("folder/2026/manifest.json", "folder/data/1.csv.gz"),
            ("data/manifest.json", "data/data/1.csv.gz"),
            ("flat/manifest.json", "flat/1.csv.gz"),
        ] {
            let manifest = root.join(manifest);
            touch(&manifest);
            let report = Report::open("--inventory", &manifest.to_string_lossy(), None).expect("a report");
            let locate = |key: &str| {
                let at = ObjectAt::new(&"reports".parse().expect("a bucket"), key.parse().expect("a key"));
                match report.locate(&at) {
                    Ok(Located::File(path)) => Some(path),
                    Ok(Located::S3(_)) | Err(_) => None,
                }
            };
            assert_eq!(locate(key), None, "{data}");
            touch(&root.join(data));
            assert_eq!(locate(key), Some(root.join(data)));
            assert_eq!(locate(key), Some(root.join(data)), "and again by the way it was found");
            assert_eq!(locate("photos/daily/data/2.csv.gz"), None);
        }
    }
}
