//! `tinyobs dead-letters`: what a running server could not process.

use std::fmt::Write as _;

use anyhow::Context as _;
use http::Method;
use serde_json::Value;

use crate::Failure;
use crate::cli::{
    DeadLettersCommand, DiscardDeadLetterArgs, ListDeadLettersArgs, OneDeadLetterArgs,
};
use crate::client::Client;
use crate::logging::escaped;
use crate::state_command::{print, print_table, say};

const PATH: &str = "/v1/events/dead-letters";

/// Runs `tinyobs dead-letters …`.
pub(crate) fn run(command: DeadLettersCommand) -> Result<(), Failure> {
    match command {
        DeadLettersCommand::List(args) => list(args),
        DeadLettersCommand::Show(args) => show(&args),
        DeadLettersCommand::Replay(args) => replay(&args),
        DeadLettersCommand::Discard(args) => discard(&args),
    }
}

fn list(args: ListDeadLettersArgs) -> Result<(), Failure> {
    let mut parameters = vec![("limit", args.limit.to_string())];
    parameters.extend(args.consumer.map(|consumer| ("consumer", consumer)));
    parameters.extend(args.before.map(|before| ("before", before.to_string())));
    let answer = read(&Client::new(&args.server)?.get(PATH, &parameters)?)?;
    if args.json {
        return print(answer);
    }
    let letters = answer["letters"].as_array().map(Vec::as_slice).unwrap_or_default();
    let rows: Vec<_> = letters.iter().map(row).collect();
    print_table(["ID", "AT", "CONSUMER", "STATE", "SUBJECT", "TRIED", "ERROR"], &rows)?;
    for depth in answer["depths"].as_array().into_iter().flatten() {
        say(format_args!("{}: {}", text(&depth["consumer"]), depth["count"]))?;
    }
    if answer["more"] == true
        && let Some(last) = letters.last()
    {
        say(format_args!("there are older ones: --before {}", text(&last["id"])))?;
    }
    Ok(())
}

fn show(args: &OneDeadLetterArgs) -> Result<(), Failure> {
    let letter = read(&Client::new(&args.server)?.get(&format!("{PATH}/{}", args.id), &[])?)?;
    if args.json {
        return print(letter);
    }
    print(described(&letter)?)
}

fn replay(args: &OneDeadLetterArgs) -> Result<(), Failure> {
    let client = Client::new(&args.server)?;
    let answer = read(&client.send(Method::POST, &format!("{PATH}/{}/replay", args.id))?)?;
    if args.json {
        return print(answer);
    }
    match answer["state"].as_str() {
        Some("rejected") => {
            let reason = text(&answer["error"]);
            Err(Failure::Operation(anyhow::anyhow!("it is rejected again: {reason}")))
        }
        Some("replaying") => say(format_args!("its consumer gets dead letter {} again", args.id)),
        _ => say(format_args!("stored as event {}", text(&answer["event_id"]))),
    }
}

fn discard(args: &DiscardDeadLetterArgs) -> Result<(), Failure> {
    Client::new(&args.server)?.send(Method::DELETE, &format!("{PATH}/{}", args.id))?;
    say(format_args!("dead letter {} is gone", args.id))
}

fn read(answer: &[u8]) -> Result<Value, Failure> {
    Ok(serde_json::from_slice(answer).context("read the server's answer")?)
}

fn row(letter: &Value) -> [String; 7] {
    ["id", "at", "consumer", "state", "subject", "attempts", "error"]
        .map(|name| text(&letter[name]))
}

/// Returns a letter for people: everything about it, then its event, or else its bytes.
fn described(letter: &Value) -> Result<String, Failure> {
    let mut lines = String::new();
    let names =
        ["id", "at", "state", "consumer", "subject", "offset", "attempts", "error", "bytes"];
    for name in names.into_iter().filter(|name| !letter[*name].is_null()) {
        // Writing into a text does not fail.
        _ = writeln!(lines, "{name:9} {}", text(&letter[name]));
    }
    for (name, value) in letter["headers"].as_object().into_iter().flatten() {
        _ = writeln!(lines, "header    {}: {}", escaped(name), text(value));
    }
    match &letter["event"] {
        Value::Null => _ = write!(lines, "body      {}", text(&letter["body_base64"])),
        event => {
            let pretty = serde_json::to_string_pretty(event).context("write the event")?;
            let pretty: Vec<_> = pretty.lines().map(escaped).collect();
            lines.push_str(&pretty.join("\n"));
        }
    }
    Ok(lines)
}

/// Returns a text or number, harmless to a terminal.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => escaped(text).into_owned(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_letter_is_shown_with_its_event_or_its_bytes() {
        let mut letter = json!({
            "id": "12", "at": "2024-11-19T07:06:40.000Z", "state": "waiting", "consumer": "gateway",
            "subject": "events.shop.screen.view", "headers": { "a": "b\u{1b}[2J" }, "offset": null,
            "attempts": 1, "error": "no", "bytes": 3, "event": null, "body_base64": "AQID",
        });
        let head = "id        12\nat        2024-11-19T07:06:40.000Z\nstate     waiting\nconsumer  gateway\n\
                    subject   events.shop.screen.view\nattempts  1\nerror     no\nbytes     3\n\
                    header    a: b\\u001b[2J\n";
        assert_eq!(described(&letter).expect("text"), format!("{head}body      AQID"));
        letter["event"] = json!({ "id": "1" });
        assert_eq!(described(&letter).expect("text"), format!("{head}{{\n  \"id\": \"1\"\n}}"));
    }
}
