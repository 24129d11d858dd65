//! The notify protocol: ready, reloading, stopping, status, watchdog. Without systemd every call does nothing.

use std::time::Duration;

use sd_notify::NotifyState;

/// Says that the start is done.
pub(super) fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// Asks for this much more time to start, and says what for.
pub(super) fn still_starting(longer: Duration, doing: &str) {
    let micros = u32::try_from(longer.as_micros()).unwrap_or(u32::MAX);
    tell(&[NotifyState::ExtendTimeoutUsec(micros), NotifyState::Status(doing)]);
}

/// Says that the configuration is being read again; followed by [`ready`].
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(stamp) => tell(&[NotifyState::Reloading, stamp]),
        Err(_) => tell(&[NotifyState::Reloading]),
    }
}

/// Says that the end has begun.
pub(super) fn stopping(status: &str) {
    tell(&[NotifyState::Stopping, NotifyState::Status(status)]);
}

/// Says what is going on, for `systemctl status`.
pub(super) fn status(status: &str) {
    tell(&[NotifyState::Status(status)]);
}

/// Says that the owner still turns.
pub(super) fn alive() {
    tell(&[NotifyState::Watchdog]);
}

/// How often systemd's watchdog wants a sign of life, half of what it waits for one; `None` where none is set.
pub(super) fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|waits| waits / 2).filter(|half| !half.is_zero())
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!("systemd could not be told: {error}");
    }
}
