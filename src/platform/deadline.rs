//! How long a call may take, carried from the call a service answers to the calls it makes: the
//! server puts the caller's deadline around its handler, channels inherit it, and every hop sends
//! what is left as `grpc-timeout`. Deliberately absent: a default for calls that have none.

use std::future::Future;
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderName, HeaderValue};

/// The header that gRPC carries the remaining time in.
pub const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

tokio::task_local! {
    static DEADLINE: Instant;
}

/// Runs `work` under a deadline: calls made within inherit it. An outer, earlier one stays in force.
pub async fn within<F: Future>(deadline: Instant, work: F) -> F::Output {
    let deadline = current().map_or(deadline, |outer| outer.min(deadline));
    DEADLINE.scope(deadline, work).await
}

/// As [`within`], for work that does not wait: one look at a stream, say.
pub fn enter<T>(deadline: Instant, work: impl FnOnce() -> T) -> T {
    let deadline = current().map_or(deadline, |outer| outer.min(deadline));
    DEADLINE.sync_scope(deadline, work)
}

/// The deadline this task works under, if any.
pub fn current() -> Option<Instant> {
    DEADLINE.try_with(|deadline| *deadline).ok()
}

/// The time left that a request's headers grant; `None` without the header or when it is malformed.
pub fn requested(headers: &HeaderMap) -> Option<Duration> {
    parse(headers.get(GRPC_TIMEOUT)?.to_str().ok()?)
}

/// Reads `500m`, `2S`: at most eight digits and a unit, as the gRPC protocol has it.
fn parse(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(amount * 3600)),
        "M" => Some(Duration::from_secs(amount * 60)),
        "S" => Some(Duration::from_secs(amount)),
        "m" => Some(Duration::from_millis(amount)),
        "u" => Some(Duration::from_micros(amount)),
        "n" => Some(Duration::from_nanos(amount)),
        _ => None,
    }
}

/// The header's value for a time left: the finest unit that fits eight digits, never rounded up.
pub fn header(left: Duration) -> HeaderValue {
    const FITS: u128 = 99_999_999;
    let text = if left.as_micros() <= FITS {
        format!("{}u", left.as_micros())
    } else if left.as_millis() <= FITS {
        format!("{}m", left.as_millis())
    } else {
        format!("{}S", u128::from(left.as_secs()).min(FITS))
    };
    // Digits and a letter are always a valid value.
    HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static("1S"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn timeouts_are_read_as_the_protocol_says() {
        for (text, expected) in [
            ("1H", Some(Duration::from_secs(3600))),
            ("2M", Some(Duration::from_secs(120))),
            ("3S", Some(Duration::from_secs(3))),
            ("250m", Some(Duration::from_millis(250))),
            ("7u", Some(Duration::from_micros(7))),
            ("9n", Some(Duration::from_nanos(9))),
            ("", None),
            ("S", None),
            ("5", None),
            ("+5S", None),
            ("5s", None),
            ("123456789S", None),
            ("é", None),
        ] {
            assert_eq!(parse(text), expected, "{text:?}");
        }
    }

    #[tokio::test]
    async fn the_earlier_deadline_stays_in_force() {
        let soon = Instant::now() + Duration::from_secs(1);
        let late = soon + Duration::from_secs(9);
        assert_eq!(current(), None);
        within(soon, async {
            within(late, async { assert_eq!(current(), Some(soon)) }).await;
        })
        .await;
        within(late, async {
            within(soon, async { assert_eq!(current(), Some(soon)) }).await;
        })
        .await;
    }

    proptest! {
        #[test]
        fn a_written_timeout_is_read_back_and_never_longer(nanos in 0u64..90_000_000_000_000_000) {
            let left = Duration::from_nanos(nanos);
            let value = header(left);
            let read = parse(value.to_str().unwrap()).unwrap();
            prop_assert!(read <= left);
            prop_assert!(left - read <= Duration::from_secs(1));
        }
    }
}
