//! Prints the OpenAPI document, for `docs/openapi.json`.

#[expect(clippy::print_stdout, reason = "it is what the example is for")]
fn main() {
    print!("{}", api::openapi_json());
}
