//! `wk config`: kubectl's commands over kubeconfig files, with its words.

mod property;

use crate::{
    args::{Config, Global, SetCluster, SetContext, SetCredentials},
    kubeconfig::{Document, Kubeconfig, Section, Sources, encode},
    output::{self, Format, table::Table},
};
use anyhow::{Context, Result, bail};
use serde_json::{Map, Value};
use std::{
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
};

pub(super) fn run(global: &Global, command: Config) -> Result<ExitCode> {
    let sources = Sources::of(global)?;
    match command {
        Config::View { minify, raw, flatten, output, template } => {
            let context = global.context.as_deref();
            view(sources.read()?.merged(), &View { minify, raw, flatten, output, template, context })?;
        }
        Config::CurrentContext => match sources.read()?.merged().current_context() {
            Some(name) => output::line(name)?,
            None => bail!("current-context is not set"),
        },
        Config::GetContexts { names, output, no_headers } => {
            return get_contexts(&sources.read()?.merged(), &names, output.as_deref(), !no_headers);
        }
        Config::GetClusters => list_names(&sources, Section::Clusters)?,
        Config::GetUsers => list_names(&sources, Section::Users)?,
        Config::UseContext { name } => use_context(&sources, &name)?,
        Config::SetContext(args) => set_context(&sources, global.namespace.as_deref(), args)?,
        Config::SetCluster(args) => set_cluster(&sources, args)?,
        Config::SetCredentials(args) => set_credentials(&sources, args)?,
        Config::DeleteContext { name } => delete_context(&sources, &name)?,
        Config::DeleteCluster { name } => delete(&sources, Section::Clusters, "cluster", &name)?,
        Config::DeleteUser { name } => delete(&sources, Section::Users, "user", &name)?,
        Config::Set { property, value } => property::set(&sources, &property, &value)?,
        Config::Unset { property } => property::unset(&sources, &property)?,
        Config::RenameContext { old, new } => rename_context(&sources, &old, &new)?,
    }
    Ok(ExitCode::SUCCESS)
}

struct View<'a> {
    minify: bool,
    raw: bool,
    flatten: bool,
    output: Option<String>,
    template: Option<String>,
    context: Option<&'a str>,
}

fn view(mut config: Document, view: &View) -> Result<()> {
    if view.minify {
        let context = view.context.or(config.current_context()).map(str::to_owned);
        config.minify(&context.context("current-context must exist in order to minify")?)?;
    }
    if view.flatten {
        config.flatten()?;
    }
    if !view.raw && !view.flatten {
        config.redact();
    }
    let (value, mut out) = (config.to_value(), output::stdout());
    match Format::with_template(
        view.output.as_deref().or(view.template.is_none().then_some("yaml")),
        view.template.as_deref(),
    )? {
        Format::Yaml => write!(out, "{}", output::yaml::to_string(&value))?,
        Format::Json => writeln!(out, "{}", output::json_text(&value)?)?,
        Format::JsonPath(template) => write!(out, "{}", template.render(&value)?)?,
        Format::GoTemplate(template) => write!(out, "{}", template.render(&value)?)?,
        _ => bail!(
            "unable to match a printer suitable for the output format, allowed formats are: go-template,json,jsonpath,yaml"
        ),
    }
    Ok(())
}

fn get_contexts(config: &Document, names: &[String], format: Option<&str>, headers: bool) -> Result<ExitCode> {
    let by_name = match format {
        None | Some("") | Some("wide") => false,
        Some("name") => true,
        Some(other) => bail!("output must be one of '' or 'name': {other}"),
    };
    let chosen = |name: &str| names.is_empty() || names.iter().any(|wanted| wanted == name);
    let found: Vec<_> = config.entries(Section::Contexts).filter(|(name, _)| chosen(name)).collect();
    let mut out = output::stdout();
    if by_name {
        for (name, _) in &found {
            writeln!(out, "{name}")?;
        }
    } else {
        write!(out, "{}", contexts_table(config, &found, headers))?;
    }
    let mut code = ExitCode::SUCCESS;
    for missing in names.iter().filter(|name| config.get(Section::Contexts, name).is_none()) {
        writeln!(std::io::stderr(), "error: context {missing} not found")?;
        code = ExitCode::FAILURE;
    }
    Ok(code)
}

fn contexts_table(config: &Document, found: &[(&str, &Value)], headers: bool) -> String {
    let mut rows = Vec::new();
    if headers {
        rows.push(["CURRENT", "NAME", "CLUSTER", "AUTHINFO", "NAMESPACE"].map(str::to_owned).to_vec());
    }
    for (name, content) in found {
        let current = if config.current_context() == Some(*name) { "*" } else { "" };
        let field = |key: &str| content[key].as_str().unwrap_or_default().to_owned();
        rows.push(vec![current.to_owned(), (*name).to_owned(), field("cluster"), field("user"), field("namespace")]);
    }
    Table::default().layout(&rows)
}

fn list_names(sources: &Sources, section: Section) -> Result<()> {
    let config = sources.read()?.merged();
    let mut out = output::stdout();
    writeln!(out, "NAME")?;
    for (name, _) in config.entries(section) {
        writeln!(out, "{name}")?;
    }
    Ok(())
}

fn use_context(sources: &Sources, name: &str) -> Result<()> {
    sources.edit(|config| {
        if config.merged().get(Section::Contexts, name).is_none() {
            bail!("no context exists with the name: {name:?}");
        }
        config.set_current_context(name);
        Ok(())
    })?;
    output::line(format_args!("Switched to context {name:?}."))
}

fn set_context(sources: &Sources, namespace: Option<&str>, args: SetContext) -> Result<()> {
    let SetContext { name, current: _, cluster, user } = args;
    let (name, done) = sources.edit(|config| {
        let merged = config.merged();
        let name = match name {
            Some(name) => name,
            None => merged.current_context().context("no current context is set")?.to_owned(),
        };
        let done = if merged.get(Section::Contexts, &name).is_some() { "modified" } else { "created" };
        let changes = [("cluster", cluster), ("user", user), ("namespace", namespace.map(str::to_owned))];
        let changes = changes.map(|(key, text)| (key, text.map(Value::from)));
        // As kubectl: a context always has these two.
        change(config, Section::Contexts, &name, changes, &["cluster", "user"]);
        Ok((name, done))
    })?;
    output::line(format_args!("Context {name:?} {done}."))
}

/// Changes the given fields of an entry, which is made when it is not there; an
/// empty text removes a field, unless it is `required`.
fn change<const N: usize>(
    config: &mut Kubeconfig,
    section: Section,
    name: &str,
    changes: [(&str, Option<Value>); N],
    required: &[&str],
) {
    let document = config.document_of(section, name);
    let mut fields = document.get(section, name).and_then(Value::as_object).cloned().unwrap_or_else(Map::new);
    for (key, value) in changes {
        match value {
            Some(value) if value == "" || value == false => drop(fields.remove(key)),
            Some(value) => drop(fields.insert(key.to_owned(), value)),
            None => {}
        }
    }
    for key in required {
        fields.entry(*key).or_insert_with(|| "".into());
    }
    document.set(section, name, Value::Object(fields));
}

fn set_cluster(sources: &Sources, args: SetCluster) -> Result<()> {
    let SetCluster {
        name,
        server,
        certificate_authority,
        embed_certs,
        insecure_skip_tls_verify,
        tls_server_name,
        proxy_url,
    } = args;
    if insecure_skip_tls_verify == Some(true) && certificate_authority.is_some() {
        bail!("you cannot specify a certificate authority and insecure mode at the same time");
    }
    let authority = Certificate::read(certificate_authority, embed_certs)?;
    sources.edit(|config| {
        let text = |text: Option<String>| text.map(Value::from);
        // Either excludes the other, and the path excludes the data.
        let secure = certificate_is_given(&authority).then_some(false).or(insecure_skip_tls_verify);
        let (path, data) = match insecure_skip_tls_verify {
            Some(true) => (Some("".into()), Some("".into())),
            _ => authority.fields(),
        };
        let changes = [
            ("server", text(server)),
            ("certificate-authority", path),
            ("certificate-authority-data", data),
            ("insecure-skip-tls-verify", secure.map(Value::from)),
            ("tls-server-name", text(tls_server_name)),
            ("proxy-url", text(proxy_url)),
        ];
        change(config, Section::Clusters, &name, changes, &["server"]);
        Ok(())
    })?;
    output::line(format_args!("Cluster {name:?} set."))
}

fn certificate_is_given(certificate: &Certificate) -> bool {
    !matches!(certificate, Certificate::Unchanged)
}

/// A certificate or key as it was given.
enum Certificate {
    Unchanged,
    Path(String),
    Data(String),
}

impl Certificate {
    fn read(path: Option<PathBuf>, embed: Option<bool>) -> Result<Self> {
        let Some(path) = path else { return Ok(Self::Unchanged) };
        if embed == Some(true) {
            let bytes = std::fs::read(&path).with_context(|| format!("could not read {}", path.display()))?;
            return Ok(Self::Data(encode(&bytes)));
        }
        let absolute = if path == Path::new("") { path } else { std::path::absolute(path)? };
        Ok(Self::Path(absolute.display().to_string()))
    }

    /// What becomes of the path's field and of the data's.
    fn fields(&self) -> (Option<Value>, Option<Value>) {
        match self {
            Self::Unchanged => (None, None),
            Self::Path(path) => (Some(path.clone().into()), Some("".into())),
            Self::Data(data) => (Some("".into()), Some(data.clone().into())),
        }
    }
}

fn set_credentials(sources: &Sources, args: SetCredentials) -> Result<()> {
    let SetCredentials { name, client_certificate, client_key, embed_certs, token, username, password } = args;
    if token.is_some() && username.is_some() {
        bail!("you cannot specify more than one authentication method at the same time: [token basic]");
    }
    let certificate = Certificate::read(client_certificate, embed_certs)?;
    let key = Certificate::read(client_key, embed_certs)?;
    sources.edit(|config| {
        let (certificate_path, certificate_data) = certificate.fields();
        let (key_path, key_data) = key.fields();
        let text = |text: Option<String>| text.map(Value::from);
        let changes = [
            ("client-certificate", certificate_path),
            ("client-certificate-data", certificate_data),
            ("client-key", key_path),
            ("client-key-data", key_data),
            ("token", text(token)),
            ("username", text(username)),
            ("password", text(password)),
        ];
        change(config, Section::Users, &name, changes, &[]);
        Ok(())
    })?;
    output::line(format_args!("User {name:?} set."))
}

fn delete_context(sources: &Sources, name: &str) -> Result<()> {
    let (path, was_current) = sources.edit(|config| {
        let path = config.default_path().display().to_string();
        let was_current = config.merged().current_context() == Some(name);
        if !config.remove(Section::Contexts, name) {
            bail!("cannot delete context {name}, not in {path}");
        }
        Ok((path, was_current))
    })?;
    if was_current {
        let warning =
            "warning: this removed your active context, use \"wk config use-context\" to select a different one";
        writeln!(std::io::stderr(), "{warning}")?;
    }
    output::line(format_args!("deleted context {name} from {path}"))
}

fn delete(sources: &Sources, section: Section, word: &str, name: &str) -> Result<()> {
    let path = sources.edit(|config| {
        let path = config.default_path().display().to_string();
        if !config.remove(section, name) {
            bail!("cannot delete {word} {name}, not in {path}");
        }
        Ok(path)
    })?;
    output::line(format_args!("deleted {word} {name} from {path}"))
}

fn rename_context(sources: &Sources, old: &str, new: &str) -> Result<()> {
    sources.edit(|config| {
        let (merged, path) = (config.merged(), config.default_path().display().to_string());
        if merged.get(Section::Contexts, old).is_none() {
            bail!("cannot rename the context {old:?}, it's not in {path}");
        }
        if merged.get(Section::Contexts, new).is_some() {
            bail!("cannot rename the context {old:?}, the context {new:?} already exists in {path}");
        }
        let document = config.document_of(Section::Contexts, old);
        let content = document.get(Section::Contexts, old).cloned().unwrap_or_default();
        document.set(Section::Contexts, new, content);
        config.remove(Section::Contexts, old);
        if merged.current_context() == Some(old) {
            config.set_current_context(new);
        }
        Ok(())
    })?;
    output::line(format_args!("Context {old:?} renamed to {new:?}."))
}
