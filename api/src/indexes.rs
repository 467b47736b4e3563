//! Sets of completion indexes, as Jobs write them: `0,2,4-7` (J-440, J-1005, J-1006).
//!
//! A set is kept as intervals, so that 100,000 indexes which finished in order are one pair of numbers. Nothing else of
//! what a Job means belongs here.

use std::fmt;

/// A set of completion indexes: disjoint ascending intervals, both ends included, never adjacent to each other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Indexes {
    intervals: Vec<(i32, i32)>,
}

impl Indexes {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// All of `0..completions`.
    #[must_use]
    pub fn all(completions: i32) -> Self {
        if completions > 0 { Self { intervals: vec![(0, completions - 1)] } } else { Self::default() }
    }

    /// Reads a list that a client wrote: every fragment must be right, ascending, and below `completions`.
    ///
    /// # Errors
    /// The text of J-440 for the first fragment that is wrong.
    pub fn parse_strict(text: &str, completions: i32) -> Result<Self, String> {
        let mut indexes = Self::default();
        if text.is_empty() {
            return Ok(indexes);
        }
        let mut previous: Option<i32> = None;
        for fragment in text.split(',') {
            let (first, last) = parse_fragment(fragment, completions)?;
            if let Some(previous) = previous
                && previous >= first
            {
                return Err(format!("non-increasing order, previous: {previous}, current: {first}"));
            }
            if let Some(last) = last
                && first >= last
            {
                return Err(format!("non-increasing order, previous: {first}, current: {last}"));
            }
            let last = last.unwrap_or(first);
            indexes.insert_range(first, last);
            previous = Some(last);
        }
        Ok(indexes)
    }

    /// Reads a list that the status holds against the completions of today (J-1006): what is no number is skipped, what lies at or
    /// above `completions` is cut off.
    #[must_use]
    pub fn parse_stored(text: &str, completions: i32) -> Self {
        let mut indexes = Self::default();
        for fragment in text.split(',') {
            let mut ends = fragment.split('-');
            let Some(Ok(first)) = ends.next().map(str::parse::<i32>) else { continue };
            if first >= completions {
                break;
            }
            let last = match ends.next().map(str::parse::<i32>) {
                None => first,
                Some(Ok(last)) => last.min(completions - 1),
                Some(Err(_)) => continue,
            };
            if first >= 0 && first <= last {
                indexes.insert_range(first, last);
            }
        }
        indexes
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.intervals.is_empty()
    }

    /// How many indexes are in the set.
    #[must_use]
    pub fn len(&self) -> usize {
        self.intervals.iter().map(|(first, last)| last.abs_diff(*first) as usize + 1).sum()
    }

    #[must_use]
    pub fn contains(&self, index: i32) -> bool {
        let position = self.intervals.partition_point(|(_, last)| *last < index);
        self.intervals.get(position).is_some_and(|(first, _)| *first <= index)
    }

    /// Adds one index; true if it was not there.
    pub fn insert(&mut self, index: i32) -> bool {
        if self.contains(index) {
            return false;
        }
        self.insert_range(index, index);
        true
    }

    /// Adds `first` to `last`, both included. Cheap at the end of the set, which is where work in order adds.
    pub fn insert_range(&mut self, first: i32, last: i32) {
        if first > last {
            return;
        }
        // The intervals that overlap or touch the new one are replaced by their union.
        let from = self.intervals.partition_point(|(_, end)| end.saturating_add(1) < first);
        let to = self.intervals.partition_point(|(start, _)| *start <= last.saturating_add(1));
        let first = self.intervals.get(from).filter(|_| from < to).map_or(first, |(start, _)| first.min(*start));
        let last = to
            .checked_sub(1)
            .filter(|_| from < to)
            .and_then(|position| self.intervals.get(position))
            .map_or(last, |(_, end)| last.max(*end));
        self.intervals.splice(from..to.max(from), [(first, last)]);
    }

    /// The indexes of both sets.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let mut intervals = Vec::with_capacity(self.intervals.len() + other.intervals.len());
        intervals.extend_from_slice(&self.intervals);
        intervals.extend_from_slice(&other.intervals);
        Self::from_intervals(intervals)
    }

    /// The indexes of this set that are not in `other`.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        let mut intervals = Vec::new();
        let mut rest = other.intervals.iter().copied().peekable();
        for &(first, last) in &self.intervals {
            while rest.next_if(|(_, end)| *end < first).is_some() {}
            let mut start = Some(first);
            let mut holes = rest.clone();
            while let Some((hole_first, hole_last)) = holes.next_if(|(hole_first, _)| *hole_first <= last) {
                if let Some(from) = start.filter(|from| *from < hole_first) {
                    intervals.push((from, hole_first - 1));
                }
                start = hole_last.checked_add(1);
            }
            if let Some(from) = start.filter(|from| *from <= last) {
                intervals.push((from, last));
            }
        }
        Self { intervals }
    }

    /// The lowest index that is in both sets.
    #[must_use]
    pub fn first_common(&self, other: &Self) -> Option<i32> {
        let (mut mine, mut theirs) = (self.intervals.iter().peekable(), other.intervals.iter().peekable());
        while let (Some((a_first, a_last)), Some((b_first, b_last))) = (mine.peek(), theirs.peek()) {
            if a_first <= b_last && b_first <= a_last {
                return Some(*a_first.max(b_first));
            }
            if a_last < b_last {
                mine.next()
            } else {
                theirs.next()
            };
        }
        None
    }

    /// How many indexes of `other` are in this set too.
    #[must_use]
    pub fn count_common(&self, other: &Self) -> usize {
        self.len() - self.difference(other).len()
    }

    /// Drops every index at or above `completions`, as a scale-down does (J-823).
    pub fn truncate(&mut self, completions: i32) {
        self.intervals.retain(|(first, _)| *first < completions);
        if let Some((_, last)) = self.intervals.last_mut() {
            *last = (*last).min(completions - 1);
        }
    }

    /// The indexes in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = i32> + '_ {
        self.intervals.iter().flat_map(|(first, last)| *first..=*last)
    }

    /// The indexes of `0..completions` that are not in the set, lowest first (J-855). Takes no more work than what is asked of it.
    pub fn missing(&self, completions: i32) -> impl Iterator<Item = i32> + '_ {
        let starts = std::iter::once(0).chain(self.intervals.iter().map(|(_, last)| last.saturating_add(1)));
        let ends = self.intervals.iter().map(|(first, _)| *first).chain(std::iter::once(completions));
        starts.zip(ends).flat_map(move |(start, end)| start..end.min(completions))
    }

    fn from_intervals(mut intervals: Vec<(i32, i32)>) -> Self {
        intervals.sort_unstable();
        let mut merged: Vec<(i32, i32)> = Vec::with_capacity(intervals.len());
        for (first, last) in intervals {
            match merged.last_mut() {
                Some((_, end)) if first <= end.saturating_add(1) => *end = (*end).max(last),
                Some(_) | None => merged.push((first, last)),
            }
        }
        Self { intervals: merged }
    }
}

/// One fragment of a list that a client wrote: its first index, and its last if it is a range.
fn parse_fragment(fragment: &str, completions: i32) -> Result<(i32, Option<i32>), String> {
    let mut ends = fragment.split('-');
    let first = ends.next().unwrap_or_default();
    let last = ends.next();
    if ends.next().is_some() {
        return Err(format!(
            "the fragment {fragment:?} violates the requirement that an index interval can have at most two parts separated by '-'"
        ));
    }
    let first = parse_index(first, completions)?;
    let last = last.map(|last| parse_index(last, completions)).transpose()?;
    Ok((first, last))
}

fn parse_index(text: &str, completions: i32) -> Result<i32, String> {
    // Read wide, so that a number of any usual size is called too large and not no number.
    let index: i64 = text.parse().map_err(|_| format!("cannot convert string to integer for index: {text:?}"))?;
    if index >= i64::from(completions) {
        return Err(format!("too large index: {text:?}"));
    }
    i32::try_from(index).map_err(|_| format!("cannot convert string to integer for index: {text:?}"))
}

/// The compressed form (J-1005): a run of two is `a,b`, a longer one `a-b`.
impl fmt::Display for Indexes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, (first, last)) in self.intervals.iter().enumerate() {
            if position > 0 {
                f.write_str(",")?;
            }
            match last - first {
                0 => write!(f, "{first}")?,
                1 => write!(f, "{first},{last}")?,
                _ => write!(f, "{first}-{last}")?,
            }
        }
        Ok(())
    }
}

impl FromIterator<i32> for Indexes {
    fn from_iter<I: IntoIterator<Item = i32>>(indexes: I) -> Self {
        Self::from_intervals(indexes.into_iter().map(|index| (index, index)).collect())
    }
}

impl Extend<i32> for Indexes {
    fn extend<I: IntoIterator<Item = i32>>(&mut self, indexes: I) {
        *self = self.union(&indexes.into_iter().collect());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// J-1005.
    #[test]
    fn prints_the_compressed_form_of_t_3() {
        for (indexes, want) in [
            (vec![], ""),
            (vec![0], "0"),
            (vec![0, 1], "0,1"),
            (vec![0, 1, 2], "0-2"),
            (vec![0, 1, 3, 4], "0,1,3,4"),
            (vec![0, 1, 3, 4, 5], "0,1,3-5"),
            (vec![2, 4, 5, 7, 8, 9], "2,4,5,7-9"),
            (vec![1, 3, 4, 5, 7], "1,3-5,7"),
        ] {
            assert_eq!(indexes.into_iter().collect::<Indexes>().to_string(), want);
        }
    }

    /// J-1006.
    #[test]
    fn reads_stored_lists_against_todays_completions_of_t_3() {
        for (stored, completions, add, want) in [
            ("0-5,8-10", 8, &[][..], "0-5"),
            ("0-5,8-10", 10, &[], "0-5,8,9"),
            ("0,1,2", 2, &[], "0,1"),
            ("x,2", 5, &[], "2"),
            ("1,3-x,4", 6, &[], "1,4"),
            ("7", 5, &[], ""),
            ("0,4,5,10-12", 13, &[2, 7, 8], "0,2,4,5,7,8,10-12"),
            ("3-7", 9, &[2, 8], "2-8"),
        ] {
            let mut indexes = Indexes::parse_stored(stored, completions);
            indexes.extend(add.iter().copied());
            assert_eq!(indexes.to_string(), want, "{stored} of {completions}");
            let mut one_by_one = Indexes::parse_stored(stored, completions);
            for index in add {
                assert!(one_by_one.insert(*index));
                assert!(!one_by_one.insert(*index));
            }
            assert_eq!(one_by_one, indexes);
        }
    }

    /// J-440.
    #[test]
    fn checks_what_clients_write_of_t_4() {
        for (text, completions, want) in [
            ("0-2", 5, Ok(3)),
            ("0,2,4", 5, Ok(3)),
            ("0,1,2", 5, Ok(3)),
            ("", 5, Ok(0)),
            ("5", 5, Err("too large index: \"5\"")),
            ("0-5", 5, Err("too large index: \"5\"")),
            ("1,3-2", 5, Err("non-increasing order, previous: 3, current: 2")),
            ("0-0", 5, Err("non-increasing order, previous: 0, current: 0")),
            ("0,0", 5, Err("non-increasing order, previous: 0, current: 0")),
            ("1-3,3", 5, Err("non-increasing order, previous: 3, current: 3")),
            ("1,,3", 5, Err("cannot convert string to integer for index: \"\"")),
            ("1-", 5, Err("cannot convert string to integer for index: \"\"")),
            ("-1", 5, Err("cannot convert string to integer for index: \"\"")),
            (
                "1--3",
                5,
                Err(
                    "the fragment \"1--3\" violates the requirement that an index interval can have at most two parts separated by '-'",
                ),
            ),
            (" 5", 6, Err("cannot convert string to integer for index: \" 5\"")),
            ("99999999999", 6, Err("too large index: \"99999999999\"")),
        ] {
            let got = Indexes::parse_strict(text, completions).map(|indexes| indexes.len());
            assert_eq!(got, want.map_err(str::to_owned), "{text:?} of {completions}");
        }
    }

    #[test]
    fn offers_the_lowest_missing_indexes_first_as_t_10_needs() {
        let taken = Indexes::parse_stored("0,2-5,7-9", 20);
        assert_eq!(taken.missing(20).take(6).collect::<Vec<_>>(), [1, 6, 10, 11, 12, 13]);
        assert_eq!(Indexes::all(3).missing(3).count(), 0);
        assert_eq!(Indexes::all(5).missing(3).count(), 0);
        assert_eq!(Indexes::new().missing(0).count(), 0);
    }

    #[test]
    fn a_hundred_thousand_indexes_in_order_are_one_interval() {
        let mut indexes = Indexes::new();
        for index in 0..100_000 {
            indexes.insert(index);
        }
        assert_eq!(indexes.intervals, [(0, 99_999)]);
        assert_eq!(indexes.len(), 100_000);
    }

    proptest! {
        #[test]
        fn behaves_as_a_set(
            a in proptest::collection::btree_set(0..60_i32, 0..40),
            b in proptest::collection::btree_set(0..60_i32, 0..40),
            completions in 0..70_i32,
        ) {
            let (left, right): (Indexes, Indexes) = (a.iter().copied().collect(), b.iter().copied().collect());
            prop_assert_eq!(left.len(), a.len());
            prop_assert!(left.iter().eq(a.iter().copied()));
            prop_assert!((0..60).all(|index| left.contains(index) == a.contains(&index)));
            prop_assert!(left.union(&right).iter().eq(a.union(&b).copied()));
            prop_assert!(left.difference(&right).iter().eq(a.difference(&b).copied()));
            prop_assert_eq!(left.count_common(&right), a.intersection(&b).count());
            prop_assert_eq!(left.first_common(&right), a.intersection(&b).next().copied());
            prop_assert!(left.missing(completions).eq((0..completions).filter(|index| !a.contains(index))));
            let mut inserted = Indexes::new();
            for index in a.iter().rev().chain(&b) {
                inserted.insert(*index);
            }
            prop_assert_eq!(&inserted, &left.union(&right));
            let mut cut = left.clone();
            cut.truncate(completions);
            prop_assert!(cut.iter().eq(a.iter().copied().filter(|index| *index < completions)));
            prop_assert_eq!(Indexes::parse_stored(&left.to_string(), 60), left.clone());
            prop_assert_eq!(Indexes::parse_strict(&left.to_string(), 60), Ok(left));
        }

        #[test]
        fn reads_any_text_without_panic(text in "[0-9,x -]{0,40}", completions in -1..100_i32) {
            let read = Indexes::parse_stored(&text, completions);
            prop_assert!(read.iter().all(|index| index < completions));
            if let Ok(strict) = Indexes::parse_strict(&text, completions) {
                prop_assert_eq!(strict, read);
            }
        }
    }
}
