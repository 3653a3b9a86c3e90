//! What a selection says of a row, said plainly: the measure of the quick one.

use super::glob::Glob;
use super::{Column, Filter, Selection, Unselected, Verdict, Versions};
use crate::listed::Listed;

/// Every criterion as (fits or not known, why not, what tells).
pub(super) fn verdict(selection: &Selection, below: &str, row: &Listed<'_>) -> Verdict {
    let all = selection.versions == Versions::All;
    if row.delete_marker {
        return Verdict::Unselected(Unselected::DeleteMarker);
    }
    if !row.latest && !all {
        return Verdict::Unselected(Unselected::Noncurrent);
    }
    let prefixes = &selection.prefixes;
    if !prefixes.is_empty() && !prefixes.iter().any(|prefix| row.key.starts_with(prefix)) {
        return Verdict::Unselected(Unselected::Prefix);
    }

    let criteria = [
        (size(selection, row), Unselected::Size, Column::Size),
        (storage_class(selection, row), Unselected::StorageClass, Column::StorageClass),
        (encryption(selection, row), Unselected::Encryption, Column::EncryptionStatus),
        (modified(selection, row), Unselected::Modified, Column::LastModifiedDate),
    ];
    for (fits, why_not, _) in criteria {
        if fits == Some(false) {
            return Verdict::Unselected(why_not);
        }
    }
    if !included(selection, row.key.strip_prefix(below).unwrap_or(row.key)) {
        return Verdict::Unselected(Unselected::Filter);
    }
    if all && row.version.is_none() {
        return Verdict::Unknown(Column::VersionId);
    }
    for (fits, _, column) in criteria {
        if fits.is_none() {
            return Verdict::Unknown(column);
        }
    }
    Verdict::Selected
}

fn size(selection: &Selection, row: &Listed<'_>) -> Option<bool> {
    let bounds = selection.size;
    if bounds.min.is_none() && bounds.max.is_none() {
        return Some(true);
    }
    let size = row.size?;
    Some(bounds.min.is_none_or(|min| size >= min) && bounds.max.is_none_or(|max| size <= max))
}

fn storage_class(selection: &Selection, row: &Listed<'_>) -> Option<bool> {
    if selection.storage_classes.is_empty() {
        return Some(true);
    }
    let class = row.storage_class?;
    Some(selection.storage_classes.iter().any(|one| one.as_str() == class))
}

fn encryption(selection: &Selection, row: &Listed<'_>) -> Option<bool> {
    if selection.encryption.is_empty() {
        return Some(true);
    }
    let status = row.encryption?;
    Some(selection.encryption.iter().any(|one| one.as_str() == status))
}

fn modified(selection: &Selection, row: &Listed<'_>) -> Option<bool> {
    let bounds = selection.modified;
    if bounds.after.is_none() && bounds.before.is_none() {
        return Some(true);
    }
    let time = i128::from(row.modified?.millis()?) * 1_000_000;
    let after = bounds.after.is_none_or(|after| time >= after.as_nanosecond());
    let before = bounds.before.is_none_or(|before| time < before.as_nanosecond());
    Some(after && before)
}

fn included(selection: &Selection, key: &str) -> bool {
    let mut included = true;
    // Absolute ones match nothing.
    for filter in selection.filters.iter().filter(|filter| !filter.pattern().starts_with('/')) {
        match filter {
            Filter::Include(pattern) if Glob::new(pattern).matches(key) => included = true,
            Filter::Exclude(pattern) if Glob::new(pattern).matches(key) => included = false,
            Filter::Include(_) | Filter::Exclude(_) => {}
        }
    }
    included
}
