//! As which user of the operating system does PostgreSQL run?
//!
//! PostgreSQL refuses to run as root. As root we therefore become somebody with fewer rights, for
//! `initdb` and `postgres` alike; as anybody else we stay who we are.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use crate::Error;

/// Who the server runs as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum User {
    /// Whoever runs this program.
    Same,
    /// Somebody else, because this program is run by root.
    Other(Account),
}

/// A line of `/etc/passwd`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    name: String,
    uid: u32,
    gid: u32,
}

impl User {
    /// The user that the server runs as.
    pub fn of_server() -> Result<Self, Error> {
        if !rustix::process::geteuid().is_root() {
            return Ok(Self::Same);
        }
        let accounts = fs::read_to_string("/etc/passwd").unwrap_or_default();
        ["postgres", "nobody"]
            .into_iter()
            .find_map(|name| find(&accounts, name))
            .map(Self::Other)
            .ok_or(Error::NobodyToBecome)
    }

    /// The number of the user.
    pub fn uid(&self) -> u32 {
        match self {
            Self::Same => rustix::process::geteuid().as_raw(),
            Self::Other(account) => account.uid,
        }
    }

    /// Makes `command` run as this user.
    pub fn run(&self, command: &mut Command) {
        if let Self::Other(account) = self {
            // Given a uid, the standard library also empties root's supplementary groups.
            command.uid(account.uid).gid(account.gid);
        }
    }

    /// Hands a file or folder over to this user.
    pub fn own(&self, path: &Path) -> io::Result<()> {
        match self {
            Self::Same => Ok(()),
            Self::Other(account) => chown(path, Some(account.uid), Some(account.gid)),
        }
    }

    /// Makes a folder that belongs to this user alone.
    pub fn make_own_folder(&self, path: &Path) -> io::Result<()> {
        DirBuilder::new().mode(0o700).create(path)?;
        self.own(path)
    }

    /// Makes a folder that belongs to the caller and that this user may pass through, not list.
    pub fn make_passable_folder(&self, path: &Path) -> io::Result<()> {
        DirBuilder::new().mode(0o700).create(path)?;
        self.open_passage(path)
    }

    /// Lets this user pass through a folder of the caller.
    pub fn open_passage(&self, path: &Path) -> io::Result<()> {
        let Self::Other(account) = self else {
            return Ok(());
        };
        chown(path, None, Some(account.gid))?;
        fs::set_permissions(path, Permissions::from_mode(0o710))
    }

    /// Checks that this user may pass through `folder` and all its parents.
    pub fn check_reach(&self, folder: &Path) -> Result<(), Error> {
        let Self::Other(account) = self else {
            return Ok(());
        };
        let closed = folder.ancestors().find(|parent| !account.may_pass(parent));
        closed.map_or(Ok(()), |closed| {
            Err(Error::Unreachable {
                folder: folder.to_owned(),
                closed: closed.to_owned(),
                user: account.name.clone(),
            })
        })
    }
}

impl Account {
    fn may_pass(&self, folder: &Path) -> bool {
        fs::metadata(folder).is_ok_and(|folder| {
            let bit = match () {
                () if folder.uid() == self.uid => 0o100,
                () if folder.gid() == self.gid => 0o010,
                () => 0o001,
            };
            folder.mode() & bit != 0
        })
    }
}

/// The account called `name` in the text of `/etc/passwd`, unless it is root in disguise.
fn find(accounts: &str, name: &str) -> Option<Account> {
    let account = accounts.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|found| *found == name)?.to_owned();
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        Some(Account { name, uid, gid })
    })?;
    (account.uid != 0).then_some(account)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACCOUNTS: &str = "root:x:0:0:root:/root:/bin/bash\n\
        toor:x:0:0::/:/bin/sh\n\
        nobody:x:65534:65533:nobody:/nonexistent:/usr/sbin/nologin\n";

    #[test]
    fn an_account_is_found_by_its_whole_name() {
        let nobody = Account {
            name: "nobody".into(),
            uid: 65534,
            gid: 65533,
        };
        assert_eq!(find(ACCOUNTS, "nobody"), Some(nobody));
        assert_eq!(find(ACCOUNTS, "nob"), None);
    }

    #[test]
    fn root_by_another_name_is_not_accepted() {
        assert_eq!(find(ACCOUNTS, "toor"), None);
    }
}
