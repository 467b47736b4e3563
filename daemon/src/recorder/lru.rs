//! A map that forgets what was used longest ago. Ordered, so that the simulation replays exactly.

use std::collections::BTreeMap;

/// At most `max` values by key.
#[derive(Debug)]
pub(super) struct Lru<V> {
    max: usize,
    tick: u64,
    values: BTreeMap<u128, (u64, V)>,
    used: BTreeMap<u64, u128>,
}

impl<V: Default> Lru<V> {
    pub(super) fn new(max: usize) -> Self {
        Self { max, tick: 0, values: BTreeMap::new(), used: BTreeMap::new() }
    }

    /// The value of a key, made when absent. Counts as a use.
    pub(super) fn entry(&mut self, key: u128) -> &mut V {
        self.tick += 1;
        let tick = self.tick;
        if !self.values.contains_key(&key)
            && self.values.len() >= self.max
            && let Some((_, oldest)) = self.used.pop_first()
        {
            self.values.remove(&oldest);
        }
        let (used, value) = self.values.entry(key).or_insert_with(|| (tick, V::default()));
        self.used.remove(used);
        *used = tick;
        self.used.insert(tick, key);
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forgets_what_was_used_longest_ago() {
        let mut lru = Lru::<u32>::new(2);
        *lru.entry(1) = 10;
        *lru.entry(2) = 20;
        assert_eq!(*lru.entry(1), 10);
        *lru.entry(3) = 30;
        assert_eq!(*lru.entry(1), 10, "used after 2");
        assert_eq!(*lru.entry(2), 0, "forgotten for 3");
        assert_eq!((lru.values.len(), lru.used.len()), (2, 2));
    }
}
