//! How many flows tell all routers that a hop shares them between.
//!
//! MDA's rule (Augustin, Friedman, Teixeira: Measuring load-balanced paths in the Internet, IMC 2007): where so many flows met `k` routers, a
//! balancer that shares flows evenly between more than `k` would have shown more of them with a probability of 95 %.

use std::sync::LazyLock;

/// How sure one is to be.
const CONFIDENCE: f64 = 0.95;

/// The most routers that numbers are kept for; a balancer of more is hardly built.
const MOST: usize = 64;

/// How many flows must have met `routers` routers at a hop, and no others, to be sure that there are no more.
#[must_use]
pub fn enough(routers: usize) -> usize {
    ENOUGH[routers.clamp(1, MOST) - 1]
}

/// By the number of routers, from 1.
static ENOUGH: LazyLock<Vec<usize>> = LazyLock::new(|| (1..=MOST).map(|routers| first_enough(routers + 1)).collect());

/// The smallest number of flows that meet all of so many routers with the confidence.
fn first_enough(routers: usize) -> usize {
    // How probable it is, after so many flows, to have met so many routers (the index).
    let mut met = vec![0.0; routers + 1];
    met[0] = 1.0;
    let mut flows = 0;
    while met[routers] < CONFIDENCE {
        for now in (1..=routers).rev() {
            let (known, new) = (now as f64, (routers - now + 1) as f64);
            met[now] = (met[now] * known + met[now - 1] * new) / routers as f64;
        }
        met[0] = 0.0;
        flows += 1;
    }
    flows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_those_of_mda() {
        let numbers: Vec<usize> = (1..=16).map(enough).collect();
        assert_eq!(numbers, [6, 11, 16, 21, 27, 33, 38, 44, 51, 57, 63, 70, 76, 83, 90, 96]);
        // Nothing met is a hop of one silent router.
        assert_eq!((enough(0), enough(1_000)), (6, enough(MOST)));
    }
}
