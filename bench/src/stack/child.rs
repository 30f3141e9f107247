//! A process of the stack.

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Child as Process, Command, Stdio},
};

use clap::ValueEnum;

use crate::{Outcome, options::Role, roles::LISTENING};

/// A process of ours, which ends with this.
pub struct Child(Process);

impl Child {
    /// Starts this program in a role, with these settings and no others, and waits until it
    /// listens. Its log is formatted as always and written to nowhere.
    pub fn start(role: Role, settings: &[(String, String)]) -> Outcome<(Self, SocketAddr)> {
        let name = role.to_possible_value().ok_or("every role has a name")?;
        let mut process = Command::new(std::env::current_exe()?)
            .args(["role", name.get_name()])
            .env_clear()
            .envs(settings.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let output = process.stdout.take().ok_or("its output is piped")?;
        let child = Self(process);
        for line in BufReader::new(output).lines() {
            if let Some(address) = line?.strip_prefix(LISTENING) {
                return Ok((child, address.parse()?));
            }
        }
        Err(format!("The role {} did not start.", name.get_name()).into())
    }

    pub fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}
