//! The first page: files that are part of the binary, with headers that let them do little.
//!
//! Nothing is loaded from elsewhere and no text becomes HTML: the policy forbids both to the browser,
//! whatever a topic or group is called.

use axum::{
    Router,
    http::{
        HeaderName, HeaderValue,
        header::{
            CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY,
            X_CONTENT_TYPE_OPTIONS,
        },
    },
    response::IntoResponse,
    routing::get,
};

use super::HttpState;

/// What the page may do: run and show its own files, and ask this listener.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
    require-trusted-types-for 'script'";

/// One file.
struct File {
    path: &'static str,
    content_type: &'static str,
    text: &'static str,
}

macro_rules! files {
    ($($path:literal = $name:literal, $content_type:literal;)*) => {
        &[$(File {
            path: $path,
            content_type: concat!($content_type, "; charset=utf-8"),
            text: include_str!(concat!("page/", $name)),
        }),*]
    };
}

const FILES: &[File] = files! {
    "/" = "index.html", "text/html";
    "/page.css" = "page.css", "text/css";
    "/page.js" = "page.js", "text/javascript";
    "/chart.js" = "chart.js", "text/javascript";
    "/format.js" = "format.js", "text/javascript";
    "/icon.svg" = "icon.svg", "image/svg+xml";
};

/// A route for each file.
pub(super) fn routes() -> Router<HttpState> {
    FILES.iter().fold(Router::new(), |router, file| {
        router.route(file.path, get(move || async move { answer(file) }))
    })
}

fn answer(file: &'static File) -> impl IntoResponse {
    let headers = headers(file.content_type);
    (headers, file.text)
}

/// The headers of everything that a browser shows or reads. After an upgrade it must not run an old
/// script against a new broker, so nothing is kept.
pub(super) fn headers(content_type: &'static str) -> [(HeaderName, HeaderValue); 6] {
    [
        (CONTENT_TYPE, content_type),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
        (CACHE_CONTROL, "no-store"),
    ]
    .map(|(name, value)| (name, HeaderValue::from_static(value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_file_names_another_place_or_makes_html_of_text() {
        for file in FILES {
            let foreign = file.text.replace("http://www.w3.org/2000/svg", "");
            for banned in [
                "http:",
                "https:",
                "//cdn",
                "innerHTML",
                "outerHTML",
                "insertAdjacent",
                "document.write",
                "eval(",
                "style=",
                "onclick=",
                "<script>",
            ] {
                assert!(!foreign.contains(banned), "{}: {banned}", file.path);
            }
        }
    }

    #[test]
    fn every_file_that_the_page_names_is_served() {
        let text: String = FILES.iter().map(|file| file.text).collect();
        for file in &FILES[1..] {
            let name = file.path.trim_start_matches('/');
            assert!(text.contains(&format!("{name}\"")), "{name} is used");
        }
        let names = text.split('"').filter_map(|part| part.strip_prefix("./"));
        for name in names.filter(|name| name.contains('.')) {
            let is_served = FILES
                .iter()
                .any(|file| file.path.trim_start_matches('/') == name);
            assert!(is_served, "{name}");
        }
    }
}
