//! The files of certificates and keys: read as they are, replaced as a whole.
//! Called by [`super`]; whether the content makes sense is not its business.

use super::{Error, Pair, file_error};
use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

/// What is in a file; `None` when it is not there. Damage may leave anything, so
/// what is no text is replaced and fails where it is understood.
pub(super) fn read(directory: &Path, name: &str) -> Result<Option<String>, Error> {
    let path = directory.join(name);
    match fs::read(&path) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::File { path, source }),
    }
}

/// Reads a pair; `None` unless both files are there.
pub(super) fn read_pair(directory: &Path, name: &str) -> Result<Option<Pair>, Error> {
    let text = |extension: &str| read(directory, &format!("{name}.{extension}"));
    Ok(text("crt")?.zip(text("key")?).map(|(certificate, key)| Pair { certificate, key }))
}

/// Writes a pair, the key first: a certificate on disk has its key there too.
pub(super) fn write_pair(directory: &Path, name: &str, pair: Pair) -> Result<Pair, Error> {
    write(directory, &format!("{name}.key"), &pair.key)?;
    write(directory, &format!("{name}.crt"), &pair.certificate)?;
    Ok(pair)
}

/// Replaces a file as a whole, readable by its owner only; on disk when it returns.
pub(super) fn write(directory: &Path, name: &str, text: &str) -> Result<(), Error> {
    let path = directory.join(name);
    let temporary = directory.join(format!("{name}.new"));
    let written = (|| {
        let mut options = fs::OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, &path)?;
        File::open(directory)?.sync_all()
    })();
    written.map_err(file_error(&path))
}
