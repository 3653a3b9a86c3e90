//! KMS grants instead of statements in a key's policy.
//!
//! A KMS grant has a grantee, operations and a name, but neither an end nor a Region or service it
//! is limited to; its only constraint is an encryption context that is equal word for word, which
//! no context of many objects is. So it allows `Decrypt` and nothing else, and is revoked by name.
//! S3's own delivery of inventories stays in the key's policy: only there it can be limited to one
//! bucket.

use brigade::id::{KmsKeyArn, RoleArn};
use brigade::policy::{Grant, Place, SID_PREFIX, Statement};
use serde::Serialize;

/// A KMS grant as KMS lists it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct KmsGrant {
    pub(super) id: String,
    pub(super) name: String,
    /// The role's ARN, or its unique id once it is gone.
    pub(super) grantee: String,
    pub(super) operations: Vec<String>,
    /// Whether an encryption context is asked for.
    pub(super) constrained: bool,
}

impl KmsGrant {
    /// Whether its grantee was deleted, so that it lets nobody in.
    pub(super) fn is_orphan(&self) -> bool {
        self.grantee.starts_with("AROA") || self.grantee.starts_with("AIDA")
    }
}

/// A KMS grant that is to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Wanted {
    pub(super) key: KmsKeyArn,
    /// The Sid of the statement it stands for, so that it is known again.
    pub(super) name: String,
    pub(super) grantee: RoleArn,
}

impl Wanted {
    /// The key's account, which can then find every such grant by `ListRetirableGrants` and let
    /// somebody retire it. Not the role: nothing of the destination's needs to.
    pub(super) fn retiring_principal(&self) -> String {
        let partition = self.key.as_str().split(':').nth(1).unwrap_or("aws");
        format!("arn:{partition}:iam::{}:root", self.key.account())
    }

    pub(super) fn is(&self, grant: &KmsGrant) -> bool {
        grant.name == self.name
            && grant.grantee == self.grantee.as_str()
            && grant.operations == ["Decrypt"]
            && !grant.constrained
    }
}

/// What would change in the KMS grants of a key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct KmsEdit {
    pub(super) create: Option<Wanted>,
    pub(super) revoke: Vec<KmsGrant>,
}

/// What a KMS grant takes of the statements for a key, and the statements that are left.
pub(super) fn split(grant: &Grant, role: &RoleArn) -> (Option<Wanted>, Option<Grant>) {
    let Place::KeyPolicy(key) = &grant.place else { return (None, Some(grant.clone())) };
    let (decrypting, rest): (Vec<Statement>, Vec<Statement>) =
        grant.statements.iter().cloned().partition(|statement| statement.action == ["kms:Decrypt"]);
    // One is enough, for it knows no bucket.
    let wanted = decrypting.first().map(|statement| Wanted {
        key: key.clone(),
        name: statement.sid.clone(),
        grantee: role.clone(),
    });
    let rest = (!rest.is_empty()).then(|| Grant { statements: rest, ..grant.clone() });
    (wanted, rest)
}

impl KmsEdit {
    /// Creates what is wanted unless it is there, and takes out what only bears its name.
    pub(super) fn applied(wanted: &Wanted, present: &[KmsGrant]) -> Self {
        let stale = |grant: &&KmsGrant| grant.name == wanted.name && !wanted.is(grant);
        Self {
            create: (!present.iter().any(|grant| wanted.is(grant))).then(|| wanted.clone()),
            revoke: present.iter().filter(stale).cloned().collect(),
        }
    }

    /// Takes out ours for the role of what was wanted, or all of ours.
    pub(super) fn revoked(wanted: &Wanted, all: bool, present: &[KmsGrant]) -> Self {
        let goes = |grant: &&KmsGrant| {
            grant.name.starts_with(SID_PREFIX)
                && (all || grant.name == wanted.name || grant.grantee == wanted.grantee.as_str())
        };
        Self { create: None, revoke: present.iter().filter(goes).cloned().collect() }
    }

    pub(super) fn changes(&self) -> bool {
        self.create.is_some() || !self.revoke.is_empty()
    }

    /// The change, a line for each grant.
    pub(super) fn diff(&self) -> String {
        let created = self.create.iter().map(|wanted| {
            format!(
                "+KMS grant {}: {} may Decrypt whatever {} encrypted\n",
                wanted.name, wanted.grantee, wanted.key
            )
        });
        let revoked = self.revoke.iter().map(|grant| {
            format!("-KMS grant {}: {} may {}\n", grant.name, grant.grantee, grant.operations.join(", "))
        });
        revoked.chain(created).collect()
    }

    /// Whether the KMS grants of a key are now as they were to become.
    pub(super) fn holds(&self, found: &[KmsGrant]) -> bool {
        self.create.iter().all(|wanted| found.iter().any(|grant| wanted.is(grant)))
            && self.revoke.iter().all(|gone| found.iter().all(|grant| grant.id != gone.id))
    }
}

#[cfg(test)]
mod tests {
    use brigade::policy::source::{ListAccess, SourceAccess};

    use super::*;

    const KEY: &str = "arn:aws:kms:us-east-1:111111111111:key/1";

    fn wanted() -> Wanted {
        Wanted {
            key: KEY.parse().expect("a key"),
            name: "BrigadeDecryptSource1".to_owned(),
            grantee: "arn:aws:iam::222222222222:role/batch".parse().expect("a role"),
        }
    }

    fn grant(id: &str, name: &str, grantee: &str, operations: &[&str]) -> KmsGrant {
        KmsGrant {
            id: id.to_owned(),
            name: name.to_owned(),
            grantee: grantee.to_owned(),
            operations: operations.iter().map(|&operation| operation.to_owned()).collect(),
            constrained: false,
        }
    }

    #[test]
    fn a_grant_is_made_once_and_anew_for_a_new_role() {
        let (wanted, role) = (wanted(), "arn:aws:iam::222222222222:role/batch");
        let there = grant("1", "BrigadeDecryptSource1", role, &["Decrypt"]);
        let foreign = grant("2", "rds", "arn:aws:iam::111111111111:role/rds", &["Encrypt", "Decrypt"]);
        assert_eq!(KmsEdit::applied(&wanted, &[foreign.clone(), there.clone()]), KmsEdit::default());
        let stale = [
            grant("3", "BrigadeDecryptSource1", "AROAEXAMPLE", &["Decrypt"]),
            grant("4", "BrigadeDecryptSource1", role, &["Decrypt", "CreateGrant"]),
            KmsGrant { constrained: true, ..there.clone() },
        ];
        for stale in stale {
            let edit = KmsEdit::applied(&wanted, &[foreign.clone(), stale.clone()]);
            assert_eq!(edit, KmsEdit { create: Some(wanted.clone()), revoke: vec![stale.clone()] });
            assert!(
                !edit.holds(std::slice::from_ref(&stale))
                    && edit.holds(std::slice::from_ref(&there)) == (stale.id != there.id)
            );
        }
    }

    #[test]
    fn ours_for_the_role_are_revoked_and_with_all_every_one_of_ours() {
        let (wanted, role) = (wanted(), "arn:aws:iam::222222222222:role/batch");
        let present = [
            grant("1", "BrigadeDecryptSource1", "AROAEXAMPLE", &["Decrypt"]),
            grant("2", "BrigadeDecryptLists2", role, &["Decrypt"]),
            grant("3", "BrigadeDecryptSource3", "arn:aws:iam::222222222222:role/other", &["Decrypt"]),
            grant("4", "theirs", role, &["Decrypt"]),
            grant("5", "", role, &["Decrypt"]),
        ];
        let ids = |all| {
            KmsEdit::revoked(&wanted, all, &present).revoke.into_iter().map(|g| g.id).collect::<Vec<_>>()
        };
        assert_eq!(ids(false), ["1", "2"]);
        assert_eq!(ids(true), ["1", "2", "3"]);
    }

    #[test]
    fn one_grant_serves_objects_and_lists_and_the_delivery_keeps_its_statement() {
        let key: KmsKeyArn = KEY.parse().expect("a key");
        let need = SourceAccess {
            role: wanted().grantee,
            account: key.account(),
            buckets: vec!["photos".parse().expect("a bucket")],
            region: key.region(),
            prefix: String::new(),
            keys: vec![key.clone()],
            versions: false,
            tags: true,
            restore: false,
            checksums: false,
            lists: Some(ListAccess {
                bucket: "lists".parse().expect("a bucket"),
                key: Some(key.clone()),
                delivered: true,
            }),
            expires: None,
        };
        let grants = need.grants();
        let at_key =
            grants.iter().find(|grant| grant.place == Place::KeyPolicy(key.clone())).expect("a grant");
        let (wanted, rest) = split(at_key, &need.role);
        assert_eq!(wanted.map(|wanted| wanted.name), Some(at_key.statements[0].sid.clone()));
        let rest = rest.expect("a statement for S3").statements;
        assert_eq!(rest.len(), 1);
        assert_eq!(rest[0].action, ["kms:GenerateDataKey"]);
        let (none, whole) = split(&grants[0], &need.role);
        assert_eq!((none, whole.as_ref()), (None, Some(&grants[0])));
    }
}
