//! An inventory's `manifest.json` and its schema: what is accepted reads back the same, and every
//! accepted schema tells what a transfer can't do without.

#![no_main]

use brigade::inventory::{FileFormat, InvalidInventory, InventoryManifest, Schema};
use brigade::select::Column;
use fuzz::md5;
use libfuzzer_sys::fuzz_target;

fn check(format: FileFormat, schema: &str) {
    if let Ok(schema) = Schema::read(format, schema) {
        fuzz::must(schema.tells(Column::Size) && schema.tells(Column::StorageClass), "it tells them");
        fuzz::must(schema.has_versions() == schema.tells(Column::VersionId), "versions are told");
    }
}

fuzz_target!(
    init: {
        // The parser of Parquet's schemas panics, which the crate turns into an error.
        std::panic::set_hook(Box::new(|_| {}));
    },
    |input: &[u8]| {
        let key = "inventory/manifest.json".parse().expect("a key");
        let read = |bytes: &[u8]| InventoryManifest::read(&key, bytes, md5(bytes).as_bytes());
        match read(input) {
            Ok(manifest) => {
                check(manifest.file_format, &manifest.file_schema);
                let written = serde_json::to_vec(&manifest).expect("JSON");
                fuzz::must(read(&written) == Ok(manifest), "what is written reads back");
            }
            Err(InvalidInventory::NotAManifest { .. }) => {}
            Err(other) => fuzz::must(false, &other.to_string()),
        }
        let refused = InventoryManifest::read(&key, input, b"d41d8cd98f00b204e9800998ecf8427f");
        fuzz::must(
            input.is_empty() || matches!(refused, Err(InvalidInventory::Checksum { .. })),
            "another checksum is refused",
        );
        if let Ok(schema) = str::from_utf8(input) {
            for format in [FileFormat::Csv, FileFormat::Parquet, FileFormat::Orc] {
                check(format, schema);
            }
        }
    }
);
