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
use crate::folder::DataFolder;

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
    /// Who runs the server of a new data folder.
    pub fn of_new_folder() -> Result<Self, Error> {
        if !rustix::process::geteuid().is_root() {
            return Ok(Self::Same);
        }
        let accounts = accounts();
        let usual = ["postgres", "nobody"];
        usual
            .into_iter()
            .find_map(|name| Account::of_name(name, &accounts))
            .map(Self::Other)
            .ok_or(Error::NobodyToBecome)
    }

    /// Who runs the server of a data folder that may have been used before: the owner of its
    /// cluster, because PostgreSQL insists on that. It need not be who would get a new one, for
    /// an installation of PostgreSQL brings a user of its own.
    pub fn of_folder(data_folder: &Path) -> Result<Self, Error> {
        let is_root = rustix::process::geteuid().is_root();
        let owner = || Account::of_owner(&DataFolder::cluster_in(data_folder), &accounts());
        match is_root.then(owner).flatten() {
            Some(owner) => Ok(Self::Other(owner)),
            None => Self::of_new_folder(),
        }
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
    /// The owner of a file or folder, whether or not the accounts know a name; not root.
    fn of_owner(path: &Path, accounts: &str) -> Option<Self> {
        let owner = fs::metadata(path).ok().filter(|owner| owner.uid() != 0)?;
        let name = parse(accounts).find(|account| account.uid == owner.uid());
        Some(Self {
            name: name.map_or_else(|| owner.uid().to_string(), |account| account.name),
            uid: owner.uid(),
            gid: owner.gid(),
        })
    }

    /// The account of this name, unless it is root in disguise.
    fn of_name(name: &str, accounts: &str) -> Option<Self> {
        parse(accounts).find(|account| account.name == name && account.uid != 0)
    }

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

fn accounts() -> String {
    fs::read_to_string("/etc/passwd").unwrap_or_default()
}

/// The lines of `/etc/passwd` that can be understood.
fn parse(accounts: &str) -> impl Iterator<Item = Account> {
    accounts.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?.to_owned();
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        Some(Account { name, uid, gid })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACCOUNTS: &str = "root:x:0:0:root:/root:/bin/bash\n\
        toor:x:0:0::/:/bin/sh\n\
        nobody:x:65534:65533:nobody:/nonexistent:/usr/sbin/nologin\n";

    #[test]
    fn an_account_is_found_by_its_whole_name() {
        let nobody = Account { name: "nobody".into(), uid: 65534, gid: 65533 };
        assert_eq!(Account::of_name("nobody", ACCOUNTS), Some(nobody));
        assert_eq!(Account::of_name("nob", ACCOUNTS), None);
    }

    #[test]
    fn root_by_another_name_is_not_accepted() {
        assert_eq!(Account::of_name("toor", ACCOUNTS), None);
    }
}
