//! Selected rows that wait to be compared, some hundreds at a time: what is remembered of the
//! destination lies all over memory, and to fetch many places at once takes less than half the time.

use std::ops::Range;

use crate::compare::{Compared, Decision, Snapshot};
use crate::listed::Listed;

/// Rows that are compared together.
const TOGETHER: usize = 256;

/// The rows, without what only the comparison asks about.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    text: String,
    rows: Vec<Row>,
    compared: Vec<Compared>,
    decisions: Vec<Decision>,
}

#[derive(Debug)]
struct Row {
    bucket: Range<usize>,
    key: Range<usize>,
    version: Option<Range<usize>>,
    storage_class: Option<Range<usize>>,
    encryption: Option<Range<usize>>,
    size: Option<u64>,
    latest: bool,
    archived: bool,
}

impl Waiting {
    /// Lets a row wait that would be copied to `destination_key`.
    pub(super) fn push(&mut self, row: &Listed<'_>, destination_key: &str, snapshot: &Snapshot) {
        self.compared.push(snapshot.compared(row, destination_key));
        let mut keep = |cell: &str| {
            let start = self.text.len();
            self.text.push_str(cell);
            start..self.text.len()
        };
        self.rows.push(Row {
            bucket: keep(row.bucket),
            key: keep(row.key),
            version: row.version.map(&mut keep),
            storage_class: row.storage_class.map(&mut keep),
            encryption: row.encryption.map(&mut keep),
            size: row.size,
            latest: row.latest,
            archived: row.archived,
        });
    }

    /// Whether enough rows wait.
    pub(super) fn is_full(&self) -> bool {
        self.rows.len() >= TOGETHER
    }

    /// Compares the rows and hands on each with what becomes of it, in their order.
    ///
    /// # Errors
    /// The first error of `each`.
    pub(super) fn decide<E>(
        &mut self,
        snapshot: &mut Snapshot,
        mut each: impl FnMut(&Listed<'_>, Decision) -> Result<(), E>,
    ) -> Result<(), E> {
        snapshot.decide_all(&self.compared, &mut self.decisions);
        let cell = |range: &Option<Range<usize>>| range.clone().map(|range| &self.text[range]);
        for (row, decision) in self.rows.iter().zip(&self.decisions) {
            let listed = Listed {
                version: cell(&row.version),
                latest: row.latest,
                size: row.size,
                storage_class: cell(&row.storage_class),
                archived: row.archived,
                encryption: cell(&row.encryption),
                ..Listed::of(&self.text[row.bucket.clone()], &self.text[row.key.clone()])
            };
            each(&listed, *decision)?;
        }
        self.text.clear();
        self.rows.clear();
        self.compared.clear();
        self.decisions.clear();
        Ok(())
    }
}
