//! Building schemas and finding what people mean.

use reflect::{FindError, MethodKind, Schema, Symbol};

use crate::fixture::{root, schema};

#[test]
fn methods_are_found_by_any_trailing_part_in_any_case() {
    let schema = schema();
    for query in [
        "test.v1.Users/Get",
        "/test.v1.Users/Get",
        "test.v1.Users.Get",
        "users.get",
        "Users/Get",
        "GET",
        "v1.USERS/get",
    ] {
        assert_eq!(
            schema.find_method(query).unwrap().path(),
            "/test.v1.Users/Get",
            "{query}"
        );
    }
    match schema.find_method("Users.Gte").unwrap_err() {
        FindError::NoMethod {
            service,
            suggestion,
            methods,
            ..
        } => {
            assert_eq!(service, "test.v1.Users");
            assert_eq!(suggestion.as_deref(), Some("Get"));
            assert!(methods.contains(&"Watch".to_owned()));
        }
        other => panic!("{other}"),
    }
    let text = schema.find_method("Users.Gte").unwrap_err().to_string();
    assert!(
        text.starts_with("test.v1.Users has no method 'Gte'. Did you mean 'Get'?"),
        "{text}"
    );
    assert!(matches!(
        schema.find_method("Nothing.Like.It"),
        Err(FindError::Unknown { .. })
    ));
    assert!(schema.find_method("").is_err());
}

#[test]
fn ambiguous_names_list_their_candidates() {
    let proto = |package: &str| {
        let mut file = vec![0x0a, package.len() as u8 + 6];
        file.extend_from_slice(format!("{package}.proto").as_bytes());
        file.extend_from_slice(&[0x12, package.len() as u8]);
        file.extend_from_slice(package.as_bytes());
        // message M {} ; service S { rpc Do(M) returns (M) }
        file.extend_from_slice(&[0x22, 3, 0x0a, 1, b'M']);
        let m = format!(".{package}.M");
        let mut method = vec![0x0a, 2, b'D', b'o', 0x12, m.len() as u8];
        method.extend_from_slice(m.as_bytes());
        method.extend_from_slice(&[0x1a, m.len() as u8]);
        method.extend_from_slice(m.as_bytes());
        let mut service = vec![0x0a, 1, b'S', 0x12, method.len() as u8];
        service.extend_from_slice(&method);
        file.extend_from_slice(&[0x32, service.len() as u8]);
        file.extend_from_slice(&service);
        file
    };
    let schema = Schema::from_files([proto("aa"), proto("bb")]).unwrap();
    match schema.find_method("S.do").unwrap_err() {
        FindError::Ambiguous { candidates, .. } => assert_eq!(candidates, ["aa.S.Do", "bb.S.Do"]),
        other => panic!("{other}"),
    }
    assert_eq!(schema.find_method("aa.s.do").unwrap().path(), "/aa.S/Do");
}

#[test]
fn symbols_of_every_kind_are_found() {
    let schema = schema();
    assert!(matches!(
        schema.find_symbol("users"),
        Ok(Symbol::Service(_))
    ));
    assert!(matches!(
        schema.find_symbol("test.v1.User"),
        Ok(Symbol::Message(_))
    ));
    assert!(matches!(schema.find_symbol("mood"), Ok(Symbol::Enum(_))));
    assert!(matches!(
        schema.find_symbol("Users.Watch"),
        Ok(Symbol::Method(_))
    ));
    let text = schema.find_symbol("Usres").unwrap_err().to_string();
    assert!(text.contains("Did you mean 'test.v1.User"), "{text}");
}

#[test]
fn kinds_and_comments_are_known() {
    let schema = schema();
    let kind = |name: &str| schema.find_method(name).unwrap().kind();
    assert_eq!(kind("Users.Get"), MethodKind::Unary);
    assert_eq!(kind("Users.Watch"), MethodKind::ServerStream);
    assert_eq!(kind("Users.Import"), MethodKind::ClientStream);
    assert_eq!(kind("Users.Chat"), MethodKind::Bidi);
    assert_eq!(schema.comment("test.v1.Users.Get"), Some("Finds one."));
    assert_eq!(
        schema.comment("test.v1.All.int32_value"),
        Some("A whole number.")
    );
    assert_eq!(schema.comment("test.v1.Mood.GOOD"), Some("All is well."));
    assert_eq!(schema.comment("test.v1.User"), None);
}

#[test]
fn the_built_in_types_are_there_and_a_set_survives_its_own_export() {
    let builtin = Schema::builtin();
    for name in [
        "google.protobuf.Timestamp",
        "google.protobuf.Struct",
        "google.rpc.Status",
        "google.rpc.BadRequest",
        "google.api.HttpRule",
        "google.api.HttpBody",
    ] {
        assert!(builtin.message(name).is_some(), "{name}");
    }
    let again = Schema::from_descriptor_set(&schema().to_descriptor_set()).unwrap();
    assert_eq!(again.services().count(), schema().services().count());
    assert_eq!(again.files().count(), schema().files().count());
}

#[test]
fn sets_that_do_not_decode_or_fit_are_refused_in_words() {
    let error = Schema::from_descriptor_set(b"not a set")
        .unwrap_err()
        .to_string();
    assert!(error.starts_with("descriptor set: "), "{error}");
    // A field of a type that nobody declares.
    let field = [
        &[0x0a, 1, b'f', 0x18, 1, 0x20, 1, 0x28, 11, 0x32, 4][..],
        b".x.Y",
    ]
    .concat();
    let message = [&[0x0a, 1, b'M', 0x12, field.len() as u8][..], &field].concat();
    let file = [&[0x0a, 1, b'f', 0x22, message.len() as u8][..], &message].concat();
    let error = Schema::from_files([file]).unwrap_err().to_string();
    assert!(error.contains("x.Y"), "{error}");
}

#[tokio::test]
async fn files_that_cannot_be_used_say_why() {
    let error = reflect::from_protosets(&["/no/such/file".into()])
        .await
        .unwrap_err()
        .to_string();
    assert!(error.starts_with("/no/such/file: "), "{error}");
    let dir = tempfile::tempdir().unwrap();
    let empty = dir.path().join("empty.binpb");
    std::fs::write(&empty, b"").unwrap();
    let error = reflect::from_protosets(&[empty])
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("holds no descriptors"), "{error}");
    let broken = dir.path().join("broken.proto");
    std::fs::write(&broken, "syntax = \"proto3\"; message {").unwrap();
    let error = reflect::from_protos(&[broken], &[])
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("broken.proto:1"), "{error}");
    assert!(root().join("tests/proto").exists());
}
