//! What no log may hold: values of rows. Servers put them into their messages, and errors name a row by its key; people
//! see both in the status and in the conflict table, which ask who they are. A log goes anywhere.

/// What stands before a quoted value in a server's message.
const BEFORE_VALUES: [&str; 4] =
    ["Duplicate entry '", "value: '", "Incorrect string value '", "for partition key '"];

/// What stands before a row's key in an error of a link; it is JSON, and may itself hold braces.
const BEFORE_KEY: &str = " at {";

/// The line without values of rows.
pub(super) fn redact(line: &str) -> String {
    let mut text = line.to_owned();
    for before in BEFORE_VALUES {
        // A value may hold quotes itself: it ends with the last one before what follows a value in these messages.
        text = replace(&text, before, |rest| {
            let end = ["' for ", "' at row", "'\""].iter().filter_map(|after| rest.find(after)).min();
            end.or_else(|| rest.rfind('\'')).unwrap_or(rest.len())
        });
    }
    replace(&text, BEFORE_KEY, |rest| {
        let end = rest.find("} can't be applied").or_else(|| rest.find("} ")).or_else(|| rest.rfind('}'));
        end.unwrap_or(rest.len())
    })
}

/// Puts an ellipsis in the place of what follows each `before`, up to where `end` says.
fn replace(text: &str, before: &str, end: impl Fn(&str) -> usize) -> String {
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some((head, tail)) = rest.split_once(before) {
        out.push_str(head);
        out.push_str(before);
        out.push('…');
        rest = &tail[end(tail)..];
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::redact;

    #[test]
    fn values_and_keys_are_left_out_and_all_else_stays() {
        assert_eq!(
            redact("error=\"1062: Duplicate entry 'o'hara-7' for key 'stock.PRIMARY'\" link=eu-us"),
            "error=\"1062: Duplicate entry '…' for key 'stock.PRIMARY'\" link=eu-us"
        );
        assert_eq!(
            redact(
                "update of shop.stock at {\"id\":1,\"name\":\"x}y\"} can't be applied: the row was changed"
            ),
            "update of shop.stock at {…} can't be applied: the row was changed"
        );
        assert_eq!(
            redact(r#"{"error":"update of shop.stock at {\"id\":1} can't be applied","gtid":"a:1"}"#),
            r#"{"error":"update of shop.stock at {…} can't be applied","gtid":"a:1"}"#
        );
        assert_eq!(
            redact("Incorrect integer value: 'secret' for column 'a' at row 1"),
            "Incorrect integer value: '…' for column 'a' at row 1"
        );
        let plain = "pulling source=\"127.0.0.1:1\" semi_sync=false";
        assert_eq!(redact(plain), plain);
    }
}
