//! What a report's rows tell, by its `fileSchema`, whatever its format.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Columns, InvalidInventory};
use crate::select;

/// The format of a report's data files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "AWS's own names")]
pub enum FileFormat {
    #[serde(rename = "CSV")]
    Csv,
    #[serde(rename = "Parquet")]
    Parquet,
    #[serde(rename = "ORC")]
    Orc,
}

impl fmt::Display for FileFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Csv => "CSV",
            Self::Parquet => "Parquet",
            Self::Orc => "ORC",
        })
    }
}

/// A `fileSchema`, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Schema {
    /// Of CSV files: where each column stands.
    Csv(Columns),
    /// Of Parquet or ORC files, which find their columns themselves.
    Columnar(columnar::Format, columnar::Columns),
}

impl Schema {
    /// Reads a `fileSchema`.
    ///
    /// # Errors
    /// When it can't be read, or lacks a column that a transfer can't do without.
    pub fn read(format: FileFormat, schema: &str) -> Result<Self, InvalidInventory> {
        let format = match format {
            FileFormat::Csv => return Columns::read(schema).map(Self::Csv),
            FileFormat::Parquet => columnar::Format::Parquet,
            FileFormat::Orc => columnar::Format::Orc,
        };
        let names = columnar::schema_columns(format, schema)
            .map_err(|error| InvalidInventory::Schema { problem: error.to_string() })?;
        let columns: columnar::Columns =
            names.iter().filter_map(|name| columnar::Column::named(name)).collect();
        for (column, name) in [
            (columnar::Column::Bucket, "Bucket"),
            (columnar::Column::Key, "Key"),
            (columnar::Column::Size, "Size"),
            (columnar::Column::StorageClass, "StorageClass"),
        ] {
            if !columns.contains(column) {
                return Err(InvalidInventory::Column { schema: schema.to_owned(), column: name });
            }
        }
        Ok(Self::Columnar(format, columns))
    }

    /// Whether rows name versions.
    #[must_use]
    pub fn has_versions(&self) -> bool {
        self.tells(select::Column::VersionId)
    }

    /// Whether rows tell a fact that a selection asks about.
    #[must_use]
    pub fn tells(&self, column: select::Column) -> bool {
        match self {
            Self::Csv(columns) => columns.tells(column),
            Self::Columnar(_, columns) => columns.contains(match column {
                select::Column::VersionId => columnar::Column::VersionId,
                select::Column::IsLatest => columnar::Column::IsLatest,
                select::Column::IsDeleteMarker => columnar::Column::IsDeleteMarker,
                select::Column::Size => columnar::Column::Size,
                select::Column::StorageClass => columnar::Column::StorageClass,
                select::Column::EncryptionStatus => columnar::Column::EncryptionStatus,
                select::Column::LastModifiedDate => columnar::Column::LastModifiedDate,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_asked_of_every_format() {
        for (format, whole, lacking) in [
            (FileFormat::Csv, "Bucket, Key, VersionId, Size, StorageClass", "Bucket, Key, StorageClass"),
            (
                FileFormat::Orc,
                "struct<bucket:string,key:string,version_id:string,size:bigint,storage_class:string>",
                "struct<bucket:string,key:string,storage_class:string>",
            ),
            (
                FileFormat::Parquet,
                "message s3.inventory { required binary bucket (UTF8); required binary key (UTF8); optional binary version_id (UTF8); optional int64 size; optional binary storage_class (UTF8); }",
                "message s3.inventory { required binary bucket (UTF8); required binary key (UTF8); optional binary storage_class (UTF8); }",
            ),
        ] {
            let schema = Schema::read(format, whole).expect("a schema");
            assert!(schema.has_versions() && !schema.tells(select::Column::EncryptionStatus), "{format}");
            let refused = Schema::read(format, lacking).expect_err("refused").to_string();
            assert!(refused.contains("has no Size column"), "{refused}");
            assert!(Schema::read(format, "nonsense").is_err(), "{format}");
        }
    }
}
