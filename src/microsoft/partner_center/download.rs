//! The file of a report: where its link leads, and what comes from there.

use std::time::Duration;

use url::Url;

use super::{Execution, PartnerCenter, REPORT_BYTES_MAX, unlike};
use crate::microsoft::error::{ErrorKind, MicrosoftError};
use crate::microsoft::http::{Answer, Outgoing};
use crate::microsoft::meter::Meter;

/// How long the download of a report may take.
const DOWNLOAD_TIMEOUT: Duration = Duration::from_mins(10);

impl PartnerCenter {
    /// The file of an execution. Our token is not sent: whoever has the link may read. One redirect
    /// is followed, to the same host or to one that keeps reports.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] when the link has run out: ask for the execution again;
    /// [`ErrorKind::Refused`] for a link that leads nowhere; transient trouble that outlasted the
    /// retries.
    pub async fn download(
        &self,
        meter: &Meter,
        execution: &Execution,
    ) -> Result<Vec<u8>, MicrosoftError> {
        const ENDPOINT: &str = "GET a report";
        let link = execution.link.as_ref().ok_or_else(|| unlike(ENDPOINT))?;
        let (mut url, mut led_on) = (self.place(link.expose())?, false);
        let mut tries = self.pace.tries(meter);
        loop {
            let outgoing = Outgoing::get(url.clone());
            let limits = (REPORT_BYTES_MAX, DOWNLOAD_TIMEOUT);
            let answer = self.http.send_within(ENDPOINT, meter, outgoing, limits).await;
            let error = match answer {
                Ok(answer) => match answer.status.as_u16() {
                    200 => return Ok(answer.body),
                    401 | 403 | 404 | 410 => {
                        let what = "the link to a report has run out before it was followed";
                        MicrosoftError::new(ErrorKind::NotFound, what)
                    }
                    300..=399 if !led_on => {
                        (url, led_on) = (self.elsewhere(&url, &answer)?, true);
                        continue;
                    }
                    300..=399 => return Err(astray("from one place to the next")),
                    status => {
                        let what = format!("the report's file cannot be fetched: {status}");
                        MicrosoftError::new(ErrorKind::Transient, what)
                    }
                },
                Err(error) => error,
            };
            tries.again(error).await?;
        }
    }

    /// Where a link leads: as it says if its host is one that keeps reports, else by its path and
    /// query alone on the configured host.
    ///
    /// Source: contract, promise 7; `[microsoft] report_hosts`.
    fn place(&self, link: &str) -> Result<Url, MicrosoftError> {
        if let Some(url) = Url::parse(link.trim()).ok().filter(|it| self.keeps_reports(it)) {
            return Ok(url);
        }
        self.files.url(&self.files.target(link)?)
    }

    /// Where an answer says that the file is.
    fn elsewhere(&self, from: &Url, answer: &Answer) -> Result<Url, MicrosoftError> {
        let location = answer.header("location").ok_or_else(|| astray("without saying where"))?;
        let to = from.join(location.trim()).map_err(|_bad| astray("to what is no address"))?;
        let is_same_host = to.origin() == from.origin() && is_plain(&to);
        if is_same_host || self.keeps_reports(&to) {
            return Ok(to);
        }
        Err(astray("to another host"))
    }

    /// Whether its host is one that keeps reports.
    fn keeps_reports(&self, url: &Url) -> bool {
        let Some(host) = url.host_str() else { return false };
        let is = |it: &String| {
            let rest = host.strip_suffix(it.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        let by_default = url.scheme() == "https" && url.port().is_none();
        by_default && is_plain(url) && self.report_hosts.iter().any(is)
    }
}

/// Whether it holds no name and no password.
fn is_plain(url: &Url) -> bool {
    url.username().is_empty() && url.password().is_none()
}

/// A redirect that is not followed.
fn astray(whither: &str) -> MicrosoftError {
    let what = format!(
        "the link to a report leads on {whither}: if Microsoft keeps reports at another host now, \
         name it in [microsoft] report_hosts; until then bring the report in by hand (`entitled \
         reports import FILE`)"
    );
    MicrosoftError::new(ErrorKind::Refused, what)
}
