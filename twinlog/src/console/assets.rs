//! The page's files, compiled in: the binary is all that is installed.

/// A file of the page.
pub(super) struct Asset {
    /// Its path below the root.
    pub(super) path: &'static str,
    /// Its media type.
    pub(super) kind: &'static str,
    /// What is in it.
    pub(super) text: &'static str,
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

macro_rules! asset {
    ($path:literal, $kind:ident, $file:literal) => {
        Asset { path: $path, kind: $kind, text: include_str!(concat!("page/", $file)) }
    };
}

const ALL: [Asset; 17] = [
    asset!("/", HTML, "index.html"),
    asset!("/icon.svg", SVG, "icon.svg"),
    asset!("/base.css", CSS, "base.css"),
    asset!("/parts.css", CSS, "parts.css"),
    asset!("/main.js", SCRIPT, "main.js"),
    asset!("/dom.js", SCRIPT, "dom.js"),
    asset!("/format.js", SCRIPT, "format.js"),
    asset!("/words.js", SCRIPT, "words.js"),
    asset!("/actions.js", SCRIPT, "actions.js"),
    asset!("/overview.js", SCRIPT, "overview.js"),
    asset!("/picture.js", SCRIPT, "picture.js"),
    asset!("/charts.js", SCRIPT, "charts.js"),
    asset!("/link.js", SCRIPT, "link.js"),
    asset!("/conflicts.js", SCRIPT, "conflicts.js"),
    asset!("/verify.js", SCRIPT, "verify.js"),
    asset!("/form.js", SCRIPT, "form.js"),
    asset!("/signin.js", SCRIPT, "signin.js"),
];

/// The file at this path.
pub(super) fn find(path: &str) -> Option<&'static Asset> {
    ALL.iter().find(|asset| asset.path == path)
}

#[cfg(test)]
mod tests {
    use super::{ALL, find};

    #[test]
    fn the_page_names_nothing_that_is_not_compiled_in_and_nothing_from_elsewhere() {
        for asset in &ALL {
            for quote in ["from '", "src=\"", "href=\""] {
                for rest in asset.text.split(quote).skip(1) {
                    let name = rest.split(['\'', '"']).next().unwrap_or_default();
                    if name.starts_with('#') {
                        continue;
                    }
                    let path = format!("/{}", name.trim_start_matches("./"));
                    assert!(find(&path).is_some(), "{} names {name}", asset.path);
                }
            }
            let elsewhere = asset.text.replace("http://www.w3.org/2000/svg", "");
            assert!(!elsewhere.contains("http://") && !elsewhere.contains("https://"), "{}", asset.path);
            // What the page's own policy would refuse to run or show.
            assert!(!asset.text.contains("innerHTML") && !asset.text.contains(" style=\""), "{}", asset.path);
        }
    }
}
