//! What the tests over the whole workspace share.
//!
//! [`definition`] says what is wrong with the state machine, given the [`template`], the steps'
//! [`schema`]s and what its [`jsonata`] refers to.

pub mod definition;
pub mod jsonata;
pub mod schema;
pub mod template;
