//! When a failure, a stale project or a recovery is told: a pure decision from the alert's state, an event and the time.
