//! Durations and sizes as people write and read them: `26h`, `15 min`, `2 GiB`.
