//! The rate of one principal: a leaky bucket, counted exactly.
//!
//! Not `governor`: its limiters are made for one quota, and a new one begins full. Here the quota
//! comes with each request, from the policy in force, and what was used outlives a reload.

use crate::config::Rate;

/// One request, in parts: of these, as many come back in a nanosecond as requests do in a minute.
const REQUEST: u64 = 60_000_000_000;

/// What is used of a rate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct LeakyBucket {
    /// In parts of a request.
    used: u64,
    /// When, in nanoseconds of a clock that never goes back.
    at: u64,
    /// What came back in a nanosecond, as of then.
    back: u64,
}

/// What is left of a rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RemainingRate {
    /// Requests that may come at once.
    pub(super) requests: u32,
    /// Nanoseconds until all may again.
    pub(super) full_in: u64,
}

impl LeakyBucket {
    /// Takes one request, or says in how many nanoseconds there will be one.
    pub(super) fn take(&mut self, rate: Rate, now: u64) -> Result<RemainingRate, u64> {
        *self = self.at(rate, now);
        let over = (self.used + REQUEST).saturating_sub(room(rate));
        if over > 0 {
            return Err(over.div_ceil(self.back));
        }
        self.used += REQUEST;
        Ok(self.left(rate, now))
    }

    /// What is left at this moment.
    pub(super) fn left(self, rate: Rate, now: u64) -> RemainingRate {
        let then = self.at(rate, now);
        let requests = room(rate).saturating_sub(then.used) / REQUEST;
        RemainingRate { requests: u32::try_from(requests).unwrap_or(u32::MAX), full_in: then.used.div_ceil(then.back) }
    }

    /// When nothing will be used any more.
    pub(super) fn until(self) -> u64 {
        self.at + self.used.div_ceil(self.back.max(1))
    }

    /// Whether nothing is used any more, so that it need not be remembered.
    pub(super) fn is_full(self, now: u64) -> bool {
        self.until() <= now
    }

    fn at(self, rate: Rate, now: u64) -> Self {
        let back = u64::from(rate.per_minute.get());
        // If the rate was changed in between, it is unknown when: the slower one gives back too little
        // and never too much.
        let slower = if self.back == 0 { back } else { back.min(self.back) };
        let came_back = now.saturating_sub(self.at).saturating_mul(slower);
        Self { used: self.used.saturating_sub(came_back), at: now, back }
    }
}

fn room(rate: Rate) -> u64 {
    u64::from(rate.burst.get()).saturating_mul(REQUEST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::num::NonZeroU32;

    fn rate(per_minute: u32, burst: u32) -> Rate {
        Rate { per_minute: NonZeroU32::new(per_minute).unwrap(), burst: NonZeroU32::new(burst).unwrap() }
    }

    /// A bucket of tokens, filled nanosecond by nanosecond.
    struct Bucket {
        tokens: u128,
        at: u64,
    }

    impl Bucket {
        fn take(&mut self, rate: Rate, now: u64) -> bool {
            let came = u128::from(now - self.at) * u128::from(rate.per_minute.get());
            let room = u128::from(rate.burst.get()) * u128::from(REQUEST);
            self.tokens = (self.tokens + came).min(room);
            self.at = now;
            let fits = self.tokens >= u128::from(REQUEST);
            if fits {
                self.tokens -= u128::from(REQUEST);
            }
            fits
        }
    }

    proptest! {
        #[test]
        fn it_decides_as_a_bucket_of_tokens_does(
            per_minute in 1u32..100_000,
            burst in 1u32..200,
            pauses in prop::collection::vec(0u64..3_000_000_000, 1..300),
        ) {
            let rate = rate(per_minute, burst);
            let tokens = u128::from(burst) * u128::from(REQUEST);
            let (mut meter, mut bucket, mut now) = (LeakyBucket::default(), Bucket { tokens, at: 0 }, 0u64);
            for pause in pauses {
                now += pause;
                let before = meter.left(rate, now).requests;
                let took = meter.take(rate, now);
                prop_assert_eq!(took.is_ok(), bucket.take(rate, now));
                prop_assert_eq!(took.is_ok(), before > 0);
                match took {
                    Ok(left) => prop_assert_eq!(left.requests, before - 1),
                    // What it says to wait is enough, and no nanosecond less is.
                    Err(wait) => {
                        let mut early = meter;
                        prop_assert!(early.take(rate, now + wait - 1).is_err());
                        let mut late = meter;
                        prop_assert!(late.take(rate, now + wait).is_ok());
                    }
                }
            }
        }

        #[test]
        fn in_any_span_no_more_pass_than_the_burst_and_what_came_back_though_the_rate_changes(
            rates in prop::collection::vec((1u32..6_000, 1u32..50), 1..6),
            pauses in prop::collection::vec((0u64..500_000_000, any::<prop::sample::Index>()), 1..200),
        ) {
            let rates: Vec<Rate> = rates.into_iter().map(|(per_minute, burst)| rate(per_minute, burst)).collect();
            let fastest = rates.iter().map(|r| u64::from(r.per_minute.get())).max().unwrap();
            let burst = rates.iter().map(|r| u64::from(r.burst.get())).max().unwrap();
            let (mut meter, mut now, mut passed) = (LeakyBucket::default(), 0u64, Vec::new());
            for (pause, which) in pauses {
                now += pause;
                if meter.take(*which.get(&rates), now).is_ok() {
                    passed.push(now);
                }
            }
            for (i, from) in passed.iter().enumerate() {
                for (j, to) in passed.iter().enumerate().skip(i) {
                    let count = (j - i + 1) as u64;
                    prop_assert!(count <= burst + (to - from) * fastest / REQUEST);
                }
            }
        }

        #[test]
        fn a_burst_that_was_used_stays_used_under_another_rate(
            before in 1u32..6_000, after in 1u32..6_000, burst in 1u32..50,
        ) {
            let (before, after) = (rate(before, burst), rate(after, burst));
            let mut meter = LeakyBucket::default();
            while meter.take(before, 7).is_ok() {}
            prop_assert_eq!(meter.left(after, 7).requests, 0);
            prop_assert!(meter.take(after, 7).is_err());
        }
    }
}
