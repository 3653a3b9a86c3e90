//! A stand-in for S3 that answers ListObjectsV2 from memory, each page after a fixed time.
//!
//! `list-stub MILLISECONDS` reads keys from its standard input, one a line, prints its address, and
//! serves them as any bucket. `GET /-/calls` answers how many pages were asked for since the last
//! time. Signatures are not checked.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// What S3 leaves as it is under `encoding-type=url`.
const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'*').remove(b'/');

struct Bucket {
    keys: Vec<String>,
    latency: Duration,
    calls: AtomicUsize,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let latency = std::env::args().nth(1).context("say how many milliseconds a page takes")?.parse()?;
    let mut keys: Vec<String> = std::io::stdin().lines().collect::<Result<_, _>>()?;
    keys.sort();
    let bucket =
        Arc::new(Bucket { keys, latency: Duration::from_millis(latency), calls: AtomicUsize::new(0) });
    let routes = Router::new()
        .route(
            "/-/calls",
            get(|State(bucket): State<Arc<Bucket>>| async move {
                bucket.calls.swap(0, Ordering::Relaxed).to_string()
            }),
        )
        .fallback(list)
        .with_state(bucket);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let mut out = std::io::stdout();
    writeln!(out, "http://{}", listener.local_addr()?)?;
    out.flush()?;
    Ok(axum::serve(listener, routes).await?)
}

async fn list(State(bucket): State<Arc<Bucket>>, RawQuery(query): RawQuery) -> Response {
    let query = parameters(&query.unwrap_or_default());
    if query.get("list-type").map(String::as_str) != Some("2") {
        return (StatusCode::NOT_IMPLEMENTED, "only ListObjectsV2").into_response();
    }
    bucket.calls.fetch_add(1, Ordering::Relaxed);
    let began = tokio::time::Instant::now();
    let page = bucket.page(&query);
    tokio::time::sleep_until(began + bucket.latency).await;
    ([(CONTENT_TYPE, "application/xml")], page).into_response()
}

fn parameters(query: &str) -> HashMap<String, String> {
    let decode = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
    let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs.map(|(name, value)| (decode(name), decode(value))).collect()
}

impl Bucket {
    fn page(&self, query: &HashMap<String, String>) -> String {
        let value = |name: &str| query.get(name).map(String::as_str).unwrap_or_default();
        let (prefix, delimiter) = (value("prefix"), value("delimiter"));
        let after = value("start-after").max(value("continuation-token"));
        let most = value("max-keys").parse().unwrap_or(1000).min(1000);
        let url = value("encoding-type") == "url";
        let written = |text: &str| match url {
            true => utf8_percent_encode(text, KEPT).to_string(),
            false => text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;"),
        };
        let mut at = self.keys.partition_point(|key| key.as_str() < prefix || key.as_str() <= after);
        let (mut contents, mut folders) = (String::new(), String::new());
        let (mut count, mut last) = (0, "");
        let mut more = false;
        while let Some(key) = self.keys.get(at).filter(|key| key.starts_with(prefix)) {
            if count == most {
                more = true;
                break;
            }
            let rest = &key[prefix.len()..];
            let folder = rest.find(delimiter).filter(|_| !delimiter.is_empty());
            if let Some(end) = folder {
                let folder = &key[..prefix.len() + end + delimiter.len()];
                at += self.keys[at..].partition_point(|key| key.starts_with(folder));
                // A page that ended with this folder goes on behind it.
                if after.starts_with(folder) {
                    continue;
                }
                last = &self.keys[at - 1];
                let _ =
                    write!(folders, "<CommonPrefixes><Prefix>{}</Prefix></CommonPrefixes>", written(folder));
            } else {
                at += 1;
                last = key;
                let _ = write!(
                    contents,
                    "<Contents><Key>{}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>\
                     <ETag>&quot;d41d8cd98f00b204e9800998ecf8427e&quot;</ETag><Size>1024</Size>\
                     <StorageClass>STANDARD</StorageClass></Contents>",
                    written(key)
                );
            }
            count += 1;
        }
        let token = if more {
            format!("<NextContinuationToken>{}</NextContinuationToken>", written(last))
        } else {
            String::new()
        };
        let encoding = if url { "<EncodingType>url</EncodingType>" } else { "" };
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\
             <ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>bucket</Name>\
             <Prefix>{}</Prefix><KeyCount>{count}</KeyCount><MaxKeys>{most}</MaxKeys>{encoding}\
             <IsTruncated>{more}</IsTruncated>{token}{contents}{folders}</ListBucketResult>",
            written(prefix)
        )
    }
}
