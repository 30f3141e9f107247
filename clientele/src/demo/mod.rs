//! `--demo`: two companies to look around in.
//!
//! What there is follows from names alone (`people`, `sales`, drawn by `chance`) and is made
//! through the calls that anybody can make (`server`, `filling`). A start after one that was
//! interrupted makes what is missing (`found`); one after one that was complete makes nothing.

mod chance;
mod filling;
mod found;
mod people;
mod progress;
mod sales;
mod server;

use std::{fmt::Write, net::SocketAddr};

use proto::identity::v1 as id;
use service_kit::config::Secret;
use tonic::Code;

use self::{
    chance::request_id,
    filling::Filling,
    found::Found,
    people::{COMPANIES, Company, LAST_PACKAGE},
    progress::Progress,
    server::{Server, patiently},
};
use crate::{config::Settings, transfer::fault::Fault};

/// Makes sure that the two companies are there, and says how to log in, or what went wrong: the
/// services serve in any case.
pub async fn fill(settings: &Settings, password: &Secret, identity: SocketAddr, crm: SocketAddr) {
    match filled(settings, password, identity, crm).await {
        Ok(()) => println!("{}", logins(password)),
        Err(fault) => eprintln!(
            "The demo data are not complete. {fault}\nAnother start with --demo makes what is missing."
        ),
    }
}

async fn filled(
    settings: &Settings,
    password: &Secret,
    identity: SocketAddr,
    crm: SocketAddr,
) -> Result<(), Fault> {
    let server = Server::new(settings, identity, crm)?;
    let progress = Progress::of(COMPANIES.iter().map(|company| company.clients).sum());
    let [northwind, harbor] = COMPANIES.each_ref().map(|company| {
        let (server, progress) = (&server, &progress);
        async move { complete(company, server, password, progress).await }
    });
    // One after the other: their numbers are the same each time.
    let done = match northwind.await {
        Ok(()) => harbor.await,
        Err(fault) => Err(fault),
    };
    progress.end();
    done
}

async fn complete(
    company: &Company,
    server: &Server,
    password: &Secret,
    progress: &Progress,
) -> Result<(), Fault> {
    let server = server.signed_in(&token(company, server, password).await?)?;
    if found::packages(&server).await?.contains_key(LAST_PACKAGE.name) {
        return Ok(());
    }
    let found = Found::all(&server).await?;
    Filling { company, server, found, password: password.expose(), progress }.complete().await
}

/// The token of the super admin, who is signed up where there is none.
async fn token(company: &Company, server: &Server, password: &Secret) -> Result<String, Fault> {
    let owner = &company.team[0];
    let email = owner.email(company);
    let log_in = id::LoginRequest { email: email.clone(), password: password.expose().into() };
    let logged_in = patiently("Login", async || {
        match server.auth().login(server.request(log_in.clone())).await {
            Err(status) if status.code() == Code::Unauthenticated => {
                Ok(id::LoginResponse::default().into())
            }
            other => other,
        }
    });
    let token = logged_in.await?.token;
    if !token.is_empty() {
        return Ok(token);
    }
    let sign_up = id::SignUpRequest {
        account: Some(id::SignUpAccount {
            name: company.name.into(),
            email: format!("office@{}", company.domain),
            default_currency: company.currency.into(),
        }),
        employee: Some(id::SignUpEmployee {
            name: owner.name(),
            email,
            password: password.expose().into(),
        }),
        request_id: request_id(&format!("{} sign-up", company.domain)),
        ..Default::default()
    };
    let signed_up =
        patiently("SignUp", async || server.auth().sign_up(server.request(sign_up.clone())).await);
    Ok(signed_up.await?.token)
}

fn logins(password: &Secret) -> String {
    let mut text = String::from("\nDemo data are there. Everybody's password is ");
    let _infallible = writeln!(text, "{}", password.expose());
    for company in &COMPANIES {
        let _infallible = writeln!(text, "\n  {}", company.name);
        for person in company.team {
            let (email, name) = (person.email(company), person.name());
            let _infallible = writeln!(text, "    {email:<28}{name:<18}{}", person.job);
        }
    }
    text
}
