//! The shipped template, made ready to be deployed as `sam package` does it: intrinsic functions in
//! their long form, code and definition no longer paths on this machine.

use std::io::{Cursor, Write};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value, json};
use serde_yaml_ng::Value as Yaml;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// The template as JSON.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Template(Value);

/// A function of the template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Function {
    /// Its logical id.
    pub(super) id: String,
    /// The binary it runs.
    pub(super) binary: String,
}

impl Template {
    /// Reads a template with its state machines' definitions.
    pub(super) fn load(path: &Path) -> Result<Self> {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("failed to read {}", path.display()))?;
        let mut template =
            Self::parse(&text).with_context(|| format!("failed to parse {}", path.display()))?;
        let folder = path.parent().unwrap_or(Path::new("."));
        for (_, resource) in template.resources_of("AWS::Serverless::StateMachine") {
            inline_definition(resource, folder)?;
        }
        Ok(template)
    }

    fn parse(text: &str) -> Result<Self> {
        Ok(Self(long_form(serde_yaml_ng::from_str(text)?)?))
    }

    /// The functions, each with the binary that its build names.
    pub(super) fn functions(&mut self) -> Result<Vec<Function>> {
        self.resources_of("AWS::Serverless::Function")
            .map(|(id, resource)| {
                let binary = resource
                    .pointer("/Metadata/BuildProperties/Binary")
                    .and_then(Value::as_str)
                    .with_context(|| format!("{id} names no binary in Metadata.BuildProperties"))?;
                Ok(Function { id: id.clone(), binary: binary.to_owned() })
            })
            .collect()
    }

    /// Lets each function run the code in `bucket`, under the key that `key` gives it.
    pub(super) fn set_code(&mut self, bucket: &str, key: impl Fn(&str) -> String) {
        for (id, resource) in self.resources_of("AWS::Serverless::Function") {
            resource["Properties"]["CodeUri"] = json!({ "Bucket": bucket, "Key": key(id) });
        }
    }

    /// The text to deploy.
    pub(super) fn to_text(&self) -> String {
        self.0.to_string()
    }

    fn resources_of(&mut self, kind: &'static str) -> impl Iterator<Item = (&String, &mut Value)> {
        let resources = self.0.get_mut("Resources").and_then(Value::as_object_mut);
        resources.into_iter().flatten().filter(move |(_, resource)| resource["Type"] == kind)
    }
}

fn inline_definition(machine: &mut Value, folder: &Path) -> Result<()> {
    let Some(properties) = machine["Properties"].as_object_mut() else {
        return Ok(());
    };
    let Some(Value::String(uri)) = properties.remove("DefinitionUri") else {
        return Ok(());
    };
    let path = folder.join(uri);
    let text = std::fs::read(&path).with_context(|| format!("failed to read {}", path.display()))?;
    let definition: Value =
        serde_json::from_slice(&text).with_context(|| format!("failed to parse {}", path.display()))?;
    properties.insert("Definition".to_owned(), definition);
    Ok(())
}

/// YAML with CloudFormation's short tags as the JSON that means the same.
fn long_form(yaml: Yaml) -> Result<Value> {
    Ok(match yaml {
        Yaml::Tagged(tagged) => {
            let tag = tagged.tag.to_string();
            let value = long_form(tagged.value)?;
            intrinsic(tag.trim_start_matches('!'), value)
        }
        Yaml::Mapping(mapping) => {
            let mut object = Map::new();
            for (name, value) in mapping {
                let Yaml::String(name) = name else {
                    bail!("a mapping's name is {name:?}; CloudFormation takes only text");
                };
                object.insert(name, long_form(value)?);
            }
            Value::Object(object)
        }
        Yaml::Sequence(items) => Value::Array(items.into_iter().map(long_form).collect::<Result<_>>()?),
        scalar @ (Yaml::Null | Yaml::Bool(_) | Yaml::Number(_) | Yaml::String(_)) => {
            serde_json::to_value(scalar)?
        }
    })
}

fn intrinsic(name: &str, value: Value) -> Value {
    let (name, value) = match (name, value) {
        ("Ref" | "Condition", value) => (name.to_owned(), value),
        ("GetAtt", Value::String(path)) => {
            let (resource, attribute) = path.split_once('.').unwrap_or((&path, ""));
            ("Fn::GetAtt".to_owned(), json!([resource, attribute]))
        }
        (name, value) => (format!("Fn::{name}"), value),
    };
    Value::Object(Map::from_iter([(name, value)]))
}

/// A function's zip: its executable as `bootstrap`, without debug information where `strip` is at
/// hand.
pub(super) fn zipped(executable: &Path, scratch: &Path) -> Result<Vec<u8>> {
    let stripped = scratch.join(executable.file_name().unwrap_or_default()).with_extension("stripped");
    let done = Command::new("strip").arg("-o").arg(&stripped).arg(executable).output();
    let source = if done.is_ok_and(|output| output.status.success()) { &stripped } else { executable };
    let code = std::fs::read(source).with_context(|| format!("failed to read {}", source.display()))?;
    // Where nothing was stripped there is nothing to remove.
    let _ = std::fs::remove_file(&stripped);
    // It goes to this machine: packing it would cost more than carrying it.
    let options =
        SimpleFileOptions::default().compression_method(CompressionMethod::Stored).unix_permissions(0o755);
    let mut zip = ZipWriter::new(Cursor::new(Vec::with_capacity(code.len() + 1024)));
    zip.start_file("bootstrap", options)?;
    zip.write_all(&code)?;
    Ok(zip.finish()?.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_tags_become_functions() -> Result<()> {
        let template = Template::parse(
            "Resources:\n  Topic:\n    Name: !Sub ${AWS::StackName}-x\n    Arn: !GetAtt Role.Arn\n    If: !If [Has, !Ref Key, !Ref AWS::NoValue]\n    Or: !Or [!Condition A, !Equals [!Join ['', !Ref L], '']]\n",
        )?;
        assert_eq!(
            template.0["Resources"]["Topic"],
            json!({
                "Name": { "Fn::Sub": "${AWS::StackName}-x" },
                "Arn": { "Fn::GetAtt": ["Role", "Arn"] },
                "If": { "Fn::If": ["Has", { "Ref": "Key" }, { "Ref": "AWS::NoValue" }] },
                "Or": { "Fn::Or": [
                    { "Condition": "A" },
                    { "Fn::Equals": [{ "Fn::Join": ["", { "Ref": "L" }] }, ""] },
                ] },
            })
        );
        Ok(())
    }

    #[test]
    fn the_shipped_template_is_packaged_whole() -> Result<()> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let mut template = Template::load(&root.join("template.yaml"))?;
        let functions = template.functions()?;
        assert!(functions.iter().any(|function| function.binary == "collect-report"), "{functions:?}");
        template.set_code("code", |id| format!("{id}.zip"));
        let text = template.to_text();
        assert!(text.contains("\"CodeUri\":{\"Bucket\":\"code\",\"Key\":\"DecideFunction.zip\"}"));
        assert!(text.contains("\"StartAt\":\"Begin\"") && !text.contains("DefinitionUri"));
        Ok(())
    }
}
