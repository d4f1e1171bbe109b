//! In which order things are tried: as configured, or shuffled (`load_balance_hosts`).

use std::hash::{BuildHasher, Hasher, RandomState};

use crate::options::LoadBalanceHosts;

/// Puts `items` into the order in which they are to be tried.
pub(crate) fn put_in_order<T>(load_balance_hosts: LoadBalanceHosts, items: &mut [T]) {
    if load_balance_hosts == LoadBalanceHosts::Random {
        shuffle(items);
    }
}

/// Fisher and Yates' shuffle: every order is as likely as any other.
fn shuffle<T>(items: &mut [T]) {
    for end in (2..=items.len()).rev() {
        items.swap(end - 1, below(end));
    }
}

/// A number below `bound`, which is not 0. Good enough to spread load, not to keep a secret.
pub(crate) fn below(bound: usize) -> usize {
    // Each RandomState has keys of its own: its empty hash is a random number.
    let random = u128::from(RandomState::new().build_hasher().finish());
    let bound = u128::try_from(bound).unwrap_or(u128::MAX);
    usize::try_from((random * bound) >> 64).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn every_order_of_three_comes_about_as_often_as_any_other() {
        let mut orders: HashMap<[u8; 3], u32> = HashMap::new();
        for _ in 0..6000 {
            let mut items = [1, 2, 3];
            put_in_order(LoadBalanceHosts::Random, &mut items);
            *orders.entry(items).or_default() += 1;
        }
        assert_eq!(orders.len(), 6);
        // 1000 each; the bounds are more than ten standard deviations away.
        assert!(
            orders.values().all(|count| (650..1350).contains(count)),
            "{orders:?}"
        );
    }

    #[test]
    fn without_load_balancing_the_configured_order_stays() {
        let mut items = [1, 2, 3, 4, 5, 6, 7, 8];
        put_in_order(LoadBalanceHosts::Disable, &mut items);
        assert_eq!(items, [1, 2, 3, 4, 5, 6, 7, 8]);
    }

    #[test]
    fn a_number_below_one_is_zero() {
        assert_eq!(below(1), 0);
    }
}
