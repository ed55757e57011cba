//! The description of the API by the rules of OpenAPI itself, so that generators of clients can read it.

use std::collections::HashSet;

use e2e::{Server, cache};
use serde_json::Value;

/// Every value called `schema` at any depth, and every schema that has a name.
fn schemas<'a>(value: &'a Value, found: &mut Vec<&'a Value>) {
    let members: Vec<(&str, &Value)> = match value {
        Value::Object(members) => members.iter().map(|(name, value)| (name.as_str(), value)).collect(),
        Value::Array(items) => items.iter().map(|item| ("", item)).collect(),
        _ => Vec::new(),
    };
    for (name, member) in members {
        if name == "schema" {
            found.push(member);
        }
        schemas(member, found);
    }
}

#[test]
fn the_document_is_valid_openapi_and_its_operations_have_ids_of_their_own() {
    let document = Server::default().get("/openapi.json").ok().json();
    let schema = std::fs::read(cache::file("openapi-schema/schema.json")).unwrap();
    let schema: Value = serde_json::from_slice(&schema).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let errors = validator.iter_errors(&document);
    let errors: Vec<_> = errors
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{errors:#?}");

    // Of schemas that one says nothing: they are JSON Schema.
    let mut found = Vec::new();
    schemas(&document, &mut found);
    found.extend(document["components"]["schemas"].as_object().unwrap().values());
    assert!(found.len() > 20, "{}", found.len());
    for schema in found {
        let valid = jsonschema::meta::validate(schema);
        assert!(valid.is_ok(), "{schema}: {:?}", valid.err());
    }

    // What no schema can say.
    let mut ids = HashSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let id = operation["operationId"].as_str().unwrap();
            assert!(ids.insert(id), "{method} {path}: {id} is taken");
            let parameters = operation["parameters"].as_array().into_iter().flatten();
            let declared: HashSet<_> = parameters
                .filter(|parameter| parameter["in"] == "path")
                .map(|parameter| format!("{{{}}}", parameter["name"].as_str().unwrap()))
                .collect();
            let used: HashSet<_> = path
                .split('/')
                .filter(|part| part.starts_with('{'))
                .map(str::to_owned)
                .collect();
            assert_eq!(declared, used, "{method} {path}");
        }
    }
}
