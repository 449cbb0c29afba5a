use super::*;
use crate::kv::{LeaseId, Revision};

fn entry(key: &str, value: &str) -> Entry {
    Entry {
        key: key.into(),
        value: value.as_bytes().into(),
        create_revision: Revision(1),
        mod_revision: Revision(2),
        version: 1,
        lease: LeaseId::new(7),
    }
}

/// What a record is read as: format, service, id, endpoints, weight.
fn told(prefix: &str, key: &str, value: &str) -> String {
    match read(&Prefix::new(prefix).unwrap(), &entry(key, value)) {
        None => "unknown".to_owned(),
        Some(Err(cause)) => format!("broken: {cause}"),
        Some(Ok(None)) => "marker".to_owned(),
        Some(Ok(Some(instance))) => {
            assert_eq!(instance.lease, LeaseId::new(7));
            let record = &instance.record;
            let endpoints: Vec<String> = record.endpoints.iter().map(ToString::to_string).collect();
            format!(
                "{} {} {} {} w{}",
                instance.format,
                record.service,
                record.id,
                endpoints.join(","),
                record.weight
            )
        }
    }
}

#[test]
fn each_frameworks_record_is_read_as_it_is_written() {
    for (prefix, key, value, expected) in [
        (
            "/microservices/",
            "/microservices/user/5f0c",
            r#"{"id":"5f0c","name":"user","version":"v1","metadata":null,"endpoints":["grpc://10.0.0.1:9000","http://10.0.0.1:8000"]}"#,
            "kratos user 5f0c grpc://10.0.0.1:9000,http://10.0.0.1:8000 w100",
        ),
        (
            "/microservices/",
            "/microservices/user/5f0c",
            r#"{"id":"5f0c","name":"user","endpoints":["grpcs://10.0.0.1:9000","http://10.0.0.1:8000?isSecure=true"]}"#,
            "kratos user 5f0c grpcs://10.0.0.1:9000,https://10.0.0.1:8000 w100",
        ),
        (
            "user.rpc/",
            "user.rpc/7587869265929863945",
            "10.0.0.1:8080",
            "unknown",
        ),
        (
            "/rpc/",
            "/rpc/user.rpc/7587869265929863945",
            "10.0.0.1:8080",
            "go-zero user.rpc 7587869265929863945 grpc://10.0.0.1:8080 w100",
        ),
        (
            "/micro/registry/",
            "/micro/registry/greeter/greeter-1f2e",
            r#"{"name":"greeter","version":"latest","metadata":null,"endpoints":[],"nodes":[{"id":"greeter-1f2e","address":"10.0.0.1:41000","metadata":{"protocol":"grpc"}}]}"#,
            "go-micro greeter greeter-1f2e grpc://10.0.0.1:41000 w100",
        ),
        (
            "kitex/registry-etcd/",
            "kitex/registry-etcd/echo/10.0.0.1:8888",
            r#"{"network":"tcp","address":"10.0.0.1:8888","weight":10,"tags":null}"#,
            "kitex echo 10.0.0.1:8888 tcp://10.0.0.1:8888 w10",
        ),
        (
            "hertz/registry-etcd/",
            "hertz/registry-etcd/echo/10.0.0.1:8888",
            r#"{"network":"tcp","address":"10.0.0.1:8888","weight":10,"tags":{"a":"b"}}"#,
            "hertz echo 10.0.0.1:8888 http://10.0.0.1:8888 w10",
        ),
        (
            "/dubbo/",
            "/dubbo/com.shop.Cart/providers/dubbo%3A%2F%2F10.0.0.1%3A20000%2Fcom.shop.Cart%3Fanyhost%3Dtrue",
            "",
            "dubbo com.shop.Cart 10.0.0.1:20000 dubbo://10.0.0.1:20000 w100",
        ),
        ("/dubbo/", "/dubbo/com.shop.Cart/providers", "", "marker"),
        ("/dubbo/", "/dubbo/com.shop.Cart", "", "marker"),
        ("/dubbo/", "/dubbo/com.shop.Cart", "\t", "marker"),
        (
            "/dubbo/",
            "/dubbo/com.shop.Cart/consumers/consumer%3A%2F%2F10.0.0.2%2Fcom.shop.Cart",
            "",
            "marker",
        ),
        ("/dubbo/", "/dubbo/mapping/com.shop.Cart", "app", "marker"),
        (
            "/services/",
            "/services/app/10.0.0.1:20000",
            "{\"ID\":\"10.0.0.1:20000\",\"ServiceName\":\"app\",\"Host\":\"10.0.0.1\",\"Port\":20000,\"Enable\":true,\"Healthy\":true,\"Metadata\":{\"dubbo.endpoints\":\"[{\\\"port\\\":20000,\\\"protocol\\\":\\\"tri\\\"}]\"},\"ServiceMetadata\":null,\"Address\":\"10.0.0.1:20000\",\"GroupName\":\"\",\"Tag\":\"\"}\n",
            "dubbo-application app 10.0.0.1:20000 tri://10.0.0.1:20000 w100",
        ),
        (
            "/services/",
            "/services/app/10.0.0.1:20000",
            r#"{"serviceName":"app","host":"10.0.0.1","port":20000,"metadata":{}}"#,
            "dubbo-java app 10.0.0.1:20000 dubbo://10.0.0.1:20000 w100",
        ),
        (
            "/services/",
            "/services/app/10.0.0.1:20000",
            "7587869265929863945",
            "dubbo-java app 10.0.0.1:20000 dubbo://10.0.0.1:20000 w100",
        ),
        (
            "/service/",
            "/service/default/default/hello.svc/latest/10.0.0.1:8000",
            r#"{"insecure":true,"protocol":"http"}"#,
            "goframe hello.svc 10.0.0.1:8000 http://10.0.0.1:8000 w100",
        ),
        (
            "/service/",
            "/service/default/default/hello.svc/v2/10.0.0.1:8000,10.0.0.2:8000",
            r#"{"protocol":"grpc"}"#,
            "goframe hello.svc 10.0.0.1:8000,10.0.0.2:8000 grpc://10.0.0.1:8000,grpc://10.0.0.2:8000 w100",
        ),
        (
            "/naming/",
            "/naming/shop/one",
            r#"{"Op":0,"Addr":"10.0.0.1:9000","Metadata":null}"#,
            "etcd-naming shop one grpc://10.0.0.1:9000 w100",
        ),
        (
            "rpcx/",
            "rpcx/Arith/tcp@10.0.0.1:8972",
            "calls=0.00&connections=0.00&weight=5",
            "rpcx Arith tcp@10.0.0.1:8972 tcp://10.0.0.1:8972 w5",
        ),
        ("rpcx/", "rpcx/Arith", "Arith", "marker"),
        ("/base/", "/base/rpcx", "rpcx_path", "marker"),
        (
            "grpc:",
            "grpc:jupiter-user:v1:main/10.0.0.1:20102",
            r#"{"Op":0,"Addr":"10.0.0.1:20102","MetadataX":{"name":"jupiter-user","scheme":"grpc","address":"10.0.0.1:20102","weight":50,"enable":true,"healthy":true,"metadata":{},"zone":"b","version":"","mode":""}}"#,
            "jupiter jupiter-user 10.0.0.1:20102 grpc://10.0.0.1:20102 w50",
        ),
        (
            "/jupiter/",
            "/jupiter/main/providers/grpc://10.0.0.1:20102",
            r#"{"name":"main","scheme":"grpc","address":"10.0.0.1:20102","weight":100,"enable":false,"healthy":true}"#,
            "jupiter main 10.0.0.1:20102 grpc://10.0.0.1:20102 w0",
        ),
        (
            "/service/",
            "/service/foo/1.2.3.4:8080",
            "1.2.3.4:8080",
            "go-kit foo 1.2.3.4:8080 tcp://1.2.3.4:8080 w100",
        ),
        (
            "/service/",
            "/service/foo/one",
            "http://1.2.3.4:8080",
            "go-kit foo one http://1.2.3.4:8080 w100",
        ),
    ] {
        assert_eq!(told(prefix, key, value), expected, "{key} {value}");
    }
}

#[test]
fn a_broken_record_of_a_known_format_names_the_format_and_an_unknown_one_is_nobodys() {
    for (key, value, expected) in [
        (
            "/s/user/1",
            r#"{"id":"1","name":"user","endpoints":["10.0.0.1"]}"#,
            "broken: kratos record: '10.0.0.1' is no endpoint",
        ),
        (
            "/s/user/1",
            r#"{"id":"1","name":"a b","endpoints":[]}"#,
            "broken: kratos service: 'a b'",
        ),
        (
            "/s/g/1",
            r#"{"name":"g","nodes":[]}"#,
            "broken: go-micro record: it has no node",
        ),
        (
            "/s/e/1:1",
            r#"{"network":"tcp","address":"nowhere"}"#,
            "broken: kitex record: ",
        ),
        ("/s/e/tcp@nowhere", "weight=1", "broken: rpcx record: "),
        ("/s/e/one", "just text", "unknown"),
        ("/s/e/one", r#"{"some":"json"}"#, "unknown"),
        ("/s/e/one", r#"{"service":7}"#, "unknown"),
        ("/s/e/one", "[1]", "unknown"),
    ] {
        let told = told("/s/", key, value);
        assert!(told.starts_with(expected), "{key} {value}: {told}");
    }
}
