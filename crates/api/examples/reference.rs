//! Prints what `docs/` holds about the API: `openapi` for `docs/openapi.json`, `errors` for `docs/errors.md`.
#![expect(clippy::print_stdout, reason = "it is what the example is for")]

fn main() -> Result<(), String> {
    match std::env::args().nth(1).as_deref() {
        Some("openapi") => print!("{}", api::openapi_json()),
        Some("errors") => print!("{}", api::error_codes()),
        _ => return Err("say openapi or errors".to_owned()),
    }
    Ok(())
}
