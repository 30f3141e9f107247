//! A terminal whose screen can be read.

use std::{
    ffi::OsStr,
    fs::{File, OpenOptions},
    os::unix::ffi::OsStrExt,
    process::Stdio,
};

use rustix::{
    io::{FdFlags, fcntl_setfd},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Winsize, tcsetwinsize},
};

/// What is drawn on it, and what draws.
pub struct Terminal {
    pub screen: File,
    pub line: Stdio,
}

impl Terminal {
    pub fn open() -> Self {
        let screen = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        // No other child has it.
        fcntl_setfd(&screen, FdFlags::CLOEXEC).unwrap();
        grantpt(&screen).unwrap();
        unlockpt(&screen).unwrap();
        let size = Winsize { ws_row: 24, ws_col: 120, ws_xpixel: 0, ws_ypixel: 0 };
        let name = ptsname(&screen, Vec::new()).unwrap();
        let line =
            OpenOptions::new().read(true).write(true).open(OsStr::from_bytes(name.as_bytes()));
        let line = line.unwrap();
        tcsetwinsize(&line, size).unwrap();
        Self { screen: screen.into(), line: line.into() }
    }
}
