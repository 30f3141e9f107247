//! The letters that a service has sent.

use std::time::Duration;

use super::Identity;

impl Identity {
    /// The newest letter to somebody whose subject begins like this, once it is there.
    pub async fn letter(&self, to: &str, subject: &str) -> String {
        for _ in 0..200 {
            if let Some(letter) = self.letters_to(to, subject).pop() {
                return letter;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("no letter to {to} about {subject:?}")
    }

    /// The letters to somebody whose subjects begin like this, in the order of their sending.
    pub fn letters_to(&self, to: &str, subject: &str) -> Vec<String> {
        let files = std::fs::read_dir(self.letters.path()).unwrap();
        let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
        files.retain(|file| file.extension().is_some_and(|extension| extension == "eml"));
        files.sort();
        let letters = files.iter().map(|file| std::fs::read_to_string(file).unwrap());
        let is_wanted = |letter: &String| {
            letter.lines().any(|line| line.starts_with("To: ") && line.contains(to))
                && letter.lines().any(|line| line.starts_with(&format!("Subject: {subject}")))
        };
        letters.filter(is_wanted).collect()
    }

    /// Waits until every letter is sent: then nothing is written by itself any more.
    pub async fn no_letters_left(&self) {
        for _ in 0..200 {
            let left: i64 = sqlx::query_scalar(
                "SELECT (SELECT count(*) FROM identity.letters)
                      + (SELECT count(*) FROM identity.address_requests)",
            )
            .fetch_one(&self.database.owner)
            .await
            .unwrap();
            if left == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("letters are not sent")
    }
}

/// The code in a letter.
pub fn code_in(letter: &str) -> &str {
    let prefixes = ["clp_", "clv_", "cli_"];
    let start = prefixes.iter().find_map(|prefix| letter.find(prefix)).expect(letter);
    &letter[start..start + 54]
}
