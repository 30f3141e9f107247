//! What else becomes true when clients change?
//!
//! Whoever writes a client's row calls [`follow`] in the same transaction, once, for all rows
//! that it wrote. So the words of the search, the lists of each employee's own clients and the
//! counts always agree with the rows, and whoever watches clients hears of every change.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use proto::crm::v1::ClientPart::{Closer, Coach, Setter};
use service_kit::{
    db::{Event, Feed, TenantTx},
    error::Error,
    sql,
};

use super::model::Client;

/// A client that changed.
#[derive(Debug, Clone, Copy)]
pub struct Changed<'a> {
    /// As it was; nothing where it is new.
    pub before: Option<&'a Client>,
    /// As it is.
    pub after: &'a Client,
}

/// Those who watch the clients of an account. The account's counter comes into being with its
/// first change.
static CHANGES: Feed = Feed {
    place: 1,
    append: sql!(
        "WITH head AS (
             INSERT INTO crm.client_feeds AS feed (account_id, number, time)
             VALUES ($1, cardinality($3::text[]), $2)
             ON CONFLICT (account_id) DO UPDATE
             SET number = feed.number + EXCLUDED.number, time = EXCLUDED.time,
                 time_before = feed.time
             RETURNING number - cardinality($3::text[]) AS before, time_before)
         INSERT INTO crm.client_changes
             (account_id, number, client_id, time, before, time_before)
         SELECT $1, head.before + event.place, event.id, $2,
             ARRAY(SELECT jsonb_array_elements_text(event.body)::bigint),
             CASE event.place WHEN 1 THEN head.time_before ELSE $2 END
         FROM head, unnest($3::text[], $4::bigint[], $5::jsonb[])
             WITH ORDINALITY AS event (kind, id, body, place)
         RETURNING number"
    ),
};

/// Makes everything that follows from clients agree with their rows. The rows are locked by
/// this transaction, and each of them is there once.
///
/// The counts are what writers of one account wait for each other at: they come late, and in
/// the order of their keys.
pub async fn follow(tx: &mut TenantTx, changes: &[Changed<'_>]) -> Result<(), Error> {
    let rows = Rows::of(changes);
    if rows != Rows::default() {
        keep(tx, rows).await?;
    }
    for change in changes {
        let before = change.before.map(|before| before.details.parts.employees());
        let body = before.unwrap_or_default().into_iter().collect();
        tx.tell(&CHANGES, Event { kind: "client", id: change.after.id, body });
    }
    Ok(())
}

/// What has to be taken away and put in place so that other tables agree with changed rows.
#[derive(Debug, Default, PartialEq, Eq)]
struct Rows {
    words_gone: Vec<(i64, String)>,
    words: Vec<(i64, String)>,
    members_gone: Vec<(i64, i64)>,
    members: Vec<Member>,
    /// By employee and status; employee 0 is the account.
    counts: BTreeMap<(i64, String), i64>,
}

/// An employee who has a part in a client, and what their list is sorted by.
#[derive(Debug, PartialEq, Eq)]
struct Member {
    employee_id: i64,
    client_id: i64,
    is_coach: bool,
    is_closer: bool,
    is_setter: bool,
    create_time: DateTime<Utc>,
    name_key: String,
    is_live: bool,
}

/// Under which the account itself is counted.
pub const WHOLE_ACCOUNT: i64 = 0;

impl Rows {
    fn of(changes: &[Changed<'_>]) -> Self {
        let mut rows = Self::default();
        for change in changes {
            rows.find(change);
            rows.belong(change);
            change.before.into_iter().for_each(|before| rows.count(before, -1));
            rows.count(change.after, 1);
        }
        rows.counts.retain(|_, clients| *clients != 0);
        rows
    }

    /// By which words it is found.
    fn find(&mut self, Changed { before, after }: &Changed<'_>) {
        let (is, was) = (after.details.search_words(), before.map(|b| b.details.search_words()));
        let was = was.unwrap_or_default();
        let of_client = |word: &String| (after.id, word.clone());
        self.words_gone.extend(was.difference(&is).map(of_client));
        self.words.extend(is.difference(&was).map(of_client));
    }

    /// To whose clients it belongs.
    fn belong(&mut self, Changed { before, after }: &Changed<'_>) {
        let is = members(after);
        let was = before.map(members).unwrap_or_default();
        let employees: BTreeSet<_> = is.iter().map(|member| member.employee_id).collect();
        let gone = was.iter().filter(|member| !employees.contains(&member.employee_id));
        self.members_gone.extend(gone.map(|member| (member.employee_id, member.client_id)));
        self.members.extend(is.into_iter().filter(|member| !was.contains(member)));
    }

    /// Counts a live client once for the account and for each employee who has a part.
    fn count(&mut self, client: &Client, clients: i64) {
        if client.delete_time.is_some() {
            return;
        }
        let employees = client.details.parts.employees();
        for employee_id in employees.into_iter().chain([WHOLE_ACCOUNT]) {
            let key = (employee_id, client.details.status.clone());
            *self.counts.entry(key).or_default() += clients;
        }
    }
}

fn members(client: &Client) -> Vec<Member> {
    let parts = &client.details.parts;
    let member = |employee_id| Member {
        employee_id,
        client_id: client.id,
        is_coach: parts.has(employee_id, Coach),
        is_closer: parts.has(employee_id, Closer),
        is_setter: parts.has(employee_id, Setter),
        create_time: client.create_time,
        name_key: client.name_key.clone(),
        is_live: client.delete_time.is_none(),
    };
    parts.employees().into_iter().map(member).collect()
}

/// One statement, because each client that is written waits for it.
async fn keep(tx: &mut TenantTx, rows: Rows) -> Result<(), Error> {
    let account_id = tx.account_id();
    let (words_gone_of, words_gone): (Vec<_>, Vec<_>) = rows.words_gone.into_iter().unzip();
    let (words_of, words): (Vec<_>, Vec<_>) = rows.words.into_iter().unzip();
    let (gone_from, gone): (Vec<_>, Vec<_>) = rows.members_gone.into_iter().unzip();
    let (counted, counts): (Vec<_>, Vec<_>) = rows.counts.into_iter().unzip();
    let (counted, statuses): (Vec<_>, Vec<_>) = counted.into_iter().unzip();
    let members = &rows.members;
    let query = sqlx::query(sql!(
        "WITH words_gone AS (
             DELETE FROM crm.client_search_words AS word
             USING unnest($2::bigint[], $3::text[]) AS gone (client_id, word)
             WHERE word.account_id = $1 AND word.client_id = gone.client_id
               AND word.word = gone.word),
         words AS (
             INSERT INTO crm.client_search_words (account_id, client_id, word)
             SELECT $1, new.* FROM unnest($4::bigint[], $5::text[]) AS new
             ON CONFLICT DO NOTHING),
         members_gone AS (
             DELETE FROM crm.client_members AS member
             USING unnest($6::bigint[], $7::bigint[]) AS gone (employee_id, client_id)
             WHERE member.account_id = $1 AND member.employee_id = gone.employee_id
               AND member.client_id = gone.client_id),
         members AS (
             INSERT INTO crm.client_members
                 (account_id, employee_id, client_id, is_coach, is_closer, is_setter,
                  create_time, name_key, is_live)
             SELECT $1, new.*
             FROM unnest($8::bigint[], $9::bigint[], $10::boolean[], $11::boolean[],
                         $12::boolean[], $13::timestamptz[], $14::text[], $15::boolean[]) AS new
             ON CONFLICT (account_id, employee_id, client_id) DO UPDATE
             SET is_coach = EXCLUDED.is_coach, is_closer = EXCLUDED.is_closer,
                 is_setter = EXCLUDED.is_setter, name_key = EXCLUDED.name_key,
                 is_live = EXCLUDED.is_live)
         INSERT INTO crm.client_counts AS count (account_id, employee_id, status, clients)
         SELECT $1, new.* FROM unnest($16::bigint[], $17::text[], $18::bigint[]) AS new
         ON CONFLICT (account_id, employee_id, status) DO UPDATE
         SET clients = count.clients + EXCLUDED.clients"
    ))
    .bind(account_id)
    .bind(words_gone_of)
    .bind(words_gone)
    .bind(words_of)
    .bind(words)
    .bind(gone_from)
    .bind(gone)
    .bind(each(members, |member| member.employee_id))
    .bind(each(members, |member| member.client_id))
    .bind(each(members, |member| member.is_coach))
    .bind(each(members, |member| member.is_closer))
    .bind(each(members, |member| member.is_setter))
    .bind(each(members, |member| member.create_time))
    .bind(each(members, |member| member.name_key.clone()))
    .bind(each(members, |member| member.is_live))
    .bind(counted)
    .bind(statuses)
    .bind(counts);
    tx.execute(query).await?;
    Ok(())
}

/// A column of the members.
fn each<T>(members: &[Member], column: impl Fn(&Member) -> T) -> Vec<T> {
    members.iter().map(column).collect()
}
