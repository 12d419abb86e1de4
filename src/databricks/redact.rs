//! Cuts out of an error what was sent as a secret: some servers repeat what they do not like, and a message is shown in
//! statuses and logs. Done once, by `transport`, before anybody sees the error.

use std::collections::HashSet;

use url::form_urlencoded::byte_serialize;

use super::error::Error;

/// The shortest piece of a secret that is hidden: a message may be cut in the middle of one. A shorter secret is hidden
/// where it stands whole.
const PIECE: usize = 8;

/// Cuts these secrets out, as they are and as they stand in a form.
pub(super) fn cut_out<'a>(error: &mut Error, secrets: impl IntoIterator<Item = &'a str>) {
    let Some(api) = error.api_mut() else { return };
    for secret in secrets {
        let encoded = byte_serialize(secret.as_bytes()).collect::<String>();
        for secret in [secret, &encoded] {
            api.message = without(&api.message, secret);
            for word in [&mut api.error_code, &mut api.request_id] {
                *word = word.take().filter(|word| without(word, secret) == *word);
            }
        }
    }
}

fn without(text: &str, secret: &str) -> String {
    let piece = secret.len().min(PIECE);
    if piece == 0 || text.len() < piece {
        return text.to_owned();
    }
    let pieces: HashSet<&[u8]> = secret.as_bytes().windows(piece).collect();
    let mut hidden = vec![false; text.len()];
    for (at, window) in text.as_bytes().windows(piece).enumerate() {
        if pieces.contains(window) {
            hidden[at..at + piece].fill(true);
        }
    }
    let mut clean = String::new();
    let mut hiding = false;
    for (at, c) in text.char_indices() {
        let hide = hidden[at..at + c.len_utf8()].contains(&true);
        match (hide, hiding) {
            (false, _) => clean.push(c),
            (true, false) => clean.push('…'),
            (true, true) => {}
        }
        hiding = hide;
    }
    clean
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::error::ApiError;
    use super::*;

    const SECRET: &str = "S3cr~t/with+marks=and.more";

    #[test]
    fn no_piece_of_a_secret_is_left() {
        let encoded = byte_serialize(SECRET.as_bytes()).collect::<String>();
        for message in [
            format!("bad secret {SECRET} given"),
            format!("cut off: {}", &SECRET[..12]),
            format!("the end of it: {}", &SECRET[10..]),
            format!("refused: client_secret={encoded}&scope=x"),
        ] {
            let api = ApiError {
                message: message.clone(),
                error_code: Some(SECRET.to_owned()),
                request_id: Some("r-1".to_owned()),
                ..ApiError::default()
            };
            let mut error = Error::Unauthenticated(api);
            cut_out(&mut error, [SECRET]);
            let told = error.to_string();
            for piece in ["S3cr", "with", "marks", "and.more"] {
                assert!(!told.contains(piece), "{message} → {told}");
            }
            assert!(told.contains('…') && told.contains("(request r-1)"), "{message} → {told}");
        }
    }

    #[test]
    fn what_is_no_secret_stays_as_it_is() {
        for (text, secret, expected) in [
            ("Client authentication failed", SECRET, "Client authentication failed"),
            ("", SECRET, ""),
            ("a short one: abc.", "abc", "a short one: …."),
            ("ab only", "abc", "ab only"),
            ("nothing was sent", "", "nothing was sent"),
            ("ä twelve-chars ö", "twelve-chars", "ä … ö"),
        ] {
            assert_eq!(without(text, secret), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_keeps_a_long_piece(before in ".{0,40}", secret in "[ -~]{8,60}", after in ".{0,40}") {
            let clean = without(&format!("{before}{secret}{after}"), &secret);
            for piece in secret.as_bytes().windows(PIECE) {
                prop_assert!(!clean.as_bytes().windows(PIECE).any(|window| window == piece));
            }
        }
    }
}
