//! Trust and identity for TLS in files, read anew for every connection: certificates are renewed
//! while the process runs.
//!
//! Of a private key nothing but the name of its file is ever shown.

use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::settings::TlsSettings;

/// More than any certificates take, in bytes: somebody named the wrong file.
const MOST: u64 = 4 << 20;

/// The PEM files of [`TlsSettings`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificates that sign the servers'; the system's roots when there is none.
    pub ca: Option<PathBuf>,
    /// Our certificate and private key, where the servers ask for one.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// The name to expect in the servers' certificates, in place of the endpoint's host.
    pub server_name: Option<String>,
}

impl TlsFiles {
    /// Reads the files as they are now. Blocks for as long as the disk does.
    ///
    /// # Errors
    /// [`Error::Settings`], naming the file and the cause.
    pub fn read(&self) -> Result<TlsSettings, Error> {
        let identity = match &self.identity {
            Some((certificate, key)) => Some((read(certificate)?, read(key)?)),
            None => None,
        };
        Ok(TlsSettings {
            ca: self.ca.as_deref().map(read).transpose()?,
            identity,
            server_name: self.server_name.clone(),
        })
    }
}

fn read(file: &Path) -> Result<Vec<u8>, Error> {
    let wrong = |cause: String| Error::Settings(format!("TLS: {}: {cause}", file.display()));
    let length = std::fs::metadata(file)
        .map_err(|error| wrong(error.to_string()))?
        .len();
    if length > MOST {
        return Err(wrong(format!(
            "{length} bytes are too many for certificates"
        )));
    }
    std::fs::read(file).map_err(|error| wrong(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_cannot_be_read_is_named() {
        let files = TlsFiles {
            ca: Some("/no/such/authority.pem".into()),
            ..TlsFiles::default()
        };
        let error = files.read().unwrap_err().to_string();
        assert!(error.contains("/no/such/authority.pem"), "{error}");
        assert!(
            files
                .read()
                .unwrap_err()
                .to_string()
                .contains("No such file")
        );
    }
}
