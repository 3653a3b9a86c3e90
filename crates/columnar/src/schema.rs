//! The `fileSchema` of an inventory's `manifest.json`.
//!
//! Non-goal: types. A data file says them itself.

use parquet::schema::parser::parse_message_type;

use crate::{Format, caught};

/// Why a `fileSchema` can't be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{schema:?} is not the schema of a {format:?} file: {problem}")]
pub struct InvalidSchema {
    /// The `fileSchema`.
    pub schema: String,
    /// The `fileFormat`.
    pub format: Format,
    /// What is wrong with it.
    pub problem: String,
}

/// The names of the columns in a `fileSchema`, such as
/// `message s3.inventory { required binary bucket (UTF8); … }` or `struct<bucket:string,…>`. Ask
/// [`Column::named`](crate::Column::named) which of ours a name is.
pub fn schema_columns(format: Format, schema: &str) -> Result<Vec<String>, InvalidSchema> {
    match format {
        Format::Parquet => parquet(schema),
        Format::Orc => orc(schema),
    }
    .map_err(|problem| InvalidSchema { schema: schema.to_owned(), format, problem })
}

/// How deep groups may be nested: the parser below calls itself for each. S3 nests none.
const DEEPEST: usize = 32;

fn parquet(schema: &str) -> Result<Vec<String>, String> {
    let mut depth = 0_usize;
    for letter in schema.bytes() {
        match letter {
            b'{' => depth += 1,
            b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEEPEST {
            return Err(format!("its groups are nested more than {DEEPEST} deep"));
        }
    }
    // The parser does not mind a message without its end.
    if !schema.trim_end().ends_with('}') {
        return Err("it should read message name { required binary key (UTF8); … }".to_owned());
    }
    let message = caught(|| Ok(parse_message_type(schema)?)).map_err(|damaged| damaged.problem)?;
    Ok(message.get_fields().iter().map(|field| field.name().to_owned()).collect())
}

fn orc(schema: &str) -> Result<Vec<String>, String> {
    let fields = (schema.trim().strip_prefix("struct<"))
        .and_then(|rest| rest.strip_suffix('>'))
        .ok_or("it should read struct<name:type,…>")?;
    let mut depth = 0;
    // Types have commas of their own, in brackets: decimal(10,2), map<string,string>.
    let outside = |letter: char| {
        match letter {
            '<' | '(' => depth += 1,
            '>' | ')' => depth -= 1,
            _ => {}
        }
        letter == ',' && depth == 0
    };
    fields
        .split(outside)
        .map(|field| match field.split_once(':') {
            Some((name, _)) if !name.trim().is_empty() => Ok(name.trim().trim_matches('`').to_owned()),
            _ => Err(format!("{field:?} should read name:type")),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schemas_of_both_formats_name_the_same_columns() {
        let parquet = "message s3.inventory {  required binary bucket (UTF8);  required binary key (UTF8);  \
            optional binary version_id (UTF8);  optional boolean is_latest;  optional int64 size;  \
            optional int64 last_modified_date (TIMESTAMP_MILLIS);  optional binary e_tag (UTF8);}";
        let orc = "struct<bucket:string,key:string,version_id:string,is_latest:boolean,size:bigint,\
            last_modified_date:timestamp,e_tag:string>";
        let names = ["bucket", "key", "version_id", "is_latest", "size", "last_modified_date", "e_tag"];
        assert_eq!(schema_columns(Format::Parquet, parquet).unwrap(), names);
        assert_eq!(schema_columns(Format::Orc, orc).unwrap(), names);
    }

    #[test]
    fn a_type_of_several_parts_is_one_column() {
        let schema =
            "struct<key:string,a:map<string,array<int>>,b:decimal(10,2),c:struct<x:int,y:int>,`d`:int>";
        assert_eq!(schema_columns(Format::Orc, schema).unwrap(), ["key", "a", "b", "c", "d"]);
    }

    #[test]
    fn groups_are_nested_so_deep_and_no_deeper() {
        let nested = |depth: usize| {
            let groups = "optional group g { ".repeat(depth - 1);
            format!("message m {{ {groups} required int32 i; {}", "}".repeat(depth))
        };
        assert_eq!(schema_columns(Format::Parquet, &nested(DEEPEST)).unwrap(), ["g"]);
        for depth in [DEEPEST + 1, 1_000_000] {
            let refused = schema_columns(Format::Parquet, &nested(depth)).unwrap_err();
            assert_eq!(refused.problem, "its groups are nested more than 32 deep");
        }
    }

    #[test]
    fn what_is_no_schema_is_refused() {
        for schema in ["", "Bucket, Key, Size", "struct<>", "struct<key>", "struct<key:string", "message x {"]
        {
            for format in [Format::Parquet, Format::Orc] {
                let refused = schema_columns(format, schema).unwrap_err();
                assert!(refused.to_string().contains(&format!("{schema:?} is not")), "{refused}");
            }
        }
    }
}
