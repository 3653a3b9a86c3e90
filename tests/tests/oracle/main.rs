//! The statements of the policy model before a judge who did not write them.
//!
//! [`features`] are the combinations of what a transfer can be asked for, [`calls`] its API calls and
//! those it must not be able to make, [`policies`] what the model derives, and what each of it is
//! there for; [`evaluator`] sets our own evaluation of policies against the judge's.
#![expect(clippy::unwrap_used, reason = "a test that unwraps what is missing should fail there")]

use std::collections::hash_map::DefaultHasher;
use std::collections::{HashMap, HashSet};
use std::hash::{Hash, Hasher};
use std::thread;
use std::time::Instant;

use brigade::policy::source::SourceAccess;
use tests::oracle::{Decision, Oracle, Questions};

use calls::{Call, Side};
use features::{Features, Lists, PHOTOS, Prefix, SOURCE, TargetKey, combinations};
use policies::{Change, Holder, Policies, What, assert_revocable, work_bucket_policy};

mod calls;
mod evaluator;
mod features;
mod policies;

/// What a question is asked for.
#[derive(Clone, Debug)]
enum Asked {
    /// A call of the engine.
    Made(Features, Call),
    /// A call that this side has to refuse.
    Forbidden(Features, Side, Call),
    /// One of the calls that show what a part of a policy is there for: the number of its change.
    Shows(usize),
}

/// What is found out in one go.
#[derive(Default)]
struct Sitting {
    questions: Questions<Asked>,
    /// The number of each world.
    worlds: HashMap<u64, usize>,
    changes: Vec<(Features, Change, bool)>,
    /// What was asked before, with the same policies.
    seen: HashSet<u64>,
    calls: usize,
}

fn hash(texts: &[&str]) -> u64 {
    let mut hasher = DefaultHasher::new();
    texts.hash(&mut hasher);
    hasher.finish()
}

impl Sitting {
    fn ask(&mut self, world: &str, question: &str, asked: Asked) {
        let next = self.worlds.len();
        let number = *self.worlds.entry(hash(&[world])).or_insert(next);
        if number == next {
            self.questions.world(&format!("{{\"world\":\"{number}\",{world}"));
        }
        self.questions.ask(asked, &format!("{{\"ask\":0,\"world\":\"{number}\",{question}"));
    }

    fn ask_once(&mut self, world: &str, call: &Call, asked: impl FnOnce() -> Asked) {
        let question = call.question();
        if self.seen.insert(hash(&[world, &question])) {
            self.ask(world, &question, asked());
        }
    }

    fn take(&mut self, features: Features, work: &str) {
        let policies = Policies::of(features);
        assert_revocable(&policies);
        let made = features.calls();
        let forbidden = features.forbidden();
        self.calls += made.len() + forbidden.len();
        for call in &made {
            self.ask_once(&policies.world(call, work), call, || Asked::Made(features, call.clone()));
        }
        for (side, call) in &forbidden {
            let world = policies.world_of(*side, call, work);
            self.ask_once(&world, call, || Asked::Forbidden(features, *side, call.clone()));
        }
        for change in policies.changes() {
            self.change(features, change, &policies, &made, &forbidden, work);
        }
    }

    /// Without a statement, an action, a resource or a value some call is refused; without a
    /// condition some forbidden call is not.
    fn change(
        &mut self,
        features: Features,
        change: Change,
        policies: &Policies,
        made: &[Call],
        forbidden: &[(Side, Call)],
        work: &str,
    ) {
        let changed = policies.changed(&change.holder, &change.left);
        let number = self.changes.len();
        let asked: Vec<(String, String)> = match &change.what {
            What::Condition(_) => forbidden
                .iter()
                .filter(|(side, call)| {
                    (*side == Side::Resource) == matches!(change.holder, Holder::Resource(_))
                        && change.concerns(call)
                })
                .map(|(side, call)| (changed.world_of(*side, call, work), call.question()))
                .collect(),
            _ => {
                let concerned = made.iter().filter(|call| change.concerns(call));
                concerned.map(|call| (changed.world(call, work), call.question())).collect()
            }
        };
        let texts: Vec<&str> =
            asked.iter().flat_map(|(world, question)| [world.as_str(), question.as_str()]).collect();
        if asked.is_empty() || self.seen.insert(hash(&texts)) {
            self.changes.push((features, change, false));
            for (world, question) in asked {
                self.ask(&world, &question, Asked::Shows(number));
            }
        }
    }

    /// What the judge objects to.
    fn objections(mut self, oracle: &mut Oracle) -> Vec<String> {
        let mut objections = Vec::new();
        for (asked, decision) in oracle.judge(self.questions) {
            let allowed = decision == Decision::Allowed;
            match asked {
                Asked::Made(features, call) if !allowed => {
                    objections.push(format!("{call:?} is {decision:?} for {features:?}"));
                }
                Asked::Forbidden(features, side, call) if allowed => {
                    objections.push(format!("{side:?} does not refuse {call:?} for {features:?}"));
                }
                Asked::Made(..) | Asked::Forbidden(..) => {}
                Asked::Shows(number) => {
                    let (_, change, shown) = &mut self.changes[number];
                    *shown |= allowed == matches!(change.what, What::Condition(_));
                }
            }
        }
        for (features, change, shown) in self.changes {
            let Change { holder, statement, what, .. } = &change;
            let part = || format!("{what:?} of {} in {holder:?}", statement.sid);
            match accepted(features, &change) {
                None if !shown => objections.push(format!("{} is there for nothing: {features:?}", part())),
                Some(why) if shown => {
                    objections.push(format!("{} is there for something, not as {why}: {features:?}", part()));
                }
                _ => {}
            }
        }
        objections
    }
}

/// What is there for nothing by AWS's logic, and why it stays.
fn accepted(features: Features, change: &Change) -> Option<&'static str> {
    let Change { holder, statement, what, .. } = change;
    let role = matches!(holder, Holder::Role(_));
    let in_source = features.lists == Lists::InSource;
    let folder = features.prefix != Prefix::None;
    let read = match what {
        What::Action(action) => action == "s3:GetObject",
        What::Statement => statement.action == ["s3:GetObject"],
        _ => false,
    };
    let sid = statement.sid.as_str();
    if role && sid == "EncryptCopies" && features.target_key == TargetKey::OursAlone {
        return (!matches!(what, What::Condition(_))).then_some(
            "a key policy that names a role of its own account needs no policy of the role's beside it; \
             but whether it does is its administrator's to change, and the template can't know",
        );
    }
    let of_source = match what {
        What::Resource(resource) => resource.starts_with(PHOTOS),
        What::Value(account) => account.contains(SOURCE),
        _ => false,
    };
    let twice = match sid {
        "ListSource" => *what == What::Statement,
        "ReadSource" => read,
        "ListManifests" => of_source,
        "ReadManifests" => of_source && !folder,
        _ => false,
    };
    if role && in_source && twice {
        return Some("the template takes the bucket of lists as it is named, be it the source bucket itself");
    }
    (in_source && !role && folder && sid.starts_with("BrigadeReadSource") && read)
        .then_some("a list that is in the source bucket may lie anywhere in it, outside the prefix as well")
}

/// Every call of every combination, and every part of every policy; what was asked before with the
/// very same policies is not asked again. The judge is a process with one thread, so there are two.
#[test]
fn every_statement_is_enough_and_none_is_too_much() {
    let began = Instant::now();
    let work = work_bucket_policy();
    let all = combinations();
    let (mut calls, mut questions, mut changes, mut objections) = (0, 0, 0, Vec::new());
    thread::scope(|scope| {
        let halves = all.chunks(all.len().div_ceil(2)).map(|half| {
            let work = &work;
            scope.spawn(move || {
                let mut oracle = Oracle::start();
                let (mut seen, mut found) = (HashSet::new(), Vec::new());
                let (mut calls, mut questions, mut changes) = (0, 0, 0);
                for some in half.chunks(64) {
                    let mut sitting = Sitting { seen, ..Sitting::default() };
                    some.iter().for_each(|features| sitting.take(*features, work));
                    calls += sitting.calls;
                    questions += sitting.questions.len();
                    changes += sitting.changes.len();
                    seen = std::mem::take(&mut sitting.seen);
                    found.extend(sitting.objections(&mut oracle));
                }
                (calls, questions, changes, found)
            })
        });
        for half in halves.collect::<Vec<_>>() {
            let (asked, judged, changed, found) = half.join().unwrap();
            calls += asked;
            questions += judged;
            changes += changed;
            objections.extend(found);
        }
    });
    #[expect(clippy::print_stdout, reason = "how much was judged")]
    {
        println!(
            "{} combinations, {calls} calls, {changes} different changes, {questions} different questions, {:.0?}",
            all.len(),
            began.elapsed()
        );
    }
    assert!(objections.is_empty(), "{} objections:\n{}", objections.len(), sample(&objections));
}

/// The oracle takes a key with a star for a pattern, so a prefix that has one is asked only about what
/// it must not mean.
#[test]
fn a_star_in_a_prefix_is_a_star() {
    let decide = |prefix: &str| {
        let features = combinations()[0];
        let access = SourceAccess { prefix: prefix.to_owned(), ..features.source_access() };
        let policies = Policies::of(features);
        let photos = Holder::Resource(PHOTOS.to_owned());
        let policies = policies.changed(&photos, &access.source_bucket(&access.buckets[0]).statements);
        let read = features.calls().into_iter().find(|call| call.action == "s3:GetObject").unwrap();
        let read = Call { resource: format!("{PHOTOS}/a-b/c"), ..read };
        let mut sitting = Sitting::default();
        let world = policies.world_of(Side::Resource, &read, "");
        sitting.ask(&world, &read.question(), Asked::Forbidden(features, Side::Resource, read.clone()));
        Oracle::start().judge(sitting.questions)[0].1
    };
    assert_eq!(decide("a-b/"), Decision::Allowed);
    assert_eq!(decide("a*b/"), Decision::ImplicitlyDenied);
}

fn sample(objections: &[String]) -> String {
    objections.iter().step_by(objections.len() / 20 + 1).cloned().collect::<Vec<_>>().join("\n")
}
