//! `notify test`: the same conversation as a delivery, told step by step.
//!
//! `probe` sends a real mail, because only that proves that mail arrives; `knock` stops before, for `doctor`. The command line prints the steps.

use secrecy::SecretString;
use serde::Serialize;

use super::email::Parcel;
use super::walk::{Stage, Walk};
use super::{Message, Undelivered};
use crate::model::settings::Smtp;

/// One step of the conversation and how it went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    /// `resolve name`, `connect`, `greeting`, `EHLO`, `STARTTLS`, `certificate`, `authentication`, `MAIL FROM`, `RCPT TO`, `DATA`; or
    /// `settings`, which fails where they make no mail possible.
    pub name: &'static str,
    /// Whether it succeeded.
    pub ok: bool,
    /// The server's answer, or what failed, why and what to do.
    pub detail: String,
}

/// Goes as far as authentication without sending anything; mail would most likely work where all steps are `ok`.
#[must_use]
pub fn knock(smtp: &Smtp, password: Option<&SecretString>, hostname: &str) -> Vec<Step> {
    let mut walk = Walk { smtp, password, hostname, steps: Vec::new() };
    // How it ended stands in the last step.
    walk.knock().ok();
    walk.steps
}

/// Sends `message` and tells every step up to the last one reached, and who was accepted, if the server took it; mail works where all of the
/// steps are `ok`.
#[must_use]
pub fn probe(smtp: &Smtp, password: Option<&SecretString>, hostname: &str, message: &Message) -> (Vec<Step>, Vec<String>) {
    let mut walk = Walk { smtp, password, hostname, steps: Vec::new() };
    let parcel = match Parcel::pack(smtp, message) {
        Ok(parcel) => parcel,
        Err(Undelivered::Later(failure) | Undelivered::Refused(failure)) => {
            let detail = failure.hint.map_or_else(|| failure.message.clone(), |hint| format!("{}; {hint}", failure.message));
            return (vec![Step { name: Stage::Settings.name(), ok: false, detail }], Vec::new());
        }
    };
    for refusal in &parcel.unusable {
        walk.steps.push(Step { name: Stage::Settings.name(), ok: false, detail: format!("{}: {}", refusal.address, refusal.answer) });
    }
    // Why it failed stands in the last step.
    let accepted = walk.deliver(&parcel).map_or_else(|_| Vec::new(), |delivered| message.for_accepted(&delivered).to);
    (walk.steps, accepted)
}
