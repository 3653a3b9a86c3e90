//! The domain of Bucket Brigade: what a transfer is, and every step that makes one happen.
//!
//! Data flows one way. A [`request`] (or the event of an inventory's arrival) becomes a
//! [`transfer`]; its objects, read from an [`inventory`], a CSV or a listing, are each given a
//! [`route`] and written into a Batch Operations [`manifest`]; the [`tally`] of that work becomes
//! the [`plan`] a person approves; probes become [`finding`]s with the [`policy`] statement that
//! mends them; completion reports become a [`report`] with one honest verdict.
//!
//! The [`steps`] are the states of the state machine, one module each. They talk to AWS only
//! through the [`ports`], so this crate compiles without an AWS SDK, a Lambda runtime or an async
//! runtime, and holds no file, socket or clock.

pub mod compare;
pub mod cost;
pub mod csv;
pub mod estimate;
pub mod failure;
pub mod finding;
pub mod gzip;
pub mod id;
pub mod inventory;
pub mod key;
pub mod layout;
pub mod listed;
pub mod listing;
pub mod manifest;
pub mod notice;
pub mod plan;
pub mod policy;
pub mod ports;
pub mod report;
pub mod request;
pub mod route;
pub mod select;
pub mod steps;
pub mod tally;
pub mod transfer;
pub mod words;
