//! The certificates of a demo over TLS: an authority of its own, and an identity for each service and for
//! whoever looks on. They are made at the start, lie in a folder that is the user's alone, and go with
//! the demo. Deliberately absent: anything that outlives it.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

use crate::report::Failure;
use crate::settings::file::TlsFiles;

/// Whoever looks on: the console, and a person in another terminal.
const ONLOOKER: &str = "console";

/// See the module. The folder goes with it.
pub(super) struct Certificates {
    folder: tempfile::TempDir,
}

impl Certificates {
    /// Makes all of them.
    ///
    /// # Errors
    /// When they cannot be written.
    pub(super) fn make(services: &[&str]) -> Result<Certificates, Failure> {
        let made = || -> Result<Certificates, Box<dyn std::error::Error>> {
            let folder = tempfile::Builder::new().prefix("msctl-demo-").tempdir()?;
            let made = Certificates { folder };
            let mut params = CertificateParams::new(Vec::new())?;
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params
                .distinguished_name
                .push(DnType::CommonName, "msctl demo");
            let key = KeyPair::generate()?;
            fs::write(made.authority(), params.self_signed(&key)?.pem())?;
            let authority = Issuer::new(params, key);
            for name in services.iter().chain([&ONLOOKER]) {
                let names = vec!["localhost".into(), "127.0.0.1".into(), (*name).into()];
                let mut params = CertificateParams::new(names)?;
                params.distinguished_name.push(DnType::CommonName, *name);
                let key = KeyPair::generate()?;
                let certificate = params.signed_by(&key, &authority)?;
                fs::write(made.certificate(name), certificate.pem())?;
                private(&made.key(name), &key.serialize_pem())?;
            }
            Ok(made)
        };
        made().map_err(|error| {
            Failure::failed(format!("the demo's certificates cannot be made: {error}"))
                .next("See whether $TMPDIR can be written to.")
        })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(super) fn authority(&self) -> PathBuf {
        self.path("ca.pem")
    }

    pub(super) fn certificate(&self, of: &str) -> PathBuf {
        self.path(&format!("{of}.pem"))
    }

    pub(super) fn key(&self, of: &str) -> PathBuf {
        self.path(&format!("{of}.key"))
    }

    /// What the console shows and trusts.
    pub(super) fn onlooker(&self) -> TlsFiles {
        TlsFiles {
            cacert: Some(self.authority()),
            cert: Some(self.certificate(ONLOOKER)),
            key: Some(self.key(ONLOOKER)),
            server_name: None,
        }
    }
}

fn private(file: &Path, text: &str) -> std::io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    std::io::Write::write_all(&mut options.open(file)?, text.as_bytes())
}
