//! A selection, from JSON on the first line, judges the rows on the others: in a time that grows
//! with pattern and key only, and as spelt out here.

#![no_main]

use brigade::listed::{Listed, Modified};
use brigade::select::{Filter, Selection, Selector, Verdict};
use libfuzzer_sys::fuzz_target;

/// Whether a glob without sets fits a key, place by place.
fn fits(pattern: &str, key: &str) -> bool {
    let key: Vec<char> = key.chars().collect();
    // Whether the pattern so far fits the key up to each place.
    let mut here = vec![false; key.len() + 1];
    here[0] = true;
    for one in pattern.chars() {
        let mut next = vec![false; key.len() + 1];
        for at in 0..=key.len() {
            next[at] = match one {
                '*' => here[at] || at > 0 && next[at - 1],
                '?' => at > 0 && here[at - 1],
                one => at > 0 && here[at - 1] && key[at - 1] == one,
            };
        }
        here = next;
    }
    here[key.len()]
}

fn takes(selection: &Selection, key: &str) -> bool {
    let prefixes = &selection.prefixes;
    let last = selection.filters.iter().rev().find(|filter| fits(filter.pattern(), key));
    (prefixes.is_empty() || prefixes.iter().any(|prefix| key.starts_with(prefix.as_str())))
        && !matches!(last, Some(Filter::Exclude(_)))
}

fn row(line: &str) -> Listed<'_> {
    let mut cells = line.split('\t');
    let mut cell = || cells.next().filter(|cell| !cell.is_empty());
    Listed {
        size: cell().and_then(|size| size.parse().ok()),
        modified: cell().map(Modified::Text),
        storage_class: cell(),
        encryption: cell(),
        version: cell(),
        latest: cell().is_none(),
        delete_marker: cell().is_some(),
        ..Listed::of("photos", cell().unwrap_or("key"))
    }
}

fuzz_target!(|input: &[u8]| {
    let Ok(text) = str::from_utf8(input) else { return };
    let mut lines = text.split('\n');
    let Ok(selection) = serde_json::from_str::<Selection>(lines.next().unwrap_or_default()) else { return };
    let written = serde_json::to_string(&selection).expect("JSON");
    assert_eq!(serde_json::from_str::<Selection>(&written).expect("a selection"), selection);
    if selection.check().is_err() {
        return;
    }
    let selector = Selector::new(&selection);
    let plain = !selection.filters.iter().any(|filter| filter.pattern().contains('['));
    for line in lines.take(8) {
        let row = row(line);
        let takes_key = selector.takes_key(row.key);
        if plain {
            assert_eq!(takes_key, takes(&selection, row.key), "{}", row.key);
        }
        match selector.verdict(&row) {
            Verdict::Selected => {
                assert!(takes_key && !row.delete_marker);
                let (size, bounds) = (row.size, selection.size);
                assert!(bounds.min.is_none_or(|min| size >= Some(min)));
                assert!(bounds.max.is_none_or(|max| size.is_some_and(|size| size <= max)));
            }
            Verdict::Unknown(column) => assert!(selector.needs().contains(&column)),
            Verdict::Unselected(_) => {}
        }
    }
});
