//! The nouns: plain data with public fields, shared by every floor. Behaviour lives in the verbs.

pub mod backup;
pub mod database;
pub mod dump;
pub mod options;
mod own;
pub mod project;
pub mod proving;
pub mod run;
pub mod settings;
mod times;
