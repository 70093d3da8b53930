//! What part of a log is wanted, from the query (`v1.PodLogOptions`).

use crate::server::{Error, lookup::Run, query::Query};
use jiff::{SignedDuration, Timestamp};

/// What part of a log is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogOptions {
    /// Of which run of the container.
    pub run: Run,
    /// Go on with what is written from now on.
    pub follow: bool,
    /// Put the time before each line.
    pub timestamps: bool,
    /// Only lines from then on.
    pub since: Option<Timestamp>,
    /// Only the last lines of what is there.
    pub tail_lines: Option<u64>,
    /// End after this many bytes.
    pub limit_bytes: Option<u64>,
}

impl LogOptions {
    /// Reads the query; `now` is what `sinceSeconds` counts back from.
    ///
    /// # Errors
    /// [`Error::BadRequest`] naming the parameter.
    pub fn parse(query: &Query, now: Timestamp) -> Result<Self, Error> {
        let seconds = number(query, "sinceSeconds")?;
        let since_seconds = seconds.map(|seconds| {
            let past = SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX));
            now.checked_sub(past).unwrap_or(Timestamp::MIN)
        });
        let since_time = query.get("sinceTime").map(|text| text.parse().map_err(|_| wrong("sinceTime", text)));
        Ok(Self {
            run: if query.flag("previous") { Run::Previous } else { Run::Latest },
            follow: query.flag("follow"),
            timestamps: query.flag("timestamps"),
            since: since_seconds.or(since_time.transpose()?),
            tail_lines: number(query, "tailLines")?,
            limit_bytes: number(query, "limitBytes")?,
        })
    }
}

fn number(query: &Query, name: &str) -> Result<Option<u64>, Error> {
    let text = query.get(name).filter(|text| !text.is_empty());
    text.map(|text| text.parse().map_err(|_| wrong(name, text))).transpose()
}

fn wrong(name: &str, text: &str) -> Error {
    Error::BadRequest(format!("invalid value \"{text}\" for {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(query: &str) -> Result<LogOptions, Error> {
        LogOptions::parse(&Query::parse(query), Timestamp::from_second(1_000).expect("valid"))
    }

    #[test]
    fn since_seconds_counts_back_from_now() {
        let options = parse("sinceSeconds=60&tailLines=5&follow=true").expect("valid");
        assert_eq!(options.since.map(Timestamp::as_second), Some(940));
        assert_eq!((options.tail_lines, options.follow, options.timestamps), (Some(5), true, false));
    }

    #[test]
    fn wrong_values_are_named() {
        let error = parse("tailLines=-1").expect_err("negative").to_string();
        assert_eq!(error, "invalid value \"-1\" for tailLines");
        assert!(parse("sinceTime=yesterday").is_err());
        assert!(parse("sinceSeconds=99999999999999").is_ok());
    }
}
