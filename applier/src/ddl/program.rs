//! What is changed in the definitions of views, triggers, routines and events, as `SHOW CREATE` gives them, before they
//! are made in another region.

use std::ops::Range;

use super::lexer::{Token, placed_tokens};
use crate::{Names, sql};

/// The definition without its `DEFINER = …`: who makes it is its definer then.
pub(crate) fn without_definer(text: &str) -> String {
    let tokens = placed_tokens(text, false);
    let Some(at) = tokens.iter().position(|(token, _)| token.is("DEFINER")) else { return text.into() };
    // `DEFINER` `=` user `@` host.
    let has_host = tokens.get(at + 3).is_some_and(|(token, _)| *token == Token::Symbol('@'));
    let next = tokens.get(at + if has_host { 5 } else { 3 });
    let end = next.map_or(text.len(), |(_, place)| place.start);
    format!("{}{}", &text[..tokens[at].1.start], &text[end..])
}

/// The definition of an event that is there and does not run: what it does comes over the link.
pub(crate) fn disabled_event(text: &str, word: &str) -> String {
    let tokens = placed_tokens(text, false);
    let is_state = |(token, _): &&(Token, Range<usize>)| token.is("ENABLE") || token.is("DISABLE");
    let mut before_body = tokens.iter().take_while(|(token, _)| !token.is("DO"));
    let Some((state, place)) = before_body.find(is_state) else { return text.into() };
    if state.is("DISABLE") {
        return text.into();
    }
    format!("{}DISABLE ON {word}{}", &text[..place.start], &text[place.end..])
}

/// The definition of a trigger on a table that has another name.
pub(crate) fn trigger_on(text: &str, table: &str) -> Option<String> {
    let tokens = placed_tokens(text, false);
    let at = tokens.iter().position(|(token, _)| token.is("ON"))? + 1;
    let begin = tokens.get(at)?.1.start;
    let qualified = tokens.get(at + 1).is_some_and(|(token, _)| *token == Token::Symbol('.'));
    let end = tokens.get(if qualified { at + 2 } else { at })?.1.end;
    Some(format!("{}{}{}", &text[..begin], sql::name(table), &text[end..]))
}

/// A name in the text that is another in the target: which one.
pub(crate) fn mentions(text: &str, names: &Names) -> Option<String> {
    let tokens = placed_tokens(text, false);
    tokens.iter().filter_map(|(token, _)| token.name()).find(|name| names.renames(name)).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::{disabled_event, trigger_on, without_definer};

    #[test]
    fn definers_are_left_out_and_nothing_else() {
        let text = "CREATE ALGORITHM=UNDEFINED DEFINER=`ro``ot`@`%` SQL SECURITY DEFINER VIEW `v` AS select 'DEFINER=x'";
        let bare = "CREATE ALGORITHM=UNDEFINED SQL SECURITY DEFINER VIEW `v` AS select 'DEFINER=x'";
        assert_eq!(without_definer(text), bare);
        assert_eq!(without_definer("CREATE DEFINER=`role` EVENT e"), "CREATE EVENT e");
        assert_eq!(without_definer("CREATE VIEW v AS SELECT 1"), "CREATE VIEW v AS SELECT 1");
    }

    #[test]
    fn events_are_there_and_do_not_run() {
        let text = "CREATE EVENT `e` ON SCHEDULE EVERY 1 DAY ON COMPLETION NOT PRESERVE ENABLE COMMENT 'ENABLE' DO set @a = 1";
        let off = "CREATE EVENT `e` ON SCHEDULE EVERY 1 DAY ON COMPLETION NOT PRESERVE DISABLE ON REPLICA COMMENT 'ENABLE' DO set @a = 1";
        assert_eq!(disabled_event(text, "REPLICA"), off);
        assert_eq!(disabled_event(off, "REPLICA"), off);
    }

    #[test]
    fn a_trigger_follows_its_table() {
        let text = "CREATE TRIGGER `tr` BEFORE INSERT ON `shop`.`t` FOR EACH ROW set new.a = 1";
        let new = "CREATE TRIGGER `tr` BEFORE INSERT ON `u` FOR EACH ROW set new.a = 1";
        assert_eq!(trigger_on(text, "u").as_deref(), Some(new));
    }
}
