//! `wk image`: the images of this machine's nodes. Works on the store's files,
//! whether or not a server runs.

use crate::{
    args::{Global, Image},
    client,
    output::{self, size, table::Table},
};
use anyhow::{Context, Result, bail};
use std::{io::Write, process::ExitCode};
use wk_images::{ImageRecord, ImageStore, WasmKind};

/// Where the images are, under the data directory.
pub(crate) const IMAGES_DIRECTORY: &str = "images";

pub(super) fn run(global: &Global, command: Image) -> Result<ExitCode> {
    let directory = client::data_dir(global)?.join(IMAGES_DIRECTORY);
    let store = ImageStore::open(&directory).with_context(|| format!("open images in {}", directory.display()))?;
    match command {
        Image::Load { file, tag } => {
            let record = store.load_file(&file, &tag)?;
            output::line(format_args!("Loaded {} ({}, {})", tag, short(&record), size(record.size_bytes)))?;
        }
        Image::Ls => list(&store)?,
        Image::Rm { images } => remove(&store, &images)?,
        Image::Inspect { image } => inspect(&store, &image)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn list(store: &ImageStore) -> Result<()> {
    let mut rows = vec![["IMAGE", "DIGEST", "KIND", "SIZE"].map(str::to_owned).to_vec()];
    for record in store.list()? {
        let names = if record.tags.is_empty() { vec!["<none>".to_owned()] } else { record.tags.clone() };
        let (digest, kind, bytes) = (short(&record), kind_name(&record), size(record.size_bytes));
        rows.extend(names.into_iter().map(|name| vec![name, digest.clone(), kind.clone(), bytes.clone()]));
    }
    Ok(write!(output::stdout(), "{}", Table::default().layout(&rows))?)
}

fn remove(store: &ImageStore, images: &[String]) -> Result<()> {
    for image in images {
        match store.remove(image)? {
            Some(record) => output::line(format_args!("Removed {image} ({})", short(&record)))?,
            None => bail!("image {image:?} not found"),
        }
    }
    Ok(())
}

fn inspect(store: &ImageStore, image: &str) -> Result<()> {
    let Some((record, facts)) = store.inspect(image)? else { bail!("image {image:?} not found") };
    let document = serde_json::json!({
        "digest": record.digest.as_str(),
        "tags": record.tags,
        "sizeBytes": record.size_bytes,
        "kind": kind_name(&record),
        "world": facts.world(),
        "imports": facts.imports,
        "exports": facts.exports,
    });
    output::line(output::json_text(&document)?)
}

/// The first twelve digits of the digest, as image lists show it.
fn short(record: &ImageRecord) -> String {
    record.digest.hex().chars().take(12).collect()
}

fn kind_name(record: &ImageRecord) -> String {
    match record.kind {
        WasmKind::Component => "component",
        WasmKind::Module => "module",
    }
    .to_owned()
}
