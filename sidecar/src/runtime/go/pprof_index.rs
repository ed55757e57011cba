//! The profiles that a page of `net/http/pprof` names. Pure; called by [`super::pprof_probe`].

use crate::event::Event;

/// Names we take: Go has ten of its own, a program adds some.
const MOST: usize = 64;

/// What every index links beside its profiles, and what has an event of its own kind of answer.
const NO_PROFILES: [&str; 2] = ["cmdline", "symbol"];

/// The names in the order of the page; none if it has another form than Go's.
pub(super) fn profiles(page: &str) -> Vec<String> {
    // Every row of Go's table is `<a href='heap?debug=1'>heap</a>`, in old versions with other quotes.
    let mut profiles = Vec::new();
    for link in page.split("?debug=1").skip(1).take(MOST) {
        let text = link.split_once('>').and_then(|(_, text)| text.split_once("</a>"));
        let Some((text, _)) = text else { continue };
        let name = unescape(text);
        if is_profile(&name) && !profiles.contains(&name) {
            profiles.push(name);
        }
    }
    profiles
}

/// True of a name that an event can have and that leads to no other place.
fn is_profile(name: &str) -> bool {
    let place = name.split('/').all(|part| !matches!(part, "" | "." | ".."));
    place && name.parse::<Event>().is_ok() && !NO_PROFILES.contains(&name)
}

/// What Go's `html.EscapeString` did.
fn unescape(text: &str) -> String {
    let plain = text.replace("&lt;", "<").replace("&gt;", ">").replace("&#34;", "\"");
    plain.replace("&#39;", "'").replace("&amp;", "&")
}

#[cfg(test)]
mod tests {
    use super::profiles;

    #[test]
    fn the_names_are_those_of_the_table() {
        let page = "<td>Profile</td></thead>\n\
            <tr><td>3</td><td><a href='allocs?debug=1'>allocs</a></td></tr>\n\
            <tr><td>0</td><td><a href='cmdline?debug=1'>cmdline</a></td></tr>\n\
            <tr><td>7</td><td><a href='shop/carts.open?debug=1'>shop/carts.open</a></td></tr>\n\
            <tr><td>7</td><td><a href='%3Cpool%3E?debug=1'>&lt;pool&gt;</a></td></tr>\n\
            <tr><td>7</td><td><a href=\"old?debug=1\">old</a></td></tr>\n\
            </table>\n<a href=\"goroutine?debug=2\">full goroutine stack dump</a>";
        assert_eq!(profiles(page), ["allocs", "shop/carts.open", "<pool>", "old"]);
    }

    #[test]
    fn what_leads_elsewhere_or_is_no_name_is_left_out() {
        for name in ["../../shutdown", "/admin", "a//b", "a b", "a?x", "", "a\n", "&quot;"] {
            let page = format!("<a href='x?debug=1'>{name}</a>");
            assert_eq!(profiles(&page), [""; 0], "{name:?}");
        }
        assert_eq!(profiles("<a href='x?debug=1'>cut"), [""; 0]);
        let many: String = (0..1000).map(|n| format!("<a href='{n}?debug=1'>p{n}</a>")).collect();
        assert_eq!(profiles(&many).len(), 64);
    }
}
