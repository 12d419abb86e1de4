//! One log line as one JSON object: what the line says and what it is about (the spans around it) side by side at the top, so
//! that a search for `run_id` finds every line about a run.

use std::fmt;

use serde_json::{Map, Value};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, JsonFields, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormattedFields};
use tracing_subscriber::registry::{LookupSpan, Scope};

use super::OURS;

/// Writes lines like this. For fields that [`JsonFields`] has written.
pub(super) struct OneObject;

impl<S> FormatEvent<S, JsonFields> for OneObject
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, JsonFields>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = Map::new();
        for span in context.event_scope().into_iter().flat_map(Scope::from_root) {
            // Libraries have spans of their own, of which nobody knows what they say.
            if span.metadata().target().starts_with(OURS)
                && let Some(fields) = span.extensions().get::<FormattedFields<JsonFields>>()
            {
                line.extend(object(&fields.fields));
            }
        }
        let mut fields = String::new();
        context.format_fields(Writer::new(&mut fields), event)?;
        line.extend(object(&fields));
        let mut time = String::new();
        SystemTime.format_time(&mut Writer::new(&mut time))?;
        for (name, value) in [
            ("timestamp", time.as_str()),
            ("level", event.metadata().level().as_str()),
            ("target", event.metadata().target()),
        ] {
            line.insert(name.to_owned(), value.into());
        }
        writeln!(writer, "{}", Value::Object(line))
    }
}

fn object(fields: &str) -> Map<String, Value> {
    serde_json::from_str(fields).unwrap_or_default()
}
