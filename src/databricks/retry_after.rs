//! `Retry-After`: seconds or an HTTP date, from people who mean well; hence a cap.

use std::time::{Duration, SystemTime};

/// Nobody is kept waiting for longer because of one header.
pub(super) const LONGEST: Duration = Duration::from_mins(5);

/// How long to wait. A date in the past means "now"; what cannot be read is no answer.
pub(super) fn parse(text: &str, now: SystemTime) -> Option<Duration> {
    let text = text.trim();
    let wait = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => httpdate::parse_http_date(text).ok()?.duration_since(now).unwrap_or_default(),
    };
    Some(wait.min(LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_and_dates_are_read_and_bounded() {
        let now = httpdate::parse_http_date("Mon, 23 Nov 2026 10:00:00 GMT").unwrap();
        for (text, seconds) in [
            ("0", Some(0)),
            ("7", Some(7)),
            (" 30 ", Some(30)),
            ("Mon, 23 Nov 2026 10:00:20 GMT", Some(20)),
            ("Mon, 23 Nov 2026 09:00:00 GMT", Some(0)),
            ("86400", Some(300)),
            ("Mon, 23 Nov 2099 10:00:00 GMT", Some(300)),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
            ("", None),
            ("99999999999999999999999", None),
        ] {
            assert_eq!(parse(text, now), seconds.map(Duration::from_secs), "{text}");
        }
    }
}
