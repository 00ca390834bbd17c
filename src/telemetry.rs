//! Logs: where they go, in which form, and errors with all their causes.
//!
//! `ENTITLED_LOG` filters (`debug`, `entitled::sync=debug,info`); `ENTITLED_LOG_FORMAT=json`
//! writes one JSON object a line. Under systemd each line begins with its syslog priority, so
//! that `journalctl -p warning` works.

use std::error::Error;
use std::fmt;
use std::io::IsTerminal as _;

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::{Format, Full, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{EnvFilter, fmt as subscriber};

/// What a daemon logs when `ENTITLED_LOG` is not set: ours from info on, the libraries' from warn
/// on.
pub const TELLING: &str = "warn,entitled=info";

/// What a command for people logs when `ENTITLED_LOG` is not set.
pub const QUIET: &str = "error";

/// Libraries that tell too much even when everything is wanted.
const NOISY: &[&str] = &["h2=info", "hyper=info", "hyper_util=info", "rustls=info", "sled=info"];

/// In which form lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// For people, with colours if asked.
    Text {
        /// Whether to colour.
        colours: bool,
    },
    /// `<6>` and the line, without a time: the journal has its own.
    Journal,
    /// One object a line.
    Json,
}

impl Form {
    /// The form that these variables and the terminal ask for.
    pub fn choose(variable: impl Fn(&str) -> Option<String>, terminal: bool) -> Self {
        if variable("ENTITLED_LOG_FORMAT").is_some_and(|it| it.trim().eq_ignore_ascii_case("json"))
        {
            return Self::Json;
        }
        if !terminal && variable("JOURNAL_STREAM").is_some_and(|it| !it.is_empty()) {
            return Self::Journal;
        }
        let refused = variable("NO_COLOR").is_some_and(|it| !it.is_empty());
        Self::Text { colours: terminal && !refused }
    }
}

/// Starts logging to stderr, for the rest of the process; later calls do nothing. `default` is the
/// filter when `ENTITLED_LOG` is not set: [`TELLING`] or [`QUIET`].
///
/// # Errors
///
/// `ENTITLED_LOG` is no filter, or `ENTITLED_LOG_FORMAT` names no form.
pub fn start(
    variable: impl Fn(&str) -> Option<String>,
    default: &str,
) -> Result<(), TelemetryError> {
    let form = variable("ENTITLED_LOG_FORMAT").unwrap_or_default();
    if !["", "text", "json"].contains(&form.trim().to_ascii_lowercase().as_str()) {
        return Err(TelemetryError::Form { text: form });
    }
    let filter = filter(variable("ENTITLED_LOG").as_deref(), default)?;
    let builder = subscriber().with_writer(std::io::stderr).with_env_filter(filter);
    // A second subscriber is refused; the first one stays, which is what tests need.
    let started = match Form::choose(variable, std::io::stderr().is_terminal()) {
        Form::Json => builder.json().flatten_event(true).try_init(),
        Form::Journal => builder.with_ansi(false).event_format(Prioritized::new()).try_init(),
        Form::Text { colours } => builder.with_ansi(colours).try_init(),
    };
    drop(started);
    Ok(())
}

/// Logging cannot start.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// `ENTITLED_LOG` is no filter.
    #[error(
        "ENTITLED_LOG is no filter; write a level (info) or targets with levels (entitled::sync=debug,info)"
    )]
    Filter {
        /// What is wrong with it.
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
    /// `ENTITLED_LOG_FORMAT` names no form.
    #[error("ENTITLED_LOG_FORMAT is `{text}`; write text or json")]
    Form {
        /// What it is.
        text: String,
    },
}

fn filter(asked: Option<&str>, default: &str) -> Result<EnvFilter, TelemetryError> {
    let asked = asked.map(str::trim).filter(|it| !it.is_empty()).unwrap_or(default);
    let parse = |text: &str| {
        EnvFilter::builder().parse(text).map_err(|source| TelemetryError::Filter { source })
    };
    // What was asked for by name comes last, and so wins over the quiet ones.
    let named = |it: &&&str| it.split('=').next().is_some_and(|name| asked.contains(name));
    let quiet = NOISY.iter().filter(|it| asked != default && !named(it));
    let all: Vec<&str> = quiet.copied().chain([asked]).collect();
    parse(&all.join(","))
}

/// `<N>` before each line, as `sd-daemon(3)` reads it.
struct Prioritized(Format<Full, ()>);

impl Prioritized {
    fn new() -> Self {
        Self(Format::default().without_time().with_level(false).with_ansi(false))
    }
}

impl<S, N> FormatEvent<S, N> for Prioritized
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        write!(writer, "<{}>", priority(*event.metadata().level()))?;
        self.0.format_event(context, writer, event)
    }
}

/// The syslog priority of a level.
///
/// Source: `sd-daemon(3)`, `syslog(3)`.
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}

/// The error and all its causes in one line, for a log field.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut levels = vec![error.to_string()];
    let mut cause = error.source();
    while let Some(it) = cause {
        levels.push(it.to_string());
        cause = it.source();
    }
    levels.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_follows_the_surroundings() {
        let check = |set: &[(&str, &str)], terminal, form| {
            let variable = |name: &str| {
                set.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
            };
            assert_eq!(Form::choose(variable, terminal), form, "{set:?} {terminal}");
        };
        check(&[], true, Form::Text { colours: true });
        check(&[], false, Form::Text { colours: false });
        check(&[("NO_COLOR", "1")], true, Form::Text { colours: false });
        check(&[("JOURNAL_STREAM", "8:1")], false, Form::Journal);
        check(&[("JOURNAL_STREAM", "8:1")], true, Form::Text { colours: true });
        check(&[("JOURNAL_STREAM", "8:1"), ("ENTITLED_LOG_FORMAT", "json")], false, Form::Json);
    }

    #[test]
    fn a_wrong_filter_is_an_error_and_a_wide_one_keeps_libraries_quiet() {
        assert!(filter(Some("entitled=nonsense=x"), TELLING).is_err());
        let text = filter(Some("debug"), TELLING).unwrap().to_string();
        assert!(text.contains("h2=info") && text.contains("debug"), "{text}");
        let text = filter(Some("debug,h2=trace"), TELLING).unwrap().to_string();
        assert!(text.contains("h2=trace") && !text.contains("h2=info"), "{text}");
        assert!(filter(None, TELLING).unwrap().to_string().contains("entitled=info"));
    }

    #[test]
    fn a_chain_names_every_cause() {
        let inner = std::io::Error::other("disk full");
        let outer = crate::config::ConfigError::Unreadable { path: "x".into(), source: inner };
        let text = chain(&outer);
        assert!(text.contains('x') && text.ends_with(": disk full"), "{text}");
    }

    #[test]
    fn lines_for_the_journal_begin_with_their_priority() {
        use std::sync::{Arc, Mutex};
        #[derive(Clone, Default)]
        struct Lines(Arc<Mutex<Vec<u8>>>);
        impl std::io::Write for Lines {
            fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
                self.0.lock().unwrap().extend_from_slice(bytes);
                Ok(bytes.len())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let lines = Lines::default();
        let writer = lines.clone();
        let journal = subscriber()
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .event_format(Prioritized::new())
            .finish();
        tracing::subscriber::with_default(journal, || {
            tracing::warn!(wait_s = 3, "Microsoft asked us to wait");
        });
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        assert!(text.starts_with("<4>") && text.contains("wait_s=3"), "{text}");
    }
}
