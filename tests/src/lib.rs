//! What the tests over the whole workspace share: a world without AWS, and a transfer driven
//! through it.
//!
//! [`memory`] implements every port of [`brigade::ports`] in memory, [`fault`] fails any one call
//! of them, [`conformance`] states how a store behaves whoever implements it, [`arrival`] delivers
//! lists of objects as S3 and operators do, [`scene`] is the world most tests begin with, and
//! [`flow`] takes the steps in the order of the state machine.
//!
//! [`definition`] says what is wrong with the state machine, given the [`template`], the steps'
//! [`schema`]s and what its [`jsonata`] refers to. [`oracle`] judges policies, independently of ours.

pub mod arrival;
pub mod conformance;
pub mod definition;
pub mod fault;
pub mod flow;
pub mod jsonata;
pub mod memory;
pub mod oracle;
pub mod scene;
pub mod schema;
pub mod template;
