//! `wk config set`, `wk config unset`: one property by its path, such as
//! `contexts.work.namespace` (upstream: `kubectl/pkg/cmd/config/set.go`).

use crate::kubeconfig::{Kubeconfig, Section, Sources};
use crate::output;
use anyhow::{Result, bail};
use serde_json::Value;

/// What a path leads to.
enum Property<'a> {
    CurrentContext,
    Entry(Section, &'a str),
    Field(Section, &'a str, &'a str),
}

impl<'a> Property<'a> {
    /// Names may have dots: a field is the last part only when it is one that
    /// entries of the section have.
    fn parse(path: &'a str, config: &Kubeconfig) -> Result<Self> {
        if path == "current-context" {
            return Ok(Self::CurrentContext);
        }
        let Some((section, rest)) = path.split_once('.') else { bail!("unrecognized type or property {path:?}") };
        let section = match section {
            "clusters" => Section::Clusters,
            "contexts" => Section::Contexts,
            "users" => Section::Users,
            _ => bail!("unrecognized type or property {path:?}"),
        };
        if config.merged().get(section, rest).is_some() {
            return Ok(Self::Entry(section, rest));
        }
        Ok(match rest.rsplit_once('.') {
            Some((name, field)) => Self::Field(section, name, field),
            None => Self::Entry(section, rest),
        })
    }
}

pub(super) fn set(sources: &Sources, path: &str, value: &str) -> Result<()> {
    sources.edit(|config| {
        match Property::parse(path, config)? {
            Property::CurrentContext => config.set_current_context(value),
            Property::Entry(..) => bail!("unable to parse {path:?}: it names no field"),
            Property::Field(section, name, field) => {
                let value = value.parse::<bool>().map_or_else(|_| Value::from(value), Value::from);
                super::change(config, section, name, [(field, Some(value))], &[]);
            }
        }
        Ok(())
    })?;
    output::line(format_args!("Property {path:?} set."))
}

pub(super) fn unset(sources: &Sources, path: &str) -> Result<()> {
    sources.edit(|config| {
        match Property::parse(path, config)? {
            Property::CurrentContext => config.set_current_context(""),
            Property::Entry(section, name) => {
                if !config.remove(section, name) {
                    bail!("current map key `{name}` is invalid");
                }
            }
            Property::Field(section, name, field) => {
                if config.merged().get(section, name).is_none() {
                    bail!("current map key `{name}` is invalid");
                }
                super::change(config, section, name, [(field, Some("".into()))], &[]);
            }
        }
        Ok(())
    })?;
    output::line(format_args!("Property {path:?} unset."))
}
