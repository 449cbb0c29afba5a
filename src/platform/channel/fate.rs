//! What became of a request that got no answer, by what HTTP/2 says that its end means: whether it
//! can have had an effect decides whether it may be sent again.

use http::Uri;

use super::balance::Balance;

/// Whether a failed attempt can have had an effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It never left this process.
    Unsent,
    /// The peer refused it before it began.
    Refused,
    /// It was above the last stream of the peer's GOAWAY: not begun.
    Goodbye,
    /// Nobody can tell.
    Unknown,
}

impl Fate {
    /// Of a request that was handed to a connection.
    pub(super) fn of(error: &hyper::Error) -> Fate {
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
        while let Some(error) = cause {
            if let Some(error) = error.downcast_ref::<h2::Error>() {
                if error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM) {
                    return Fate::Refused;
                }
                if error.is_go_away()
                    && error.is_remote()
                    && error.reason() == Some(h2::Reason::NO_ERROR)
                {
                    return Fate::Goodbye;
                }
            }
            cause = error.source();
        }
        Fate::Unknown
    }

    /// Whether another attempt is allowed, and paid for.
    pub(super) fn may_repeat(self, balance: &Balance, uri: &Uri) -> bool {
        match self {
            // Costs no server anything, so it costs no budget: a drain must not fail a call.
            Fate::Unsent | Fate::Refused | Fate::Goodbye => true,
            Fate::Unknown => balance.is_idempotent(uri) && balance.afford_one_more(),
        }
    }

    /// For people.
    pub(super) fn effect(self) -> &'static str {
        match self {
            Fate::Unsent | Fate::Refused | Fate::Goodbye => "it was not begun",
            Fate::Unknown => "whether it took effect is unknown",
        }
    }
}
