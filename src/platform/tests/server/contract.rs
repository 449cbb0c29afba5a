//! `/openapi.json` as a contract: it lists every rule, and each answer is as it says.

use platform::server::Auth;
use reflect::Schema;
use serde_json::{Value, json};

use crate::{
    echo::descriptors,
    world::{Answer, World},
};

/// Fails unless the answer is as the server's document has it for this operation: every member described, and of its
/// type.
pub async fn conforms(world: &World, verb: &str, path: &str, answer: &Answer) {
    let mut document = world.get("/openapi.json").await.json();
    let mut schema = if answer.status == 200 {
        let content = &operation(&document, verb, path)["responses"]["200"]["content"];
        let kind = answer.header("content-type").unwrap();
        content
            .get(kind)
            .unwrap_or_else(|| panic!("{verb} {path} answers {kind}, and {content} has none"))["schema"]
            .clone()
    } else {
        document["components"]["responses"]["Error"]["content"]["application/json"]["schema"]
            .clone()
    };
    for message in document["components"]["schemas"]
        .as_object_mut()
        .unwrap()
        .values_mut()
    {
        message["additionalProperties"] = json!(false);
    }
    schema["components"] = document["components"].take();
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    let is_stream = schema.get("oneOf").is_some();
    let values: Vec<Value> = if answer.header("content-type") == Some("text/event-stream") {
        vec![json!(answer.text())]
    } else if is_stream {
        let lines = answer.text().lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    } else {
        vec![answer.json()]
    };
    for value in values {
        if let Err(error) = validator.validate(&value) {
            panic!(
                "{verb} {path}: {} at {}: {value}",
                error,
                error.instance_path()
            );
        }
    }
}

/// What the document has for a request: of several paths that fit, one as long as it, with the fewest parameters.
fn operation<'d>(document: &'d Value, verb: &str, path: &str) -> &'d Value {
    let path = path.split('?').next().unwrap();
    let asked: Vec<&str> = path.split('/').collect();
    let fits = |template: &str| {
        let parts: Vec<&str> = template.split('/').collect();
        let open = |part: &str| part.starts_with('{') && part.ends_with('}');
        let is_greedy = parts.last().is_some_and(|part| open(part)) && parts.len() < asked.len();
        let same = parts.iter().zip(&asked).all(|(part, asked)| {
            let verb = part.split_once("}:").map(|(_, verb)| format!(":{verb}"));
            open(part) || part == asked || verb.is_some_and(|verb| asked.ends_with(&verb))
        });
        same && (parts.len() == asked.len() || is_greedy)
    };
    let paths = document["paths"].as_object().unwrap();
    let verb = verb.to_lowercase();
    let mut found: Vec<(&String, &Value)> = paths
        .iter()
        .filter(|(template, item)| fits(template) && item.get(&verb).is_some())
        .collect();
    found.sort_by_key(|(template, _)| {
        let is_short = template.split('/').count() < asked.len();
        (is_short, template.matches('{').count(), template.len())
    });
    let (_, item) = found
        .first()
        .unwrap_or_else(|| panic!("{verb} {path} is not in the document"));
    &item[&verb]
}

#[tokio::test]
async fn the_document_has_every_rule_and_each_under_an_id_of_its_own() {
    let world = World::new().await;
    let document = world.get("/openapi.json").await.json();
    let schema = Schema::from_descriptor_set(descriptors()).unwrap();
    let service = schema.service("echo.v1.Echo").unwrap();
    let rules: usize = service
        .methods()
        .map(|method| method.http_rules().len().max(1))
        .sum();
    let operations: Vec<&Value> = document["paths"]
        .as_object()
        .unwrap()
        .values()
        .flat_map(|item| item.as_object().unwrap().values())
        .collect();
    assert_eq!(operations.len(), rules);
    let ids: std::collections::HashSet<&str> = operations
        .iter()
        .map(|operation| operation["operationId"].as_str().unwrap())
        .collect();
    assert_eq!(ids.len(), rules);
    for (path, item) in document["paths"].as_object().unwrap() {
        for operation in item.as_object().unwrap().values() {
            // What stands in braces is a parameter, and no path parameter is anywhere else.
            let named: Vec<String> = operation["parameters"]
                .as_array()
                .unwrap()
                .iter()
                .filter(|parameter| parameter["in"] == "path")
                .map(|parameter| format!("{{{}}}", parameter["name"].as_str().unwrap()))
                .collect();
            assert_eq!(path.matches('{').count(), named.len(), "{path}");
            assert!(named.iter().all(|name| path.contains(name)), "{path}");
        }
    }
}

#[tokio::test]
async fn the_document_tells_what_the_rules_take() {
    let world = World::new().await;
    let document = world.get("/openapi.json").await.json();
    assert_eq!(document["openapi"], "3.1.0");
    let paths = &document["paths"];
    for (path, verb) in [
        ("/v1/all/{id}", "get"),
        ("/v1/all/{id}:verb", "get"),
        (
            "/v1/named/shelves/{inner.name_1}/books/{inner.name_2}",
            "get",
        ),
        ("/v1/deep/{name}", "get"),
        ("/v1/either/users/{name}", "get"),
        ("/v1/either/orders/{name}", "get"),
        ("/v1/greedy/{name}", "get"),
        ("/v1/greedy/{name+}", "get"),
        ("/v1/all", "post"),
        ("/v1/all/{id}", "patch"),
    ] {
        assert!(
            paths[path][verb].is_object(),
            "{verb} {path} is not in {paths}"
        );
    }
    let parameters = paths["/v1/all/{id}"]["get"]["parameters"]
        .as_array()
        .unwrap();
    let named = |name: &str| parameters.iter().find(|one| one["name"] == name);
    assert_eq!(named("id").unwrap()["in"], "path");
    assert_eq!(named("big").unwrap()["schema"]["format"], "int64");
    assert_eq!(named("unsigned").unwrap()["schema"]["format"], "uint64");
    assert_eq!(named("kind").unwrap()["schema"]["enum"][1], "ROUND");
    assert_eq!(named("inner.count").unwrap()["in"], "query");
    let json = &named("any").unwrap()["content"]["application/json"];
    assert!(json["schema"].is_object(), "{parameters:?}");
    assert!(named("labels").is_none() && named("list").is_none());
    let patched = &paths["/v1/all/{id}"]["patch"]["parameters"][0];
    assert!(patched["description"].as_str().unwrap().contains("all.id"));
    let text = document.to_string();
    // Whatever is referred to is there.
    for reference in text.split("\"#/components/schemas/").skip(1) {
        let name = reference.split('"').next().unwrap();
        assert!(
            document["components"]["schemas"][name].is_object(),
            "{name} is missing"
        );
    }
    let inner = &document["components"]["schemas"]["echo.v1.Inner"]["properties"];
    assert_eq!(inner["words"]["type"], "array");
    assert_eq!(inner["inner"]["anyOf"][1]["type"], "null");
    assert!(
        paths["/v1/all"]["post"]["requestBody"]
            .get("required")
            .is_none()
    );
    for (path, verb) in [
        ("/v1/upload", "requestBody"),
        ("/v1/files/{name}", "requestBody"),
    ] {
        assert!(
            paths[path]["post"][verb]["content"]["*/*"].is_object(),
            "{path}"
        );
    }
}

#[tokio::test]
async fn the_document_says_whether_callers_need_a_credential() {
    use platform::server::Surface;
    let open = World::new().await.get("/openapi.json").await.json();
    assert!(open.get("security").is_none());
    let auth = Auth::token("s3cret").open(&[Surface::Reflection]);
    let world = World::with(|service| service.auth(auth)).await;
    let document = world.get("/openapi.json").await.json();
    for need in document["security"].as_array().unwrap() {
        let name = need.as_object().unwrap().keys().next().unwrap();
        assert!(document["components"]["securitySchemes"][name].is_object());
    }
}
