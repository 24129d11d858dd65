//! The project's lock.
