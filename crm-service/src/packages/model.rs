//! What is a package?

use chrono::{DateTime, Utc};
use proto::{common::v1::ErrorReason::PackageDeleted, crm::v1 as pb};
use service_kit::{
    clock,
    error::Error,
    etag,
    fields::{Currency, Fields, Money, Notes, Text, fold, shown_money},
    mask::Update,
    page::{KeyOf, Order},
};

use crate::buyer::stored_currency;

/// A package as it is.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Package {
    pub id: i64,
    #[sqlx(flatten)]
    pub details: Details,
    /// What it is sorted by when packages are sorted by name.
    pub name_key: String,
    pub create_time: DateTime<Utc>,
    pub update_time: DateTime<Utc>,
    pub delete_time: Option<DateTime<Utc>>,
    pub version: i64,
}

impl Package {
    /// Refuses to sell it when it is deleted.
    pub fn must_be_live(&self) -> Result<(), Error> {
        if self.delete_time.is_none() {
            return Ok(());
        }
        let sentence = "The package is deleted and is not sold any more: undelete it first.";
        Err(Error::Refused { reason: PackageDeleted, sentence })
    }
}

/// What callers say about a package, in the form in which it is stored.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Details {
    pub(super) package_name: String,
    pub(super) description: String,
    /// In minor units.
    pub(super) list_price: Option<i64>,
    pub(super) list_price_currency: Option<String>,
}

impl Details {
    /// Reads a package that is about to be; output-only fields are ignored.
    pub fn parse(
        fields: &mut Fields,
        package: &pb::Package,
        default_currency: Currency,
    ) -> Option<Self> {
        let package_name =
            fields.take("package.package_name", Text::<255>::required(&package.package_name));
        let description = fields.take("package.description", Notes::parse(&package.description));
        let list_price = Money::optional(package.list_price.as_ref(), default_currency);
        let list_price = fields.take("package.list_price", list_price);
        let (list_price, list_price_currency) = columns_of(list_price?);
        Some(Self {
            package_name: package_name?.into_string(),
            description: description?.into_string(),
            list_price,
            list_price_currency,
        })
    }

    /// The names of the fields in which it differs from what it was before.
    pub fn changes(&self, before: &Self) -> Vec<&'static str> {
        let list_price = self.list_price != before.list_price
            || self.list_price_currency != before.list_price_currency;
        let fields = [
            ("package_name", self.package_name != before.package_name),
            ("description", self.description != before.description),
            ("list_price", list_price),
        ];
        fields.into_iter().filter(|(_, changed)| *changed).map(|(name, _)| name).collect()
    }

    /// What it is sorted by when packages are sorted by name.
    pub fn name_key(&self) -> String {
        fold(&self.package_name)
    }

    /// What it costs where nothing else is agreed.
    pub fn list_price(&self) -> Result<Option<Money>, Error> {
        let (Some(minor), Some(code)) = (self.list_price, &self.list_price_currency) else {
            return Ok(None);
        };
        Ok(Some(Money::from_minor(minor, stored_currency(code)?)))
    }
}

fn columns_of(price: Option<Money>) -> (Option<i64>, Option<String>) {
    price.map(|price| (price.minor(), price.currency().code().to_owned())).unzip()
}

/// What an update means to change: the fields it takes, and their new values.
pub struct Change {
    package_name: Option<Text<255>>,
    description: Option<Notes>,
    #[expect(clippy::option_option, reason = "left as it is, taken away, or another one")]
    list_price: Option<Option<Money>>,
}

impl Change {
    /// The paths that a mask may name.
    const PATHS: &[&str] = &["package_name", "description", "list_price"];

    pub fn parse(
        fields: &mut Fields,
        request: &pb::UpdatePackageRequest,
        default_currency: Currency,
    ) -> Option<Self> {
        let nothing = pb::Package::default();
        let package = request.package.as_ref().unwrap_or(&nothing);
        let mut update = Update::of(fields, "package", request.update_mask.as_ref(), Self::PATHS);
        let package_name =
            update.field("package_name", package.package_name.as_str(), Text::required);
        let description = update.field("description", package.description.as_str(), Notes::parse);
        let list_price = update.field("list_price", &package.list_price, |price| {
            Money::optional(price.as_ref(), default_currency)
        });
        Some(Self {
            package_name: package_name?,
            description: description?,
            list_price: list_price?,
        })
    }

    /// The details as they are after the change.
    pub fn apply(self, before: &Details) -> Details {
        let before = before.clone();
        let (list_price, list_price_currency) = match self.list_price {
            Some(price) => columns_of(price),
            None => (before.list_price, before.list_price_currency),
        };
        Details {
            package_name: self.package_name.map_or(before.package_name, Text::into_string),
            description: self.description.map_or(before.description, Notes::into_string),
            list_price,
            list_price_currency,
        }
    }
}

/// The orders that a list can be asked for. Newest first unless the caller says otherwise.
pub const ORDERS: &[Order<Package>] = &[
    Order {
        name: "create_time",
        column: "create_time",
        key: KeyOf::Instant(|package| package.create_time),
    },
    Order {
        name: "package_name",
        column: "name_key",
        key: KeyOf::Text(|package| package.name_key.clone()),
    },
];
pub const DEFAULT_ORDER: &str = "create_time desc";

impl From<Package> for pb::Package {
    fn from(package: Package) -> Self {
        let Details { package_name, description, list_price, list_price_currency } =
            package.details;
        let list_price = list_price.zip(list_price_currency);
        Self {
            id: package.id,
            package_name,
            description,
            list_price: list_price.map(|(minor, code)| shown_money(minor.into(), &code)),
            create_time: Some(clock::timestamp(package.create_time)),
            update_time: Some(clock::timestamp(package.update_time)),
            delete_time: package.delete_time.map(clock::timestamp),
            etag: etag::of(package.version),
        }
    }
}
