//! Parquet and ORC files, mostly damaged ones: the reader ends, within its memory, with rows or an
//! error; and fewer columns of a file that can be read are the same rows.

#![no_main]

use std::cell::RefCell;
use std::fs::File;
use std::io::{Seek, Write};

use columnar::{Column, Columns, Damaged, Format, Reader, Record};
use fuzz::{must, options};
use libfuzzer_sys::fuzz_target;

/// A few bytes can stand for billions of rows; whoever reads them may stop.
const ENOUGH: usize = 20_000;

thread_local! {
    static FILE: RefCell<File> = RefCell::new(tempfile::tempfile_in("/dev/shm").expect("a file"));
}

/// Bucket, key, and what else the columns hold.
type Row = (String, String, [Option<String>; 3]);

fn row(record: &Record<'_>, columns: Columns) -> Row {
    let size = record.size.filter(|_| columns.contains(Column::Size)).map(|size| size.to_string());
    let version = record.version_id.filter(|_| columns.contains(Column::VersionId)).map(str::to_owned);
    let time = record.last_modified.filter(|_| columns.contains(Column::LastModifiedDate));
    (record.bucket.to_owned(), record.key.to_owned(), [size, version, time.map(|time| time.to_string())])
}

fn read(format: Format, file: &File, wanted: Columns, kept: Columns) -> Result<Vec<Row>, Damaged> {
    let mut rows = Vec::new();
    let mut reader = Reader::open(format, file.try_clone()?, wanted)?;
    while reader.next_batch(&mut |record| {
        rows.push(row(record, kept));
        if rows.len() < ENOUGH { Ok(()) } else { Err(Damaged { problem: "enough".to_owned() }) }
    })? {}
    Ok(rows)
}

fuzz_target!(
    init: {
        // arrow-rs panics, which the crate turns into an error.
        std::panic::set_hook(Box::new(|_| {}));
    },
    |input: &[u8]| {
        let Some((&[kind, few], bytes)) = options::<2>(input) else { return };
        let format = if kind % 2 == 0 { Format::Parquet } else { Format::Orc };
        let some: Columns = [Column::Size, Column::VersionId, Column::LastModifiedDate]
            .into_iter()
            .enumerate()
            .filter(|(at, _)| few & 1 << at != 0)
            .map(|(_, column)| column)
            .collect();
        let result = FILE.with_borrow_mut(|file| {
            file.set_len(0)?;
            file.rewind()?;
            file.write_all(bytes)?;
            let whole = read(format, file, Columns::all(), some)?;
            must(read(format, file, some, some) == Ok(whole), "fewer columns are the same rows");
            Ok::<_, Damaged>(())
        });
        drop(result);
    }
);
