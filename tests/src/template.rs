//! The template as CloudFormation reads it: its short tags become the functions they stand for, so
//! `!Ref X` is `{"Ref": "X"}` and `!GetAtt X.Arn` is `{"Fn::GetAtt": ["X", "Arn"]}`.

use std::collections::BTreeMap;

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

/// A template deployed with parameters, as far as its functions can be resolved on paper. Resources
/// are named by their logical ids.
#[derive(Clone, Debug)]
pub struct Stack {
    template: Value,
    parameters: BTreeMap<String, Value>,
}

impl Stack {
    /// The template with these parameters; all others have their defaults.
    #[must_use]
    pub fn new(template: &Value, parameters: &[(&str, Value)]) -> Self {
        let defaults = template["Parameters"].as_object().into_iter().flatten().map(|(name, parameter)| {
            let default = &parameter["Default"];
            let list = parameter["Type"] == "CommaDelimitedList";
            (name.clone(), if list { json!([default]) } else { default.clone() })
        });
        let given = parameters.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
        Self { template: template.clone(), parameters: defaults.chain(given).collect() }
    }

    /// A resource's properties, resolved.
    #[must_use]
    pub fn properties(&self, resource: &str) -> Value {
        self.resolve(&self.template["Resources"][resource]["Properties"]).unwrap_or_default()
    }

    /// A value without its functions; none for `AWS::NoValue`.
    ///
    /// # Panics
    /// When a function is used that this does not know.
    #[must_use]
    pub fn resolve(&self, value: &Value) -> Option<Value> {
        match value {
            Value::Object(map) if map.len() == 1 => {
                let (name, argument) = map.iter().next()?;
                self.function(name, argument).unwrap_or_else(|| Some(self.members(map)))
            }
            Value::Object(map) => Some(self.members(map)),
            Value::Array(items) => Some(items.iter().filter_map(|item| self.resolve(item)).collect()),
            scalar => Some(scalar.clone()),
        }
    }

    fn members(&self, map: &Map<String, Value>) -> Value {
        let resolved = map.iter().filter_map(|(key, value)| Some((key.clone(), self.resolve(value)?)));
        Value::Object(resolved.collect())
    }

    /// Outer none: no function.
    fn function(&self, name: &str, argument: &Value) -> Option<Option<Value>> {
        let text = |value: &Value| self.resolve(value).and_then(|value| value.as_str().map(str::to_owned));
        Some(match name {
            "Ref" => match argument.as_str()? {
                "AWS::NoValue" => None,
                name => Some(self.reference(name)),
            },
            "Fn::GetAtt" => Some(Value::String(self.arn(argument[0].as_str()?))),
            "Fn::If" => {
                let branch = if self.holds(argument[0].as_str()?) { 1 } else { 2 };
                self.resolve(&argument[branch])
            }
            "Fn::Sub" => {
                let (text, names) = match argument {
                    Value::Array(both) => (both.first()?, both.get(1).and_then(Value::as_object)),
                    text => (text, None),
                };
                let names: BTreeMap<&str, Value> = names
                    .into_iter()
                    .flatten()
                    .filter_map(|(name, value)| Some((name.as_str(), self.resolve(value)?)))
                    .collect();
                Some(Value::String(self.substituted(text.as_str()?, &names)))
            }
            "Fn::Split" => {
                let whole = self.resolve(&argument[1])?;
                Some(whole.as_str()?.split(argument[0].as_str()?).collect())
            }
            "Fn::Join" => {
                let items = self.resolve(&argument[1])?;
                let items: Vec<&str> = items.as_array()?.iter().filter_map(Value::as_str).collect();
                Some(Value::String(items.join(argument[0].as_str()?)))
            }
            "Fn::Select" => {
                let at = usize::try_from(argument[0].as_u64()?).ok()?;
                Some(self.resolve(&argument[1])?.get(at)?.clone())
            }
            "Fn::Equals" => Some(Value::Bool(text(&argument[0]) == text(&argument[1]))),
            "Fn::Not" => Some(Value::Bool(!self.truth(&argument[0]))),
            "Fn::Or" => Some(Value::Bool(argument.as_array()?.iter().any(|each| self.truth(each)))),
            "Fn::And" => Some(Value::Bool(argument.as_array()?.iter().all(|each| self.truth(each)))),
            "Condition" if argument.is_string() => Some(Value::Bool(self.holds(argument.as_str()?))),
            name if name.starts_with("Fn::") => panic!("{name} is not known here"),
            _ => return None,
        })
    }

    fn truth(&self, condition: &Value) -> bool {
        self.resolve(condition).is_some_and(|value| value == true)
    }

    fn holds(&self, condition: &str) -> bool {
        self.truth(&self.template["Conditions"][condition])
    }

    fn reference(&self, name: &str) -> Value {
        match name {
            "AWS::Partition" => json!("aws"),
            "AWS::URLSuffix" => json!("amazonaws.com"),
            "AWS::AccountId" => json!("222222222222"),
            "AWS::Region" => json!("us-east-1"),
            "AWS::StackName" => json!("brigade"),
            name => self.parameters.get(name).cloned().unwrap_or_else(|| {
                let bucket = self.template["Resources"][name]["Type"] == "AWS::S3::Bucket";
                json!(if bucket { name.to_lowercase() } else { name.to_owned() })
            }),
        }
    }

    fn arn(&self, resource: &str) -> String {
        let found = &self.template["Resources"][resource];
        match found["Type"].as_str().unwrap_or_default() {
            "AWS::S3::Bucket" => format!("arn:aws:s3:::{}", resource.to_lowercase()),
            "AWS::IAM::Role" => {
                let name = self.resolve(&found["Properties"]["RoleName"]);
                let name = name.as_ref().and_then(Value::as_str).unwrap_or(resource);
                format!("arn:aws:iam::222222222222:role/{name}")
            }
            "AWS::Logs::LogGroup" => format!("arn:aws:logs:us-east-1:222222222222:log-group:{resource}"),
            kind => format!("arn:aws:{kind}:{resource}"),
        }
    }

    fn substituted(&self, text: &str, names: &BTreeMap<&str, Value>) -> String {
        let mut parts = text.split("${");
        let mut whole = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let (name, rest) = part.split_once('}').unwrap_or((part, ""));
            whole += &match (names.get(name), name.split_once('.')) {
                (Some(value), _) => value.as_str().unwrap_or_default().to_owned(),
                (None, Some((resource, _))) => self.arn(resource),
                (None, None) => self.reference(name).as_str().unwrap_or_default().to_owned(),
            };
            whole += rest;
        }
        whole
    }
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
