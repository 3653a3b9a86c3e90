//! `brigade report`: a completion report of S3 Batch Operations, anybody's, summed up by error, and
//! the manifest that runs its failures again.
//!
//! Invariants: tasks are counted row by row, and each file is checked against the MD5 that the
//! report's manifest gives; memory does not grow with the report; a retry manifest appears whole or
//! not at all.

use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;

use anyhow::{Context, Result, bail, ensure};
use aws_config::{BehaviorVersion, SdkConfig};
use brigade::id::{BucketName, InvalidId, ObjectKey, Region};
use brigade::report::{ErrorSummary, ReportManifest, ResultFile, ResultReader, Results, TaskResult};
use serde::Serialize;

use crate::grants::Credentials;
use crate::terminal::{Progress, Terminal};

const FORMAT: &str = "Report_CSV_20180820";
const RETRY_MANIFEST: &str = "retry-manifest.csv";
const MIB: u64 = 1024 * 1024;

/// Sum up a completion report of S3 Batch Operations: what succeeded, what failed, and what to do.
///
/// Reads every row of it and checks each of its files against the MD5 in its manifest.json. Works on
/// any job's report, not only on those of transfers.
#[derive(Clone, Debug, clap::Args)]
#[command(
    after_help = "Exit codes:\n  0  no task failed\n  1  the report is damaged, or can't be read\n  2  the command line is wrong\n  3  some tasks failed"
)]
pub struct Options {
    /// The report's manifest.json: a file, with its results beside it, or s3://BUCKET/KEY.
    #[arg(value_name = "REPORT")]
    pub place: Place,
    /// Write retry-manifest.csv, a manifest of the tasks that failed, into this directory.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// The Region of the report's bucket, if it is not the configuration's.
    #[arg(long, value_name = "REGION")]
    pub region: Option<Region>,
    #[command(flatten)]
    #[expect(missing_docs, reason = "the type says it")]
    pub credentials: Credentials,
}

/// Where a report's `manifest.json` is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A file.
    File(PathBuf),
    /// An object.
    Object {
        /// Its bucket.
        bucket: BucketName,
        /// Its key.
        key: ObjectKey,
    },
}

impl FromStr for Place {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let Some(address) = text.strip_prefix("s3://") else { return Ok(Self::File(text.into())) };
        let (bucket, key) = address.split_once('/').unwrap_or((address, ""));
        Ok(Self::Object { bucket: bucket.parse()?, key: key.parse()? })
    }
}

impl Options {
    /// The configuration of the environment, or of the profile. A file asks for none.
    pub async fn configuration(&self) -> SdkConfig {
        match self.place {
            Place::File(_) => SdkConfig::builder().behavior_version(BehaviorVersion::latest()).build(),
            Place::Object { .. } => self.credentials.configuration(self.region.as_ref()).await,
        }
    }
}

/// How the tasks of a report ended, as `--json` prints it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Tasks that succeeded, where the report tells of them.
    pub succeeded: u64,
    /// Tasks that failed.
    pub failed: u64,
    /// Failures by error, the most frequent first.
    pub errors: Vec<ErrorSummary>,
    /// The manifest of the tasks that failed, if one was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_manifest: Option<PathBuf>,
}

impl Summary {
    /// The exit code, as the help gives it.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        if self.failed == 0 { ExitCode::SUCCESS } else { ExitCode::from(3) }
    }

    fn tell(&self, terminal: Terminal) {
        let Self { succeeded, failed, .. } = self;
        let counted = format!("{succeeded} tasks succeeded, {failed} failed");
        if (*succeeded, *failed) == (0, 0) {
            terminal.success("No task is in the report; one of failed tasks only has none if none failed");
        } else if *failed == 0 {
            terminal.success(&counted);
        } else if *succeeded == 0 {
            terminal.failure(&(counted + "; a report of failed tasks only leaves out the others"));
        } else {
            terminal.failure(&counted);
        }
        for error in &self.errors {
            let title = format!("{} with {} {}", error.tasks, error.http_status, error.code);
            terminal.heading(&format!("\n{}", one_line(&title)));
            terminal.say(&one_line(&error.message));
            for example in &error.examples {
                terminal.quote(&one_line(example));
            }
            terminal.say(&error.next_step);
        }
        match &self.retry_manifest {
            Some(path) => terminal.heading(&format!("\nThe failed tasks are listed in {}", path.display())),
            None if *failed > 0 => {
                terminal.heading("\n--out DIR writes a manifest of the failed tasks, to run them again");
            }
            None => {}
        }
    }
}

/// A stranger's text, without what would move a terminal's cursor or colour it.
pub(crate) fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Reads a report, and tells how its tasks ended.
///
/// # Errors
/// When it can't be read, or is not what its manifest says.
pub async fn run(options: &Options, config: &SdkConfig, terminal: &Terminal) -> Result<Summary> {
    let store = Store::of(&options.place, config);
    let manifest = store.manifest().await?;
    let told = if options.json { Terminal::silent() } else { *terminal };
    let mut retry = options.out.as_deref().map(RetryManifest::new);
    let listed = retry.is_some();
    let mut results = Results::default();
    let mut sizes = 0;
    for file in &manifest.results {
        sizes += store.size(file).await?;
    }
    let mut progress = ReadSoFar { bytes: 0, bar: told.progress("MiB", sizes.div_ceil(MIB)) };
    let mut rows = String::new();
    for file in &manifest.results {
        let mut bytes = store.open(file).await?;
        let mut reader = ResultReader::new(file);
        let mut count = |rows: &mut String, task: TaskResult<'_>| {
            results.count(&task);
            if !task.succeeded && listed {
                task.write_retry_row(rows);
            }
        };
        while let Some(chunk) = bytes.next().await.with_context(|| store.reading(file))? {
            reader.push(&chunk, &mut |task| count(&mut rows, task))?;
            progress.add(chunk.len());
            bytes.take_back(chunk);
            if let Some(retry) = &mut retry {
                retry.add(&mut rows)?;
            }
        }
        reader.finish(&mut |task| count(&mut rows, task))?;
        if let Some(retry) = &mut retry {
            retry.add(&mut rows)?;
        }
    }
    drop(progress);
    let summary = Summary {
        succeeded: results.succeeded,
        failed: results.failed,
        errors: results.sorted_errors().into_iter().cloned().collect(),
        retry_manifest: retry.map(RetryManifest::finish).transpose()?.flatten(),
    };
    if options.json {
        terminal.print(&serde_json::to_string_pretty(&summary)?);
    } else {
        summary.tell(*terminal);
    }
    Ok(summary)
}

struct ReadSoFar {
    bytes: u64,
    bar: Progress,
}

impl ReadSoFar {
    fn add(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
        self.bar.set(self.bytes / MIB);
    }
}

/// The manifest of the tasks that failed. It is begun with the first of them, and has its name only
/// once it is whole.
struct RetryManifest {
    path: PathBuf,
    part: PathBuf,
    file: Option<BufWriter<File>>,
}

impl RetryManifest {
    fn new(folder: &Path) -> Self {
        let part = folder.join(format!(".{RETRY_MANIFEST}.part"));
        Self { path: folder.join(RETRY_MANIFEST), part, file: None }
    }

    fn add(&mut self, rows: &mut String) -> Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        let failed = || format!("failed to write {}", self.part.display());
        let file = match &mut self.file {
            Some(file) => file,
            none => {
                if let Some(folder) = self.part.parent() {
                    std::fs::create_dir_all(folder).with_context(failed)?;
                }
                none.insert(BufWriter::new(File::create(&self.part).with_context(failed)?))
            }
        };
        file.write_all(rows.as_bytes()).with_context(failed)?;
        rows.clear();
        Ok(())
    }

    fn finish(mut self) -> Result<Option<PathBuf>> {
        let Some(mut file) = self.file.take() else { return Ok(None) };
        let named = file.flush().and_then(|()| std::fs::rename(&self.part, &self.path));
        named.with_context(|| format!("failed to write {}", self.path.display()))?;
        Ok(Some(self.path.clone()))
    }
}

impl Drop for RetryManifest {
    fn drop(&mut self) {
        if self.file.take().is_some() {
            // Half a manifest would be taken for a whole one.
            let _ = std::fs::remove_file(&self.part);
        }
    }
}

/// Where a report's files are.
enum Store<'a> {
    Files { manifest: PathBuf },
    Bucket { s3: aws_sdk_s3::Client, bucket: &'a BucketName, manifest: &'a ObjectKey },
}

/// The bytes of a file, as they arrive.
enum Bytes {
    File { file: File, buffer: Vec<u8> },
    Object(aws_sdk_s3::primitives::ByteStream),
}

impl Bytes {
    /// Bytes read at once.
    const CHUNK: usize = 256 * 1024;

    async fn next(&mut self) -> Result<Option<Vec<u8>>> {
        match self {
            Self::File { file, buffer } => {
                let mut chunk = std::mem::take(buffer);
                chunk.resize(Self::CHUNK, 0);
                let read = file.read(&mut chunk)?;
                chunk.truncate(read);
                Ok((read > 0).then_some(chunk))
            }
            Self::Object(body) => Ok(body.next().await.transpose()?.map(Into::into)),
        }
    }

    /// Lets the next read of a file use the memory of the last.
    fn take_back(&mut self, chunk: Vec<u8>) {
        if let Self::File { buffer, .. } = self {
            *buffer = chunk;
        }
    }
}

impl<'a> Store<'a> {
    fn of(place: &'a Place, config: &SdkConfig) -> Self {
        match place {
            Place::File(path) if path.is_dir() => Self::Files { manifest: path.join("manifest.json") },
            Place::File(path) => Self::Files { manifest: path.clone() },
            Place::Object { bucket, key } => {
                // An endpoint of one's own, such as an emulator's, has no host name per bucket.
                let s3 = aws_sdk_s3::config::Builder::from(config)
                    .force_path_style(config.endpoint_url().is_some())
                    .build();
                Self::Bucket { s3: aws_sdk_s3::Client::from_conf(s3), bucket, manifest: key }
            }
        }
    }

    async fn manifest(&self) -> Result<ReportManifest> {
        let (named, bytes) = match self {
            Self::Files { manifest } => {
                let failed = || format!("failed to read {}", manifest.display());
                (manifest.display().to_string(), std::fs::read(manifest).with_context(failed)?)
            }
            Self::Bucket { bucket, manifest, .. } => {
                let mut body = self.get(manifest).await?;
                let mut bytes = Vec::new();
                while let Some(chunk) = body.next().await.transpose()? {
                    bytes.extend_from_slice(&chunk);
                }
                (format!("s3://{bucket}/{manifest}"), bytes)
            }
        };
        let manifest = ReportManifest::read(&named, &bytes)?;
        ensure!(
            manifest.format == FORMAT,
            "{named} is a report in the format {:?}; only {FORMAT} can be read",
            manifest.format
        );
        Ok(manifest)
    }

    async fn size(&self, file: &ResultFile) -> Result<u64> {
        match self {
            Self::Files { manifest } => {
                let path = beside(manifest, &file.key)?;
                Ok(path.metadata().with_context(|| format!("failed to read {}", path.display()))?.len())
            }
            Self::Bucket { s3, bucket, .. } => {
                let head = s3.head_object().bucket(bucket.as_str()).key(file.key.as_str()).send().await;
                let size = head.with_context(|| self.reading(file))?.content_length();
                Ok(size.and_then(|size| size.try_into().ok()).unwrap_or_default())
            }
        }
    }

    async fn open(&self, file: &ResultFile) -> Result<Bytes> {
        match self {
            Self::Files { manifest } => {
                let path = beside(manifest, &file.key)?;
                let file = File::open(&path).with_context(|| format!("failed to read {}", path.display()))?;
                Ok(Bytes::File { file, buffer: Vec::new() })
            }
            Self::Bucket { .. } => Ok(Bytes::Object(self.get(&file.key).await?)),
        }
    }

    async fn get(&self, key: &ObjectKey) -> Result<aws_sdk_s3::primitives::ByteStream> {
        let Self::Bucket { s3, bucket, .. } = self else { bail!("{key} is no object") };
        let answer = s3.get_object().bucket(bucket.as_str()).key(key.as_str()).send().await;
        let failed = || {
            format!("failed to read s3://{bucket}/{key} (--profile and --region choose whose S3 is asked)")
        };
        Ok(answer.with_context(failed)?.body)
    }

    fn reading(&self, file: &ResultFile) -> String {
        match self {
            Self::Files { .. } => format!("failed to read {}", file.key),
            Self::Bucket { bucket, .. } => format!("failed to read s3://{bucket}/{}", file.key),
        }
    }
}

/// The file that was an object's when the report was in its bucket: below the manifest's folder, by
/// as much of the key's end as was kept.
fn beside(manifest: &Path, key: &ObjectKey) -> Result<PathBuf> {
    let folder = manifest.parent().unwrap_or(Path::new(""));
    let names: Vec<&str> = key.as_str().split('/').filter(|name| !name.is_empty()).collect();
    ensure!(!names.contains(&".."), "{key} leads out of the report's folder");
    let mut paths = (0..names.len()).map(|from| folder.join(names[from..].iter().collect::<PathBuf>()));
    paths.find(|path| path.is_file()).with_context(|| {
        let folder = if folder == Path::new("") { Path::new(".") } else { folder };
        format!("{key} is not in {}: copy the report's results there, too", folder.display())
    })
}
