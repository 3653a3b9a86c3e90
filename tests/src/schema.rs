//! Looking into a JSON schema as `schemars` writes it: what members a value has, and what kind.

use serde_json::Value;

/// A place in a schema.
#[derive(Clone, Copy, Debug)]
pub struct Kind<'a> {
    root: &'a Value,
    node: &'a Value,
}

/// A member of an object.
#[derive(Clone, Copy, Debug)]
pub enum Member<'a> {
    /// It is always there.
    Always(Kind<'a>),
    /// It can be missing.
    Sometimes(Kind<'a>),
    /// The schema does not say.
    Unknown,
    /// There is none.
    Missing,
}

impl<'a> Kind<'a> {
    /// A whole schema.
    #[must_use]
    pub fn of(root: &'a Value) -> Self {
        Self { root, node: root }
    }

    fn at(self, node: &'a Value) -> Self {
        Self { node, ..self }
    }

    /// What this is, behind references and `null`.
    fn target(self) -> Self {
        if let Some(name) = self.node["$ref"].as_str().and_then(|path| path.strip_prefix("#/$defs/")) {
            return self.at(&self.root["$defs"][name]).target();
        }
        let mut choices = self.node["anyOf"].as_array().into_iter().flatten();
        choices.find(|choice| choice["type"] != "null").map_or(self, |choice| self.at(choice).target())
    }

    /// The name of the type this is, if it has one.
    #[must_use]
    pub fn name(self) -> Option<&'a str> {
        let mut choices = self.node["anyOf"].as_array().into_iter().flatten().chain([self.node]);
        choices.find_map(|choice| choice["$ref"].as_str()).and_then(|path| path.strip_prefix("#/$defs/"))
    }

    /// A member of it.
    #[must_use]
    pub fn member(self, name: &str) -> Member<'a> {
        let target = self.target();
        let Some(properties) = target.node["properties"].as_object() else {
            let scalar = ["string", "integer", "number", "boolean", "array"]
                .iter()
                .any(|kind| target.node["type"] == *kind);
            return if scalar { Member::Missing } else { Member::Unknown };
        };
        match properties.get(name) {
            None => Member::Missing,
            Some(node) if target.required().any(|required| required == name) => Member::Always(self.at(node)),
            Some(node) => Member::Sometimes(self.at(node)),
        }
    }

    /// The names of its members.
    pub fn members(self) -> impl Iterator<Item = &'a str> {
        self.target().node["properties"].as_object().into_iter().flatten().map(|(name, _)| name.as_str())
    }

    /// The names of the members it must have.
    pub fn required(self) -> impl Iterator<Item = &'a str> {
        self.target().node["required"].as_array().into_iter().flatten().filter_map(Value::as_str)
    }

    /// Whether it can be `null`.
    #[must_use]
    pub fn takes_null(self) -> bool {
        let mut kinds = self.node["anyOf"].as_array().into_iter().flatten().chain([self.node]);
        kinds.any(|kind| match &kind["type"] {
            Value::String(name) => name == "null",
            Value::Array(names) => names.iter().any(|name| name == "null"),
            _ => false,
        })
    }

    /// The texts it can be, if it is one of a few.
    #[must_use]
    pub fn texts(self) -> Option<Vec<&'a str>> {
        let node = self.target().node;
        let constants = node["oneOf"].as_array().into_iter().flatten().filter_map(|v| v["const"].as_str());
        let listed = node["enum"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let texts: Vec<&str> = constants.chain(listed).collect();
        (!texts.is_empty()).then_some(texts)
    }
}
