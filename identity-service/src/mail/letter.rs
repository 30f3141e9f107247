//! What do our letters say?
//!
//! What people call themselves and their accounts stands inside: it is made one short line, so
//! that it can neither add a header nor pass for words of ours.

use std::fmt;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use proto::common::v1::Role;
use service_kit::fields::Email;

/// The longest name that a letter repeats in full.
const MAX_NAME_CHARS: usize = 60;

/// Something to send to one person.
pub struct Letter {
    pub to: Email,
    pub subject: String,
    pub text: String,
}

/// Letters hold codes and are about people: none of it is for a log.
impl fmt::Debug for Letter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Letter(…)")
    }
}

/// Who is asked into which account, as what, and by whom.
pub struct Invitation<'a> {
    pub to: Email,
    pub account: &'a str,
    pub inviter: &'a str,
    pub role: Role,
    pub code: &'a str,
}

/// Asks somebody to join an account.
pub fn invitation(app_url: Option<&str>, invitation: Invitation<'_>) -> Letter {
    let account = name(invitation.account);
    let inviter = name(invitation.inviter);
    let role = in_words(invitation.role);
    let how = ACCEPT_INVITATION.how_to("accept", app_url, invitation.code);
    Letter {
        to: invitation.to,
        subject: format!("Invitation to {account}"),
        text: format!(
            "Hello,\n\n\
             {inviter} invites you to join the account \"{account}\" as {role}.\n\n\
             {how}\n\n\
             The invitation is valid for 7 days. If you did not expect it, ignore this letter.\n"
        ),
    }
}

/// Lets somebody who forgot their password choose another.
pub fn password_reset(app_url: Option<&str>, to: Email, code: &str) -> Letter {
    reset(
        app_url,
        to,
        code,
        "Somebody, most likely you, asked for a new password for this address.",
    )
}

/// The same, because an admin of the account wants it.
pub fn password_reset_by_admin(
    app_url: Option<&str>,
    to: Email,
    admin: &str,
    code: &str,
) -> Letter {
    let admin = name(admin);
    reset(app_url, to, code, &format!("{admin} asks you to choose a new password."))
}

/// Asks whether somebody reads what is sent to the address that they gave.
pub fn email_verification(app_url: Option<&str>, to: Email, code: &str) -> Letter {
    let how = VERIFY_EMAIL.how_to("confirm that it is yours", app_url, code);
    Letter {
        to,
        subject: "Confirm your e-mail address".to_owned(),
        text: format!(
            "Hello,\n\n\
             This address was given to us as yours.\n\n\
             {how}\n\n\
             The code is valid for 1 hour. If you did not give us the address, ignore this \
             letter.\n"
        ),
    }
}

/// Asks at the new address whether it is to be used from now on.
pub fn address_change(app_url: Option<&str>, new: Email, code: &str) -> Letter {
    let how = VERIFY_EMAIL.how_to("use this address from now on", app_url, code);
    Letter {
        to: new,
        subject: "Confirm your new e-mail address".to_owned(),
        text: format!(
            "Hello,\n\n\
             You asked us to write to this address from now on, and to know you by it when you \
             log in.\n\n\
             {how}\n\n\
             The code is valid for 1 hour. If you did not ask for this, ignore this letter: \
             nothing changes then.\n"
        ),
    }
}

/// Warns at the old address, which may be the only one that its owner can read.
pub fn address_change_notice(old: Email, new: &Email) -> Letter {
    let new = masked(new);
    Letter {
        to: old,
        subject: "Your e-mail address is being changed".to_owned(),
        text: format!(
            "Hello,\n\n\
             The e-mail address that you log in with is being changed from this one to {new}.\n\n\
             If that was you, there is nothing to do here. If it was not, somebody knows your \
             password: change it now, and tell an admin of your account.\n"
        ),
    }
}

/// Tells somebody that their password is not what it was.
pub fn password_changed(to: Email) -> Letter {
    Letter {
        to,
        subject: "Your password was changed".to_owned(),
        text: "Hello,\n\n\
               Your password was changed just now.\n\n\
               If that was you, there is nothing to do. If it was not, ask for a new password \
               now, and tell an admin of your account.\n"
            .to_owned(),
    }
}

fn reset(app_url: Option<&str>, to: Email, code: &str, why: &str) -> Letter {
    let how = RESET_PASSWORD.how_to("choose one", app_url, code);
    Letter {
        to,
        subject: "Choose a new password".to_owned(),
        text: format!(
            "Hello,\n\n\
             {why}\n\n\
             {how}\n\n\
             The code is valid for 1 hour. If you did not ask for this, ignore this letter: your \
             password stays as it is.\n"
        ),
    }
}

/// Where a code is handed in: on a page of the app, or with an RPC by whoever has none.
struct Door {
    page: &'static str,
    rpc: &'static str,
}

const ACCEPT_INVITATION: Door =
    Door { page: "accept-invite", rpc: "identity.v1.AuthService/AcceptInvite" };
const RESET_PASSWORD: Door =
    Door { page: "reset-password", rpc: "identity.v1.AuthService/ResetPassword" };
const VERIFY_EMAIL: Door =
    Door { page: "verify-email", rpc: "identity.v1.AuthService/VerifyEmail" };

impl Door {
    fn how_to(&self, goal: &str, app_url: Option<&str>, code: &str) -> String {
        let Self { page, rpc } = self;
        match app_url {
            Some(app_url) => {
                let encoded = utf8_percent_encode(code, NON_ALPHANUMERIC);
                format!(
                    "To {goal}, open this page:\n\n{app_url}/{page}?code={encoded}\n\n\
                     If it asks for a code, this is it:\n\n{code}"
                )
            }
            None => format!("To {goal}, give this code to {rpc}:\n\n{code}"),
        }
    }
}

fn in_words(role: Role) -> &'static str {
    match role {
        Role::SuperAdmin => "a super admin",
        Role::Admin => "an admin",
        Role::Employee | Role::Unspecified => "an employee",
    }
}

/// One line of bounded length, whatever somebody chose for a name.
fn name(text: &str) -> String {
    let printable = text.chars().map(|c| if is_unfit(c) { ' ' } else { c }).collect::<String>();
    let line = printable.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= MAX_NAME_CHARS {
        return line;
    }
    let kept: String = line.chars().take(MAX_NAME_CHARS - 1).collect();
    format!("{kept}…")
}

/// Ends a line, or turns the direction of what follows it, in our words too.
fn is_unfit(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Enough of an address for its owner to know it by, too little for anybody else to use.
fn masked(email: &Email) -> String {
    let local = email.local_part();
    let domain = email.as_str().rsplit_once('@').map_or("", |(_, domain)| domain);
    let mut letters = local.chars();
    // The only letter would be all of it.
    let shown = letters.next().filter(|_| letters.next().is_some());
    let shown = shown.map(String::from).unwrap_or_default();
    format!("{shown}***@{domain}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const APP: Option<&str> = Some("https://app.example.com");

    fn email(text: &str) -> Email {
        Email::required(text).expect("an address")
    }

    fn ana() -> Email {
        email("ana@example.com")
    }

    fn invited(app_url: Option<&str>, account: &str, inviter: &str) -> Letter {
        let role = Role::Admin;
        invitation(app_url, Invitation { to: ana(), account, inviter, role, code: "C0/DE" })
    }

    fn every_letter(app_url: Option<&str>) -> Vec<Letter> {
        vec![
            invited(app_url, "Acme", "Bo"),
            password_reset(app_url, ana(), "C0/DE"),
            password_reset_by_admin(app_url, ana(), "Bo", "C0/DE"),
            email_verification(app_url, ana(), "C0/DE"),
            address_change(app_url, ana(), "C0/DE"),
            address_change_notice(ana(), &email("new@example.org")),
            password_changed(ana()),
        ]
    }

    #[test]
    fn an_invitation_says_who_asks_into_what_and_how_to_accept() {
        let letter = invited(APP, "Acme", "Bo Holm");
        assert_eq!(letter.to, ana());
        assert_eq!(letter.subject, "Invitation to Acme");
        assert_eq!(
            letter.text,
            "Hello,\n\n\
             Bo Holm invites you to join the account \"Acme\" as an admin.\n\n\
             To accept, open this page:\n\n\
             https://app.example.com/accept-invite?code=C0%2FDE\n\n\
             If it asks for a code, this is it:\n\n\
             C0/DE\n\n\
             The invitation is valid for 7 days. If you did not expect it, ignore this letter.\n"
        );
    }

    #[test]
    fn without_an_app_a_letter_names_the_rpc_that_takes_the_code() {
        for (letter, rpc) in [
            (invited(None, "Acme", "Bo"), "AcceptInvite"),
            (password_reset(None, ana(), "CODE"), "ResetPassword"),
            (password_reset_by_admin(None, ana(), "Bo", "CODE"), "ResetPassword"),
            (email_verification(None, ana(), "CODE"), "VerifyEmail"),
            (address_change(None, ana(), "CODE"), "VerifyEmail"),
        ] {
            let text = letter.text;
            assert!(text.contains(&format!("to identity.v1.AuthService/{rpc}:\n\nC")), "{text}");
            assert!(!text.contains("http"), "{text}");
        }
    }

    #[test]
    fn links_lead_to_the_page_for_their_code() {
        for (letter, page) in [
            (password_reset(APP, ana(), "CODE"), "reset-password"),
            (email_verification(APP, ana(), "CODE"), "verify-email"),
            (address_change(APP, ana(), "CODE"), "verify-email"),
        ] {
            let link = format!("\nhttps://app.example.com/{page}?code=CODE\n");
            assert!(letter.text.contains(&link), "{}", letter.text);
        }
    }

    #[test]
    fn a_letter_about_a_reset_says_who_wants_it_and_how_long_the_code_works() {
        let own = password_reset(APP, ana(), "CODE").text;
        let admins = password_reset_by_admin(APP, ana(), "Bo Holm", "CODE").text;
        assert!(own.contains("Somebody, most likely you, asked"), "{own}");
        assert!(admins.contains("Bo Holm asks you to choose a new password."), "{admins}");
        for text in [own, admins] {
            assert!(text.contains("valid for 1 hour") && text.contains("ignore this"), "{text}");
        }
    }

    #[test]
    fn names_stay_on_their_line() {
        let letter = invited(
            None,
            "Acme\r\nBcc: eve@example.com",
            "Bo\n\nYour account is closed.\u{2028}\u{202e}x\0y",
        );
        assert_eq!(letter.subject, "Invitation to Acme Bcc: eve@example.com");
        let line = "Bo Your account is closed. x y invites you to join";
        assert!(letter.text.contains(line), "{}", letter.text);
        let harmless = invited(None, "Acme", "Bo").text.lines().count();
        assert_eq!(letter.text.lines().count(), harmless);
    }

    #[test]
    fn long_names_are_cut() {
        let letter = invited(None, &"ä".repeat(61), &"b".repeat(60));
        assert_eq!(letter.subject, format!("Invitation to {}…", "ä".repeat(59)));
        assert!(letter.text.contains(&format!("\n{} invites", "b".repeat(60))));
    }

    #[test]
    fn the_old_address_learns_little_of_the_new_one() {
        let notice = address_change_notice(ana(), &email("new.name@example.org"));
        assert!(notice.text.contains("to n***@example.org."), "{}", notice.text);
        assert!(!notice.text.contains("new.name"));
        assert_eq!(masked(&email("n@example.org")), "***@example.org");
    }

    #[test]
    fn subjects_are_lines_and_letters_end_with_one() {
        for letter in every_letter(APP).into_iter().chain(every_letter(None)) {
            assert!(!letter.subject.contains(char::is_control), "{}", letter.subject);
            assert!(letter.text.ends_with(".\n") && !letter.text.contains("  "), "{}", letter.text);
            assert_eq!(format!("{letter:?}"), "Letter(…)");
        }
    }
}
