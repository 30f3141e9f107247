//! Secrets as an attacker would change them, and whether one is anywhere.

use base64::{
    Engine,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use service_kit::keys::Keyring;

/// A secret of ours up to its checksum, with the checksum that goes with it.
pub fn with_checksum(text: &str) -> String {
    const DIGITS: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut checksum = crc32fast::hash(text.as_bytes());
    let mut digits = String::new();
    for _ in 0..6 {
        digits.insert(0, char::from(DIGITS[checksum as usize % 62]));
        checksum /= 62;
    }
    format!("{text}_{digits}")
}

/// A secret as if it were one of another kind.
pub fn renamed(secret: &str, prefix: &str) -> String {
    let (body, _) = secret.rsplit_once('_').unwrap();
    with_checksum(&format!("{prefix}{}", &body[prefix.len()..]))
}

/// Whether a dump has a secret nowhere, however it may be written. Of one with several parts also
/// not the part that makes it worth something.
pub fn is_nowhere_in(dump: &str, secret: &str) -> bool {
    let dump = dump.to_lowercase();
    let last = secret.rsplit(['.', ' ']).next().unwrap();
    let middle = secret.split('_').nth(1).unwrap_or(secret);
    let long = |part: &&str| *part == secret || part.len() >= 16;
    [secret, last, middle].into_iter().filter(long).all(|part| {
        let written = [
            part.to_owned(),
            hex::encode(part),
            STANDARD_NO_PAD.encode(part),
            URL_SAFE_NO_PAD.encode(part),
        ];
        written.iter().all(|written| !dump.contains(&written.to_lowercase()))
    })
}

/// Two root keys, as a rotation meets them.
pub fn old_and_new() -> (String, String) {
    let old = Keyring::generate();
    (old, Keyring::generate().replacen("1:", "2:", 1))
}
