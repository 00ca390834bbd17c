//! A person's browser without JavaScript: follows redirects, keeps cookies, presses the button.

use std::collections::BTreeMap;

use entitled::sandbox::story::Person;
use reqwest::header::HeaderMap;
use reqwest::redirect::Policy;
use url::Url;

use crate::world::World;

/// What the outside calls the daemon in these tests.
const OUTSIDE: &str = "https://lic.vizmaker.example";

/// See the module.
#[derive(Clone)]
pub(super) struct Browser {
    http: reqwest::Client,
    daemon: String,
    pub(super) cookies: BTreeMap<String, String>,
    /// What the daemon answered, oldest first.
    pub(super) answers: Vec<Page>,
}

/// One answer.
#[derive(Clone, Debug)]
pub(super) struct Page {
    pub(super) status: u16,
    pub(super) path: String,
    pub(super) headers: HeaderMap,
    pub(super) html: String,
}

impl Browser {
    pub(super) fn new(world: &World) -> Self {
        let http = reqwest::Client::builder().no_proxy().redirect(Policy::none()).build().unwrap();
        let daemon = format!("http://{}", world.daemon.public);
        Self { http, daemon, cookies: BTreeMap::new(), answers: Vec::new() }
    }

    pub(super) fn moved_to(&mut self, world: &World) {
        self.daemon = format!("http://{}", world.daemon.public);
    }

    /// From the link to the purchase, signing in on the way.
    pub(super) async fn arrive(&mut self, link: &str, person: Person) -> Page {
        let sent = self.step(link).await;
        self.sign_in(&sent, person).await
    }

    /// Signs in where an answer leads to, and follows to the end.
    pub(super) async fn sign_in(&mut self, sent: &Page, person: Person) -> Page {
        let to = self.authorized(sent, person, |_| {}).await;
        self.get(&to).await
    }

    /// Signs in, and where Entra then leads to: path and query of the daemon.
    pub(super) async fn authorized(
        &self,
        sent: &Page,
        person: Person,
        spoil: impl FnOnce(&mut Url),
    ) -> String {
        assert_eq!(sent.status, 303, "{}", sent.html);
        let mut to = Url::parse(sent.header("location")).unwrap();
        let hint = format!("{}/{}", person.tenant, person.user);
        to.query_pairs_mut().append_pair("login_hint", &hint);
        spoil(&mut to);
        let answer = self.http.get(to).send().await.unwrap();
        let status = answer.status().as_u16();
        let location = answer.headers().get("location").cloned();
        assert_eq!(status, 302, "{}", answer.text().await.unwrap());
        let location = location.unwrap().to_str().unwrap().to_owned();
        location.strip_prefix(OUTSIDE).unwrap().to_owned()
    }

    /// Loads a page of the daemon's, following its redirects.
    pub(super) async fn get(&mut self, path: &str) -> Page {
        let mut page = self.step(path).await;
        while page.status == 303 {
            page = self.step(page.header("location")).await;
        }
        page
    }

    /// One request, no redirect followed.
    pub(super) async fn step(&mut self, path: &str) -> Page {
        let request = self.http.get(format!("{}{path}", self.daemon));
        self.send(path, request).await
    }

    /// Presses the button of a page.
    pub(super) async fn press(&mut self, page: &Page) -> Page {
        let form = page.html.split_once("name=\"form\" value=\"").expect("a form").1;
        let form = form.split_once('"').unwrap().0.to_owned();
        let page = self.post(&[("form", &form)], &[]).await;
        if page.status == 303 { self.get(page.header("location")).await } else { page }
    }

    /// Sends a form.
    pub(super) async fn post(&mut self, form: &[(&str, &str)], more: &[(&str, &str)]) -> Page {
        let path = "/marketplace/landing/purchase";
        let mut request = self.http.post(format!("{}{path}", self.daemon)).form(form);
        for (name, value) in more {
            request = request.header(*name, *value);
        }
        self.send(path, request).await
    }

    async fn send(&mut self, path: &str, request: reqwest::RequestBuilder) -> Page {
        let cookies: Vec<String> =
            self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request =
            if cookies.is_empty() { request } else { request.header("cookie", cookies.join("; ")) };
        let answer = request.send().await.unwrap();
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        for set in headers.get_all("set-cookie") {
            let pair = set.to_str().unwrap().split(';').next().unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            self.cookies.insert(name.to_owned(), value.to_owned());
        }
        let path = path.split('?').next().unwrap().to_owned();
        let page = Page { status, path, headers, html: answer.text().await.unwrap() };
        self.answers.push(page.clone());
        page
    }
}

impl Page {
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |it| it.to_str().unwrap())
    }

    /// Has this status, and these words in its title.
    #[track_caller]
    pub(super) fn shows(self, status: u16, words: &str) -> Self {
        let title = self.html.split_once("<h1>").and_then(|(_, it)| it.split_once("</h1>"));
        let title = title.map_or("no title", |(title, _)| title);
        assert!(
            self.status == status && title.contains(words),
            "{status} {words} expected: {} {title}\n{}",
            self.status,
            self.html
        );
        self
    }
}
