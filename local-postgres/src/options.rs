//! With which settings does the server run?

use std::ffi::OsString;
use std::path::Path;

use crate::{Durability, Settings};

/// The number in the socket's name; no TCP port is opened.
pub(crate) const PORT: u16 = 5432;

/// What is passed on the command line, where it wins over the files of the cluster.
pub(crate) fn options(
    settings: &Settings,
    cluster_name: &str,
    socket_folder: &Path,
) -> Vec<OsString> {
    let max_connections = settings.max_connections.to_string();
    let port = PORT.to_string();
    let mut options = vec![
        ("cluster_name", cluster_name),
        ("listen_addresses", ""),
        ("port", &port),
        ("max_connections", &max_connections),
        ("timezone", "UTC"),
        ("log_timezone", "UTC"),
        ("log_destination", "stderr"),
        ("logging_collector", "off"),
    ];
    options.extend(match settings.durability {
        Durability::Kept => [
            ("shared_buffers", "128MB"),
            ("fsync", "on"),
            ("synchronous_commit", "on"),
            ("full_page_writes", "on"),
        ],
        Durability::Throwaway => [
            ("shared_buffers", "64MB"),
            ("fsync", "off"),
            ("synchronous_commit", "off"),
            ("full_page_writes", "off"),
        ],
    });
    let mut arguments: Vec<OsString> = options
        .iter()
        .flat_map(|(name, value)| ["-c".into(), format!("{name}={value}").into()])
        .collect();
    arguments.extend(["-c".into(), socket_option(socket_folder)]);
    arguments
}

/// The setting is a list, so that a comma in the path must be quoted, and a quote doubled.
fn socket_option(folder: &Path) -> OsString {
    let mut option = OsString::from("unix_socket_directories=\"");
    let path = folder.as_os_str().to_string_lossy();
    option.push(path.replace('"', "\"\""));
    option.push("\"");
    option
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_folder_may_have_any_name() {
        let option = socket_option(Path::new("/tmp/a, \"b\""));
        assert_eq!(option, "unix_socket_directories=\"/tmp/a, \"\"b\"\"\"");
    }
}
