//! Writes the first inputs of each target below the directory it is given: files as others write
//! them, behind the bytes that the target reads first.

use std::error::Error;
use std::fs;
use std::path::Path;

// It has what the coverage calls.
use libfuzzer_sys as _;

#[path = "../crates/columnar/tests/written/mod.rs"]
mod written;

use written::Cells;

const INVENTORY: [&str; 3] = [
    "\"photos\",\"2026/a%20b%2Bc.jpg\",\"1024\",\"STANDARD\",\"v1\",\"true\",\"false\",\"2026-11-20T01:02:03.000Z\"\n\"photos\",\"2026/b.jpg\",\"0\",\"GLACIER\",\"\",\"true\",\"false\",\"2026-11-20T01:02:03.000Z\"\n",
    "photos,a+b,,STANDARD\r\nphotos,\"x\"\"y,\nz\",7,INTELLIGENT_TIERING\r\n\r\nphotos,%c3%a9,8,\n",
    "\u{feff}\"photos\",\"k\",\"1\",\"STANDARD\"\n\"photos\",\"un\"quoted,1,\"a\" b\n\"photos\",\"never closed,1,2\n",
];

const MANIFEST: &str = r#"{"sourceBucket":"photos","destinationBucket":"arn:aws:s3:::lists","version":"2016-11-30","creationTimestamp":"1763600000000","fileFormat":"FORMAT","fileSchema":"SCHEMA","files":[{"key":"data/1.csv.gz","size":7,"MD5checksum":"d41d8cd98f00b204e9800998ecf8427f"}]}"#;

const SCHEMAS: [(&str, &str); 4] = [
    ("CSV", "Bucket, Key, VersionId, IsLatest, IsDeleteMarker, Size, StorageClass, ETag"),
    ("ORC", "struct<bucket:string,key:string,version_id:string,size:bigint,storage_class:string>"),
    (
        "ORC",
        "struct<bucket:string,`key`:string,m:map<string,array<int>>,size:decimal(10,2),storage_class:string>",
    ),
    (
        "Parquet",
        "message s3.inventory { required binary bucket (STRING); required binary key (UTF8); optional int64 size; optional int64 t (TIMESTAMP(MILLIS,true)); optional binary storage_class (UTF8); optional group g (LIST) { repeated int32 d (DECIMAL(9,2)); } }",
    ),
];

const CSV_MANIFESTS: [&str; 5] = [
    "photos,a%20b\nphotos,c\n",
    "photos,a,v1\r\nphotos,\"b%2Cc\",null\r\n",
    "photos,a,\"v\"\"1\"\nphotos,b,v2",
    "Bucket,Key\nphotos,a\n",
    "photos,a\n\nphotos,b\n photos,c\nother,d\n",
];

const REPORTS: [&str; 3] = [
    "photos,a%20b,v1,succeeded,200,,Successful\nphotos,c,,succeeded,200,,Successful\n",
    "\"photos\",\"a\",\"\",\"failed\",\"AccessDenied\",\"403\",\"Access \"\"Denied\"\", line\none\"\r\nphotos,b,,failed,500,InternalError,kms:Decrypt\r\n",
    r#"{"Format":"Report_CSV_20180820","ReportCreationDate":"2026-11-20T01:02:03Z","Results":[{"TaskExecutionStatus":"succeeded","Bucket":"work","MD5Checksum":"d41d8cd98f00b204e9800998ecf8427f","Key":"r/1.csv"}],"ReportSchema":"Bucket, Key, VersionId, TaskStatus, ErrorCode, HTTPStatusCode, ResultMessage"}"#,
];

const KEYS: [&str; 4] = ["2026/a b+c%2F.jpg", "%c3%a9+%2B%25", "été/~-._", "%zz%4"];

const SELECTIONS: [&str; 3] = [
    "{\"prefixes\":[\"2026/\",\"20\"],\"filters\":[{\"exclude\":\"*\"},{\"include\":\"*a?b*.jpg\"}]}\n\t\t\t\t\t\t\t2026/xaabb.jpg\n7\t\t\t\t\t\t\tother",
    "{\"size\":{\"min\":1,\"max\":5368709120},\"modified\":{\"after\":\"2026-11-01T00:00:00Z\",\"before\":\"2026-12-01T00:00:00.0001Z\"},\"storageClasses\":[\"STANDARD\",\"GLACIER_IR\"],\"encryption\":[\"SSE-S3\",\"NOT-SSE\"],\"versions\":\"all\"}\n1024\t2026-11-20T01:02:03.000Z\tSTANDARD\tSSE-S3\tv1\t\t\tk\n\t2026-11-20T01:02:03+01:00\t\t\t\tx\tx\t",
    "{\"filters\":[{\"include\":\"[a-z]*[!0-9]**\"},{\"exclude\":\"*[]a]*[b-a!c]?\"}],\"sync\":{\"sizeOnly\":true,\"listExtra\":true}}\n\t\t\t\t\t\t\tabcé/]x",
];

/// A seed for each text with each of the options before it.
fn write(to: &Path, target: &str, kind: &str, options: &[&[u8]], texts: &[&[u8]]) -> std::io::Result<()> {
    let directory = to.join(target);
    fs::create_dir_all(&directory)?;
    for (nth, text) in texts.iter().enumerate() {
        for (way, options) in options.iter().enumerate() {
            fs::write(directory.join(format!("{kind}-{nth}-{way}")), [options, *text].concat())?;
        }
    }
    Ok(())
}

/// So many rows of an inventory, as columns.
fn rows(count: i64) -> Vec<(&'static str, Cells<'static>)> {
    const KEYS: [&str; 5] = ["2026/a.jpg", "2026/é +%2F.jpg", "b", "2026/1/2/3", "c/"];
    let cycle = |texts: &[Option<&'static str>]| {
        Cells::Text((0..count as usize).map(|nth| texts[nth % texts.len()]).collect())
    };
    let numbers = |of: fn(i64) -> i64| (0..count).map(|nth| (nth % 7 < 6).then(|| of(nth))).collect();
    vec![
        ("bucket", cycle(&[Some("photos")])),
        ("key", cycle(&KEYS.map(Some))),
        ("size", Cells::Number(numbers(|nth| nth * nth * 1000))),
        ("version_id", cycle(&[None, Some("v1"), Some("null")])),
        ("last_modified_date", Cells::Time(numbers(|nth| 1_763_600_000_000 + nth * 1001))),
        ("is_latest", Cells::Flag((0..count).map(|nth| Some(nth % 2 == 0)).collect())),
        ("storage_class", cycle(&[Some("STANDARD"), Some("GLACIER")])),
        ("e_tag", cycle(&[Some("d41d8cd98f00b204e9800998ecf8427f"), None])),
        ("replication_status", cycle(&[None])),
    ]
}

fn main() -> Result<(), Box<dyn Error>> {
    let directory = std::env::args_os().nth(1).ok_or("say where")?;
    let to = Path::new(&directory);
    let cut: &[u8] = &[0, 0, 0, 40, 0, 90];

    let inventory = INVENTORY.map(str::as_bytes);
    let columns = [[0, 0, 0, 0], [0, 0x0f, 0, 0], [0, 0xff, 0xff, 0x0f], [3, 0x10, 0, 0]];
    let options = columns.map(|columns| [cut, &columns].concat());
    write(to, "inventory_csv", "seed", &options.each_ref().map(Vec::as_slice), &inventory)?;

    let manifests =
        SCHEMAS.map(|(format, schema)| MANIFEST.replace("FORMAT", format).replace("SCHEMA", schema));
    let schemas = SCHEMAS.map(|(_, schema)| schema);
    let texts: Vec<&[u8]> =
        manifests.iter().map(String::as_bytes).chain(schemas.map(str::as_bytes)).collect();
    write(to, "inventory_manifest", "seed", &[b""], &texts)?;

    let files = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/columnar/tests/files");
    let mut parquet = vec![fs::read(files.join("snappy.parquet"))?, fs::read(files.join("delta.parquet"))?];
    let mut orc = vec![fs::read(files.join("direct.orc"))?, fs::read(files.join("dictionary.orc"))?];
    for (count, columns, together) in [(3, 5, 9), (40, 5, 16), (9, 9, 4), (200, 2, 99)] {
        let columns = &rows(count)[..columns];
        parquet.push(written::parquet(columns, together)?);
        orc.push(written::orc(columns, together));
    }
    let slices = |files: &'static [Vec<u8>]| files.iter().map(Vec::as_slice).collect::<Vec<_>>();
    write(to, "columnar", "parquet", &[&[0, 7], &[0, 2]], &slices(parquet.leak()))?;
    write(to, "columnar", "orc", &[&[1, 7], &[1, 2]], &slices(orc.leak()))?;

    write(to, "csv_manifest", "seed", &[cut], &CSV_MANIFESTS.map(str::as_bytes))?;
    write(to, "completion_report", "seed", &[cut], &REPORTS.map(str::as_bytes))?;
    write(to, "keys", "seed", &[b""], &KEYS.map(str::as_bytes))?;
    write(to, "select", "seed", &[b""], &SELECTIONS.map(str::as_bytes))?;
    Ok(())
}
