//! One kubeconfig document: named entries in three lists, and the rest.

use crate::output;
use anyhow::{Context, Result, bail};
use serde_json::{Map, Value, json};
use std::path::Path;

/// A list of named entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// `clusters`
    Clusters,
    /// `contexts`
    Contexts,
    /// `users`
    Users,
}

impl Section {
    const ALL: [Self; 3] = [Self::Clusters, Self::Contexts, Self::Users];

    fn list(self) -> &'static str {
        match self {
            Self::Clusters => "clusters",
            Self::Contexts => "contexts",
            Self::Users => "users",
        }
    }

    /// The key of an entry's content, beside its `name`.
    fn content(self) -> &'static str {
        match self {
            Self::Clusters => "cluster",
            Self::Contexts => "context",
            Self::Users => "user",
        }
    }

    /// Fields of an entry that name files.
    fn paths(self) -> &'static [&'static str] {
        match self {
            Self::Clusters => &["certificate-authority"],
            Self::Contexts => &[],
            Self::Users => &["client-certificate", "client-key", "tokenFile"],
        }
    }

    /// Fields of an entry that are not shown, and what is shown in their place.
    fn secrets(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Clusters => &[("certificate-authority-data", "DATA+OMITTED")],
            Self::Contexts => &[],
            Self::Users => &[
                ("client-certificate-data", "DATA+OMITTED"),
                ("client-key-data", "DATA+OMITTED"),
                ("token", "REDACTED"),
                ("password", "REDACTED"),
            ],
        }
    }
}

/// The content of a file, or of several merged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Document {
    fields: Map<String, Value>,
}

impl Document {
    /// Reads YAML or JSON; nothing is an empty document.
    ///
    /// # Errors
    /// When it is neither, or not a map with lists of named entries.
    pub fn parse(text: &str) -> Result<Self> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        let fields = match serde_yaml::from_str(text)? {
            Value::Null => Map::new(),
            Value::Object(fields) => fields,
            _ => bail!("it is not a map"),
        };
        let document = Self { fields };
        for section in Section::ALL {
            document.check(section)?;
        }
        Ok(document)
    }

    fn check(&self, section: Section) -> Result<()> {
        let list = match self.fields.get(section.list()) {
            None | Some(Value::Null) => return Ok(()),
            Some(list) => list.as_array().with_context(|| format!("{} is not a list", section.list()))?,
        };
        let named = |entry: &Value| entry["name"].is_string();
        if list.iter().all(named) { Ok(()) } else { bail!("an entry of {} has no name", section.list()) }
    }

    /// As a file has it.
    pub fn to_yaml(&self) -> String {
        output::yaml::to_string(&self.to_value())
    }

    /// With the fields that every kubeconfig has, as kubectl writes them.
    pub fn to_value(&self) -> Value {
        let mut fields = self.fields.clone();
        let defaults = [("apiVersion", json!("v1")), ("kind", json!("Config")), ("preferences", json!({}))];
        let none = Section::ALL.map(|section| (section.list(), Value::Null));
        for (key, value) in defaults.into_iter().chain(none).chain([("current-context", json!(""))]) {
            fields.entry(key).or_insert(value);
        }
        Value::Object(fields)
    }

    /// For a client.
    ///
    /// # Errors
    /// When an entry is not what a client expects.
    pub fn to_client(&self) -> Result<kube::config::Kubeconfig> {
        let mut fields = self.fields.clone();
        fields.retain(|_, value| !value.is_null());
        if self.current_context().is_none() {
            fields.remove("current-context");
        }
        serde_json::from_value(Value::Object(fields)).context("understand the kubeconfig")
    }

    /// Names and contents, in the order of the document.
    pub fn entries(&self, section: Section) -> impl Iterator<Item = (&str, &Value)> {
        let list = self.fields.get(section.list()).and_then(Value::as_array).into_iter().flatten();
        list.map(move |entry| (entry["name"].as_str().unwrap_or_default(), &entry[section.content()]))
    }

    /// The content of an entry.
    pub fn get(&self, section: Section, name: &str) -> Option<&Value> {
        self.entries(section).find(|(found, _)| *found == name).map(|(_, content)| content)
    }

    /// Replaces the content of an entry, or adds one.
    pub fn set(&mut self, section: Section, name: &str, content: Value) {
        let list = self.list_mut(section);
        match list.iter_mut().find(|entry| entry["name"] == name) {
            Some(entry) => entry[section.content()] = content,
            None => list.push(json!({"name": name, section.content(): content})),
        }
    }

    /// Removes an entry; whether there was one.
    pub fn remove(&mut self, section: Section, name: &str) -> bool {
        if self.get(section, name).is_none() {
            return false;
        }
        self.list_mut(section).retain(|entry| entry["name"] != name);
        true
    }

    fn list_mut(&mut self, section: Section) -> &mut Vec<Value> {
        let list = self.fields.entry(section.list()).or_insert(Value::Null);
        if !list.is_array() {
            *list = Value::Array(Vec::new());
        }
        list.as_array_mut().expect("made one above")
    }

    /// The current context's name; `None` when there is none.
    pub fn current_context(&self) -> Option<&str> {
        self.fields.get("current-context").and_then(Value::as_str).filter(|name| !name.is_empty())
    }

    /// Makes a context the current one; an empty name makes none.
    pub fn set_current_context(&mut self, name: &str) {
        self.fields.insert("current-context".to_owned(), name.into());
    }

    /// Adds what `other` says and this does not say yet. Entries end up sorted by name.
    pub fn add(&mut self, other: &Self) {
        for section in Section::ALL {
            for (name, content) in other.entries(section) {
                if self.get(section, name).is_none() {
                    self.set(section, name, content.clone());
                }
            }
            if let Some(list) = self.fields.get_mut(section.list()).and_then(Value::as_array_mut) {
                list.sort_by(|a, b| a["name"].as_str().cmp(&b["name"].as_str()));
            }
        }
        if let (None, Some(name)) = (self.current_context(), other.current_context()) {
            let name = name.to_owned();
            self.set_current_context(&name);
        }
        for (key, value) in &other.fields {
            if !Section::ALL.iter().any(|section| section.list() == key) && key != "current-context" {
                self.fields.entry(key).or_insert_with(|| value.clone());
            }
        }
    }

    /// Makes the paths of files absolute, which are relative to the kubeconfig's directory.
    pub fn resolve_paths(&mut self, directory: &Path) {
        self.for_each_content(|section, fields| {
            for field in section.paths() {
                if let Some(Value::String(path)) = fields.get_mut(*field)
                    && !path.is_empty()
                {
                    *path = directory.join(&path).display().to_string();
                }
            }
        });
    }

    /// Puts the contents of certificate files in place of their paths.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn flatten(&mut self) -> Result<()> {
        let mut failure = None;
        self.for_each_content(|section, fields| {
            for field in section.paths().iter().filter(|field| **field != "tokenFile") {
                let Some(Value::String(path)) = fields.remove(*field) else { continue };
                match std::fs::read(&path) {
                    Ok(bytes) => {
                        fields.entry(format!("{field}-data")).or_insert_with(|| encode(&bytes).into());
                    }
                    Err(error) => failure = Some(anyhow::Error::new(error).context(format!("read {path}"))),
                }
            }
        });
        failure.map_or(Ok(()), Err)
    }

    fn for_each_content(&mut self, mut visit: impl FnMut(Section, &mut Map<String, Value>)) {
        for section in Section::ALL {
            let list = self.fields.get_mut(section.list()).and_then(Value::as_array_mut);
            for entry in list.into_iter().flatten() {
                if let Some(fields) = entry.get_mut(section.content()).and_then(Value::as_object_mut) {
                    visit(section, fields);
                }
            }
        }
    }

    /// Leaves only what a context needs.
    ///
    /// # Errors
    /// When the context or what it names does not exist.
    pub fn minify(&mut self, context: &str) -> Result<()> {
        let content = self.get(Section::Contexts, context).cloned();
        let content = content.with_context(|| format!("cannot locate context {context}"))?;
        let keep = [
            (Section::Contexts, context),
            (Section::Clusters, content["cluster"].as_str().unwrap_or_default()),
            (Section::Users, content["user"].as_str().unwrap_or_default()),
        ];
        for (section, name) in keep {
            if !name.is_empty() && self.get(section, name).is_none() {
                bail!("cannot locate {} {name}", section.content());
            }
            self.list_mut(section).retain(|entry| entry["name"] == name);
        }
        self.set_current_context(context);
        Ok(())
    }

    /// Hides keys, tokens and certificates, as kubectl does (`ShortenConfig`).
    pub fn redact(&mut self) {
        self.for_each_content(|section, fields| {
            for (field, shown) in section.secrets() {
                if let Some(value) = fields.get_mut(*field).filter(|value| **value != "") {
                    *value = (*shown).into();
                }
            }
        });
    }
}

/// Bytes as `…-data` fields hold them.
pub fn encode(bytes: &[u8]) -> String {
    use base64::{Engine, engine::general_purpose::STANDARD};
    STANDARD.encode(bytes)
}
