//! Prints the OpenAPI document, to be committed as `openapi.json`.

fn main() {
    let document = tidings_api::document();
    let json = document
        .to_pretty_json()
        .expect("the document holds only what JSON can say");
    println!("{json}");
}
