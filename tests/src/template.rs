//! The template as CloudFormation reads it: its short tags become the functions they stand for, so
//! `!Ref X` is `{"Ref": "X"}` and `!GetAtt X.Arn` is `{"Fn::GetAtt": ["X", "Arn"]}`.

use serde_json::{Map, Value, json};
use serde_yaml_ng::Value as Yaml;

/// Reads a template.
///
/// # Errors
/// When it is not YAML, or a key is not a text.
pub fn read(text: &str) -> Result<Value, String> {
    plain(serde_yaml_ng::from_str(text).map_err(|error| error.to_string())?)
}

fn plain(yaml: Yaml) -> Result<Value, String> {
    Ok(match yaml {
        Yaml::Tagged(tagged) => {
            let tag = tagged.tag.to_string();
            function(tag.trim_start_matches('!'), &plain(tagged.value)?)
        }
        Yaml::Mapping(mapping) => {
            let mut map = Map::new();
            for (key, value) in mapping {
                let Yaml::String(key) = key else {
                    return Err(format!("{key:?} is a key, but not a text"));
                };
                map.insert(key, plain(value)?);
            }
            Value::Object(map)
        }
        Yaml::Sequence(items) => Value::Array(items.into_iter().map(plain).collect::<Result<_, _>>()?),
        scalar => serde_json::to_value(scalar).map_err(|error| error.to_string())?,
    })
}

fn function(tag: &str, argument: &Value) -> Value {
    match (tag, argument) {
        ("Ref" | "Condition", _) => json!({ tag: argument }),
        ("GetAtt", Value::String(path)) => {
            let (resource, attribute) = path.split_once('.').unwrap_or((path, ""));
            json!({ "Fn::GetAtt": [resource, attribute] })
        }
        _ => json!({ format!("Fn::{tag}"): argument }),
    }
}

/// The resource a value stands for, if it is one by `Ref` or `Fn::GetAtt`.
#[must_use]
pub fn resource_of(value: &Value) -> Option<&str> {
    value["Ref"].as_str().or(value["Fn::GetAtt"][0].as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_tags_become_functions() {
        let text = "a: !Ref B\nc: !GetAtt D.Arn\ne: !If [F, !Sub 'x${G}', !Ref AWS::NoValue]\nh: 1\n";
        let expected = json!({
            "a": {"Ref": "B"},
            "c": {"Fn::GetAtt": ["D", "Arn"]},
            "e": {"Fn::If": ["F", {"Fn::Sub": "x${G}"}, {"Ref": "AWS::NoValue"}]},
            "h": 1
        });
        assert_eq!(read(text), Ok(expected));
        assert_eq!(resource_of(&json!({"Fn::GetAtt": ["D", "Arn"]})), Some("D"));
        assert_eq!(resource_of(&json!("D")), None);
    }
}
