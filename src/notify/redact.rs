//! Takes secrets out of text that comes from outside: a program's stderr, a server's answer, a connection string.
//!
//! Two nets: the secrets this run knows, however they are quoted or encoded (`known`), and the places where secrets usually stand
//! (`places`). Rather a word too many is hidden than a secret shown. Pure; whoever writes a mail, a log line or a row calls it.

use secrecy::{ExposeSecret, SecretString};

use crate::error::Failure;

mod known;
mod places;

/// What stands where a secret stood.
pub const HIDDEN: &str = "***";

/// A secret shorter than this is not looked for by its value: hiding every `a` makes a text useless and hides nothing.
const SHORTEST: usize = 4;

/// Removes secrets from text.
#[derive(Debug, Clone, Default)]
pub struct Redactor {
    secrets: Vec<SecretString>,
}

impl Redactor {
    /// A redactor that knows these secrets' values besides the usual places.
    ///
    /// Values below four characters are only found in the usual places.
    #[must_use]
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a SecretString>) -> Self {
        let mut secrets: Vec<SecretString> =
            secrets.into_iter().filter(|secret| secret.expose_secret().chars().count() >= SHORTEST).cloned().collect();
        // The longest first, so that one secret that contains another goes as a whole.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.expose_secret().len()));
        Self { secrets }
    }

    /// The text without secrets.
    #[must_use]
    pub fn clean(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in &self.secrets {
            text = known::hide(&text, secret.expose_secret());
        }
        places::hide(&text)
    }

    /// A failure whose every word is without secrets, as it may reach the log, the catalog and the terminal.
    #[must_use]
    pub fn clean_failure(&self, failure: Failure) -> Failure {
        Failure {
            cause: failure.cause,
            message: self.clean(&failure.message),
            hint: failure.hint.map(|hint| self.clean(&hint)),
            detail: failure.detail.map(|detail| self.clean(&detail)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn clean(text: &str) -> String {
        Redactor::default().clean(text)
    }

    #[test]
    fn the_usual_places_are_hidden() {
        for (text, expected) in [
            ("host=db password=s3cret user=backup", "host=db password=*** user=backup"),
            ("password = 'it''s \\' long' user=b", "password = *** user=b"),
            ("host=db PASSWORD=\"a b\" x", "host=db PASSWORD=*** x"),
            ("env PGPASSWORD=hunter2 pg_dump", "env PGPASSWORD=*** pg_dump"),
            ("postgresql://backup:s3cret@db.internal/shop", "postgresql://backup:***@db.internal/shop"),
            ("postgres://b:p@ss/word@db/shop?sslmode=require", "postgres://b:***@db/shop?sslmode=require"),
            ("postgres://db/shop?user=b&password=x%20y&sslmode=require", "postgres://db/shop?user=b&password=***&sslmode=require"),
            ("\"postgresql://b:pw@db/\"", "\"postgresql://b:***@db/\""),
            ("{\"password\": \"x\\\"y\", \"user\": \"b\"}", "{\"password\": ***, \"user\": \"b\"}"),
            ("ALTER ROLE app WITH PASSWORD 'it''s' LOGIN;", "ALTER ROLE app WITH PASSWORD *** LOGIN;"),
            ("alter user app encrypted password E'a\\'b' valid", "alter user app encrypted password *** valid"),
            ("ALTER ROLE app PASSWORD $x$a'b$x$;", "ALTER ROLE app PASSWORD ***;"),
            ("ALTER ROLE app PASSWORD 'cut off", "ALTER ROLE app PASSWORD ***"),
            ("SCRAM-SHA-256$4096:c2FsdA==$c3RvcmVk:c2VydmVy end", "SCRAM-SHA-256$*** end"),
            ("is md5a3556571e93b0d20722ba62be61e8c2d here", "is md5*** here"),
        ] {
            assert_eq!(clean(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_secret_stays() {
        for text in [
            "pg_dump: error: connection to server at \"db\" (10.0.0.1), port 5432 failed: FATAL:  password authentication failed for user \"b\"",
            "postgresql://backup@db.internal:5432/shop",
            "ALTER ROLE app PASSWORD NULL;",
            "fe_sendauth: no password supplied",
            "md5 checksum, md5sum, md5abc",
            "see https://www.postgresql.org:443/docs/",
            "häßlich → ✓",
        ] {
            assert_eq!(clean(text), text);
        }
    }

    #[test]
    fn a_known_secret_is_found_in_every_dress() {
        let secret = SecretString::from("p'a\\s %\"é9");
        let redactor = Redactor::new([&secret]);
        for dress in [
            "p'a\\s %\"é9",
            "p%27a%5Cs%20%25%22%C3%A99",
            "p%27a%5cs+%25%22%c3%a99",
            "%70%27%61%5c%73%20%25%22%c3%a9%39",
            "p''a\\s %\"é9",
            "p\\'a\\\\s %\\\"é9",
            "p'a\\\\s %\\\"\\u00e99",
            "p'\\''a\\s %\"é9",
            "p'a\\s %\"\"é9",
        ] {
            assert_eq!(redactor.clean(&format!("before {dress} after")), "before *** after", "{dress}");
        }
    }

    /// Percent-encoded: whatever must be, and what `choose` picks of the rest.
    fn percent(secret: &str, choose: &[bool], upper: bool) -> String {
        let encode = |(at, byte): (usize, u8)| match (byte.is_ascii_alphanumeric() && !choose[at % choose.len()], upper) {
            (true, _) => char::from(byte).to_string(),
            (false, true) => format!("%{byte:02X}"),
            (false, false) => format!("%{byte:02x}"),
        };
        secret.bytes().enumerate().map(encode).collect::<Vec<_>>().concat()
    }

    proptest! {
        #[test]
        fn a_known_secret_never_survives(
            before in "\\PC{0,20}", after in "\\PC{0,20}", secret in "[^\u{0}*]{4,24}", choose in proptest::collection::vec(any::<bool>(), 1..8),
        ) {
            // A secret made of our own marks would be found in what we put there.
            let known = SecretString::from(secret.clone());
            let redactor = Redactor::new([&known]);
            let dresses = [
                secret.clone(),
                percent(&secret, &choose, true),
                percent(&secret, &choose, false),
                format!("'{}'", secret.replace('\'', "''")),
                format!("'{}'", secret.replace('\\', "\\\\").replace('\'', "\\'")),
                serde_json::to_string(&secret).unwrap(),
            ];
            for dress in dresses {
                let out = redactor.clean(&format!("{before}{dress}{after}"));
                prop_assert!(!out.contains(&secret), "{out:?}");
                if !before.contains(&dress) && !after.contains(&dress) {
                    prop_assert!(!out.contains(&dress), "{out:?} holds {dress:?}");
                }
            }
        }

        #[test]
        fn an_unknown_secret_in_a_usual_place_never_survives(secret in "[a-zA-Z0-9]{12,20}") {
            for text in [
                format!("postgresql://u:{secret}@h/db"),
                format!("password={secret}"),
                format!("password='{secret}'"),
                format!("PGPASSWORD={secret}"),
                format!("ALTER ROLE x PASSWORD '{secret}'"),
                format!("SCRAM-SHA-256$4096:{secret}$a:b"),
            ] {
                prop_assert!(!clean(&text).contains(&secret), "{text}");
            }
        }

        #[test]
        fn cleaning_never_panics_and_settles(text in "\\PC{0,200}") {
            let once = clean(&text);
            prop_assert_eq!(clean(&once), once);
        }
    }
}
