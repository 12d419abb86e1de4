//! Bounds of what goes into a status. Texts are cut at character boundaries and say that they were cut.

/// What stands where something was cut out.
const MARK: &str = "… [cut] …";

/// The beginning of a text in at most `max` bytes, the mark included.
#[must_use]
pub fn head(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.to_owned();
    }
    let Some(room) = max.checked_sub(MARK.len()) else { return String::new() };
    format!("{}{MARK}", &text[..floor(text, room)])
}

/// The end of a text in at most `max` bytes, the mark included.
#[must_use]
pub fn tail(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.to_owned();
    }
    let Some(room) = max.checked_sub(MARK.len()) else { return String::new() };
    format!("{MARK}{}", &text[ceil(text, text.len() - room)..])
}

/// The beginning and the end of a text in at most `max` bytes: of a stack trace both matter.
#[must_use]
pub fn head_and_tail(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.to_owned();
    }
    let Some(room) = max.checked_sub(MARK.len()) else { return String::new() };
    let first = floor(text, room / 3);
    let last = ceil(text, text.len() - (room - first));
    format!("{}{MARK}{}", &text[..first], &text[last..])
}

/// Free text from outside, fit for a status or an event: terminal colour codes, control characters (but for line breaks
/// and tabs) and what turns the direction of text around are left out.
#[must_use]
pub fn clean(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '\u{1b}' {
            if chars.next_if_eq(&'[').is_some() {
                // A control sequence ends with a byte from '@' to '~'.
                for c in chars.by_ref() {
                    if ('@'..='~').contains(&c) {
                        break;
                    }
                }
            }
        } else if (!c.is_control() && !turns_text(c)) || c == '\n' || c == '\t' {
            out.push(c);
        }
    }
    out
}

/// Whether a character has what stands around it shown in another order than it is written in.
fn turns_text(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The same on one line, for conditions and events.
#[must_use]
pub fn one_line(text: &str, max: usize) -> String {
    head(&clean(text).split_whitespace().collect::<Vec<_>>().join(" "), max)
}

fn floor(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

fn ceil(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at += 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_cut_text_fits_whatever_it_holds(text in ".{0,200}", max in 0usize..120) {
            for cut in [head(&text, max), tail(&text, max), head_and_tail(&text, max)] {
                prop_assert!(cut.len() <= max.max(text.len().min(max)));
            }
        }

        #[test]
        fn a_clean_text_has_no_control_characters(text in any::<String>()) {
            prop_assert!(clean(&text).chars().all(|c| !c.is_control() || c == '\n' || c == '\t'));
            prop_assert!(!one_line(&text, 100).contains('\n'));
        }
    }

    #[test]
    fn colours_of_a_notebook_trace_are_left_out() {
        assert_eq!(clean("\u{1b}[0;31mValueError\u{1b}[0m: no\u{7} rows"), "ValueError: no rows");
    }

    #[test]
    fn nothing_turns_the_direction_of_text_around() {
        assert_eq!(clean("task \u{202e}gnp.tluser\u{2066} failed\u{200f}"), "task gnp.tluser failed");
    }

    #[test]
    fn line_breaks_and_tabs_stay() {
        assert_eq!(clean("a\n\tb\r"), "a\n\tb");
    }

    #[test]
    fn of_a_log_the_end_stays_and_of_a_message_the_beginning() {
        let log = format!("begun{}done", "x".repeat(100));
        assert_eq!(tail(&log, 20), format!("{MARK}xxxdone"));
        assert_eq!(head(&log, 20), format!("begunxx{MARK}"));
    }

    #[test]
    fn of_a_trace_the_beginning_and_the_end_stay() {
        let trace = format!("Traceback{}ValueError: no rows", "x".repeat(500));
        let cut = head_and_tail(&trace, 80);
        assert!(cut.starts_with("Traceback") && cut.ends_with("ValueError: no rows"), "{cut}");
    }
}
