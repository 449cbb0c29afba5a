//! A dial whose certificates are read from their files for each connection.
//!
//! Files that cannot be used, as they are being written or are at fault, cost no connection: the
//! last good ones stay in use, and it is said once.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tonic::transport::Endpoint;

use super::dial::with_tls;
use crate::error::Error;
use crate::tls::TlsFiles;

pub(crate) struct Secure {
    base: Endpoint,
    files: TlsFiles,
    handshake: Duration,
    last: Mutex<Last>,
}

#[derive(Default)]
struct Last {
    good: Option<Endpoint>,
    complaint: Option<String>,
}

impl Secure {
    pub(crate) fn new(base: Endpoint, files: TlsFiles, handshake: Duration) -> Self {
        Self {
            base,
            files,
            handshake,
            last: Mutex::default(),
        }
    }

    /// Reads the files; blocks for as long as the disk does.
    ///
    /// # Errors
    /// When they cannot be used, whatever was good before.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let good = self.build(self.files.read())?;
        self.keep(good);
        Ok(())
    }

    /// What to connect with now.
    pub(crate) async fn endpoint(&self) -> Result<Endpoint, String> {
        let files = self.files.clone();
        let read = tokio::task::spawn_blocking(move || files.read()).await;
        let read = read.unwrap_or_else(|error| Err(Error::Settings(error.to_string())));
        match self.build(read) {
            Ok(good) => {
                self.keep(good.clone());
                Ok(good)
            }
            Err(error) => self.last_good(error.to_string()),
        }
    }

    fn build(&self, read: Result<crate::TlsSettings, Error>) -> Result<Endpoint, Error> {
        with_tls(self.base.clone(), read?, self.handshake)
            .map_err(|cause| Error::Settings(format!("TLS: {cause}")))
    }

    fn keep(&self, good: Endpoint) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        *last = Last {
            good: Some(good),
            complaint: None,
        };
    }

    fn last_good(&self, complaint: String) -> Result<Endpoint, String> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(good) = last.good.clone() else {
            return Err(complaint);
        };
        if last.complaint.as_ref() != Some(&complaint) {
            tracing::warn!(%complaint, "the changed certificates cannot be used; the last good ones stay in use");
            last.complaint = Some(complaint);
        }
        Ok(good)
    }
}
