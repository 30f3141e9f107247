//! How does a password come in from a shell, and not into its history?

use std::io::{self, BufRead, IsTerminal};

use service_kit::config::StartError;
use zeroize::Zeroizing;

/// More than any password that is taken: what is longer is refused, not cut.
const MOST_BYTES: u64 = 4096;

/// Asked for twice, unseen, at a terminal; otherwise the first line of standard input.
pub fn read() -> Result<Zeroizing<String>, StartError> {
    if io::stdin().is_terminal() { ask_twice() } else { first_line(io::stdin().lock()) }
}

fn ask_twice() -> Result<Zeroizing<String>, StartError> {
    let ask = |prompt| {
        rpassword::prompt_password(prompt).map(Zeroizing::new).map_err(|error| unreadable(&error))
    };
    let (once, again) = (ask("Password: ")?, ask("The same again: ")?);
    if once != again {
        return Err(StartError::new("The two passwords are not the same: begin again."));
    }
    Ok(once)
}

fn first_line(input: impl BufRead) -> Result<Zeroizing<String>, StartError> {
    let mut line = Zeroizing::new(String::new());
    input.take(MOST_BYTES).read_line(&mut line).map_err(|error| unreadable(&error))?;
    let end = line.trim_end_matches('\n');
    let end = end.strip_suffix('\r').unwrap_or(end).len();
    line.truncate(end);
    Ok(line)
}

fn unreadable(error: &io::Error) -> StartError {
    StartError::new(format!(
        "The password cannot be read ({error}): type it, or write it into standard input as a line."
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_is_the_password_as_it_is() {
        for (input, password) in [
            ("correct horse\n", "correct horse"),
            (" two spaces \r\nmore\n", " two spaces "),
            ("no end", "no end"),
            ("", ""),
        ] {
            assert_eq!(first_line(input.as_bytes()).unwrap().as_str(), password);
        }
        assert!(first_line(&b"\xff\n"[..]).is_err());
    }
}
