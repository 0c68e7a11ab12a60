//! Subjects of events on a message broker.

/// Returns the subject of an event: `events.{app}.{category}.{type}`.
///
/// A character that would end or widen a token of a subject becomes `_`: in an `app_id` and in a category that is the
/// dot, blanks, control characters and the wildcards `*` and `>`. The type is also put into lower case, since an
/// application's own events bear any name. Nothing of it is lost: the event itself keeps its name.
#[must_use]
pub fn subject(app_id: &str, category: &str, event_type: &str) -> String {
    let mut subject = String::with_capacity(10 + app_id.len() + category.len() + event_type.len());
    subject.push_str("events.");
    push_token(&mut subject, app_id.chars());
    subject.push('.');
    push_token(&mut subject, category.chars());
    subject.push('.');
    push_token(&mut subject, event_type.chars().flat_map(char::to_lowercase));
    subject
}

/// Appends one token, `_` if there is nothing of it.
fn push_token(subject: &mut String, characters: impl Iterator<Item = char>) {
    let before = subject.len();
    subject.extend(characters.map(|character| match character {
        '.' | '*' | '>' => '_',
        _ if character.is_whitespace() || character.is_control() => '_',
        _ => character,
    }));
    if subject.len() == before {
        subject.push('_');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(app_id: &str, category: &str, event_type: &str, expected: &str) {
        assert_eq!(subject(app_id, category, event_type), expected);
    }

    #[test]
    fn subjects_are_as_consumers_expect_them() {
        check("myapp", "screen", "view", "events.myapp.screen.view");
        check("com.example.App", "screen", "view", "events.com_example_App.screen.view");
        check("shop", "commerce", "purchase_complete", "events.shop.commerce.purchase_complete");
        check(
            "myapp",
            "custom",
            "Feature Flag.Evaluated",
            "events.myapp.custom.feature_flag_evaluated",
        );
    }

    #[test]
    fn no_name_adds_a_token_or_a_wildcard() {
        check("a", "custom", "*", "events.a.custom._");
        check("a", "custom", ">", "events.a.custom._");
        check("a", "custom", "", "events.a.custom._");
        check("a", "custom", "a\tb\r\nc\u{a0}d\0", "events.a.custom.a_b__c_d_");
        check("a", "custom", "ÄRGER", "events.a.custom.ärger");
    }
}
