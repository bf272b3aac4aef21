//! The device this proxy is to the gateway: a key of its own, with which every connection it opens
//! is signed (contract §7 (b)).

use crate::atomic_file;
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// The platform this device has: the gateway pins it at pairing.
pub const PLATFORM: &str = std::env::consts::OS;

/// The key's file within the state directory.
pub const FILE: &str = "device.key";

/// A device key.
pub struct Device {
    key: Ed25519KeyPair,
    id: String,
    public: String,
}

/// Why there is no device key.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// The file cannot be read or written.
    #[error("{path}: {cause}")]
    File {
        /// The file.
        path: String,
        /// The system's reason.
        cause: std::io::Error,
    },
    /// The file is readable by others than its owner.
    #[error("{path} can be read by others than its owner: `chmod 0600` it")]
    Mode {
        /// The file.
        path: String,
    },
    /// The file holds something else.
    #[error("{path} holds no device key: move it away, and a new one is made")]
    Content {
        /// The file.
        path: String,
    },
    /// No key can be made.
    #[error("no device key can be made")]
    Generate,
}

/// What a signature speaks for: the fields of the frame it stands in.
#[derive(Debug, Clone, Copy)]
pub struct SignedFields<'a> {
    /// The client's name.
    pub client_id: &'a str,
    /// The client's mode.
    pub client_mode: &'a str,
    /// The role.
    pub role: &'a str,
    /// The scopes, joined by commas.
    pub scopes: &'a str,
    /// The moment, in milliseconds since 1970.
    pub signed_at: i64,
    /// The token in the same frame; empty where there is none.
    pub token: &'a str,
    /// The gateway's challenge.
    pub nonce: &'a str,
}

impl std::fmt::Debug for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Device").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Device {
    /// The key in the state directory, made when there is none: readable by its owner alone.
    ///
    /// # Errors
    /// [`DeviceError`] when it can be neither read nor made.
    pub fn open(state_dir: &Path) -> Result<Self, DeviceError> {
        let path = state_dir.join(FILE);
        let name = path.display().to_string();
        let failed = |cause| DeviceError::File { path: name.clone(), cause };
        match std::fs::File::open(&path) {
            Ok(file) => Self::read(file, name),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let (device, document) = Self::generate()?;
                match atomic_file::create(&path, format!("{}\n", STANDARD.encode(document)).as_bytes(), 0o600) {
                    Ok(()) => Ok(device),
                    // Another process on this directory was faster: both are one device.
                    Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                        Self::read(std::fs::File::open(&path).map_err(failed)?, name)
                    }
                    Err(error) => Err(failed(error)),
                }
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// The mode checked is that of the file that is read.
    fn read(mut file: std::fs::File, name: String) -> Result<Self, DeviceError> {
        let failed = |cause| DeviceError::File { path: name.clone(), cause };
        if file.metadata().map_err(failed)?.permissions().mode() & 0o077 != 0 {
            return Err(DeviceError::Mode { path: name });
        }
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(failed)?;
        let document = STANDARD.decode(text.trim()).ok();
        document.and_then(|d| Self::from_pkcs8(&d)).ok_or(DeviceError::Content { path: name })
    }

    fn generate() -> Result<(Self, Vec<u8>), DeviceError> {
        let key = Ed25519KeyPair::generate().map_err(|_| DeviceError::Generate)?;
        let document = key.to_pkcs8().map_err(|_| DeviceError::Generate)?;
        Ok((Self::new(key), document.as_ref().to_vec()))
    }

    fn from_pkcs8(document: &[u8]) -> Option<Self> {
        Ed25519KeyPair::from_pkcs8(document).ok().map(Self::new)
    }

    fn new(key: Ed25519KeyPair) -> Self {
        let public = key.public_key().as_ref();
        let id = hex::encode(digest(&SHA256, public));
        let public = URL_SAFE_NO_PAD.encode(public);
        Self { key, id, public }
    }

    /// The device's number at the gateway: the SHA-256 of its public key.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The public key, base64url.
    #[must_use]
    pub fn public_key(&self) -> &str {
        &self.public
    }

    /// Signs a statement, form 3 (contract §7 (b)); base64url.
    #[must_use]
    pub fn sign(&self, said: &SignedFields<'_>) -> String {
        let payload = format!(
            "v3|{}|{}|{}|{}|{}|{}|{}|{}|{PLATFORM}|",
            self.id, said.client_id, said.client_mode, said.role, said.scopes, said.signed_at, said.token, said.nonce
        );
        URL_SAFE_NO_PAD.encode(self.key.sign(payload.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};

    #[test]
    fn the_key_stays_and_is_its_owner_s_alone() {
        let dir = tempfile::tempdir().unwrap();
        let first = Device::open(dir.path()).unwrap();
        let path = dir.path().join(FILE);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(Device::open(dir.path()).unwrap().id(), first.id());
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(Device::open(dir.path()), Err(DeviceError::Mode { .. })));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::write(&path, "something else").unwrap();
        assert!(matches!(Device::open(dir.path()), Err(DeviceError::Content { .. })));
        assert!(!format!("{first:?}").contains(&first.public));
    }

    #[test]
    fn processes_that_make_the_key_at_once_are_one_device() {
        let dir = tempfile::tempdir().unwrap();
        let ids: std::collections::HashSet<String> = std::thread::scope(|scope| {
            let all: Vec<_> =
                (0..8).map(|_| scope.spawn(|| Device::open(dir.path()).unwrap().id().to_owned())).collect();
            all.into_iter().map(|t| t.join().unwrap()).collect()
        });
        assert_eq!(ids.len(), 1, "{ids:?}");
    }

    #[test]
    fn the_signature_is_over_the_contract_s_payload() {
        let (device, _) = Device::generate().unwrap();
        let signature = device.sign(&SignedFields {
            client_id: "cli",
            client_mode: "cli",
            role: "operator",
            scopes: "operator.read,operator.write",
            signed_at: 7,
            token: "t",
            nonce: "n",
        });
        let payload = format!("v3|{}|cli|cli|operator|operator.read,operator.write|7|t|n|{PLATFORM}|", device.id());
        let public = UnparsedPublicKey::new(&ED25519, URL_SAFE_NO_PAD.decode(device.public_key()).unwrap());
        public.verify(payload.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).unwrap()).unwrap();
    }
}
