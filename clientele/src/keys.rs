//! Where do keys and secrets come from when nobody sets them?
//!
//! They are made once and kept in the data folder, readable for nobody else.

use std::{
    fs::{self, OpenOptions},
    io::{ErrorKind, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
};

use service_kit::{
    config::{Secret, StartError},
    keys::{Keyring, random},
};

use crate::{config::Settings, welcome::reachable};

/// Fills in what the settings leave open, so that the two services know each other.
pub fn complete(settings: &mut Settings, identity: SocketAddr) -> Result<(), StartError> {
    let folder = private_folder(&settings.folder)?;
    if settings.identity.keys.is_none() {
        settings.identity.keys = Some(kept(&folder.join("identity-keys"), Keyring::generate)?);
    }
    if settings.crm.keys.is_none() {
        settings.crm.keys = Some(kept(&folder.join("crm-keys"), Keyring::generate)?);
    }
    if settings.identity.service_secrets.is_none() {
        let secret = kept(&folder.join("service-secret"), fresh_secret)?;
        settings.identity.service_secrets = Some(secret.clone());
        settings.crm.identity.service_secret = Some(secret);
    }
    if settings.identity.mail.server.is_none() && settings.identity.mail.folder.is_none() {
        settings.identity.mail.folder = Some(settings.folder.join("mail"));
    }
    if !settings.crm.identity.is_named {
        settings.crm.identity.url = format!("http://{}", reachable(identity));
    }
    Ok(())
}

/// The password of a service in the private PostgreSQL.
pub fn database_password(data: &Path, schema: &str) -> Result<Secret, StartError> {
    kept(&private_folder(data)?.join(format!("{schema}-database-password")), fresh_secret)
}

/// With which everybody of the demo logs in. It is not the same everywhere: whoever can reach the
/// services must not know it.
pub fn demo_password(data: &Path) -> Result<Secret, StartError> {
    kept(&private_folder(data)?.join("demo-password"), || {
        format!("demo-{}", hex::encode(random::<6>()))
    })
}

fn fresh_secret() -> String {
    hex::encode(random::<32>())
}

fn private_folder(data: &Path) -> Result<PathBuf, StartError> {
    let folder = data.join("keys");
    fs::create_dir_all(&folder).map_err(|error| unwritable(data, &error))?;
    restrict(&folder, 0o700).map_err(|error| unwritable(data, &error))?;
    Ok(folder)
}

/// What a file holds; made first where there is none.
fn kept(file: &Path, make: impl FnOnce() -> String) -> Result<Secret, StartError> {
    if !file.exists() {
        write_new(file, &make()).map_err(|error| unwritable(file, &error))?;
    }
    let text = fs::read_to_string(file).map_err(|error| unwritable(file, &error))?;
    if text.trim().is_empty() {
        return Err(StartError::new(format!(
            "{} is empty: restore it, for without it nothing that it sealed can be opened.",
            file.display()
        )));
    }
    Ok(Secret::new(text.trim()))
}

/// All or nothing: a half-written key would be taken for a whole one at the next start. And
/// never in place of another: of two first starts at once, the second takes the first one's.
fn write_new(file: &Path, text: &str) -> std::io::Result<()> {
    let fresh = file.with_extension(std::process::id().to_string());
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut written = options.open(&fresh)?;
    written.write_all(text.as_bytes())?;
    written.sync_all()?;
    let published = fs::hard_link(&fresh, file);
    fs::remove_file(fresh)?;
    match published {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

#[cfg(unix)]
fn restrict(path: &Path, mode: u32) -> std::io::Result<()> {
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode))
}

#[cfg(not(unix))]
fn restrict(_: &Path, _: u32) -> std::io::Result<()> {
    Ok(())
}

fn unwritable(path: &Path, error: &std::io::Error) -> StartError {
    StartError::new(format!(
        "{} cannot be written ({error}): set CLIENTELE_DATA_DIR to a folder that can.",
        path.display()
    ))
}
