//! The simulator as its callers meet it: driven through the AWS SDK for S3 Control, in front of a small
//! in-memory endpoint that stands for S3, STS and Lambda.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop here")]

mod bench;
mod checksums;
mod command;
mod copies;
mod endpoint;
mod faults;
mod functions;
mod lifecycle;
mod manifests;
mod reports;
mod requests;
mod restores;
