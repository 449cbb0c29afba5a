//! What a query becomes.

use reflect::{
    Lookup, ParseOptions, PrintOptions, Router, Schema, Unbound, UnknownFields, json_to_wire,
    wire_to_json,
};

use crate::fixture::compiled;

const PROTO: &str = r#"
syntax = "proto3";
package query;
import "google/api/annotations.proto";
import "google/protobuf/duration.proto";
import "google/protobuf/field_mask.proto";
import "google/protobuf/struct.proto";
import "google/protobuf/timestamp.proto";
import "google/protobuf/wrappers.proto";
enum Kind { X = 0; Y = 1; Z = 2; }
message M {
  M nested = 1;
  float float_value = 2;
  double double_value = 3;
  int64 int64_value = 4;
  int32 int32_value = 5;
  uint64 uint64_value = 6;
  uint32 uint32_value = 7;
  bool bool_value = 8;
  string string_value = 9;
  repeated string repeated_value = 10;
  Kind enum_value = 11;
  repeated Kind repeated_enum = 12;
  oneof oneof_value { bool oneof_bool_value = 13; string oneof_string_value = 14; }
  google.protobuf.Timestamp timestamp_value = 16;
  google.protobuf.DoubleValue wrapper_double_value = 17;
  google.protobuf.FloatValue wrapper_float_value = 18;
  google.protobuf.Int64Value wrapper_int64_value = 19;
  google.protobuf.Int32Value wrapper_int32_value = 20;
  google.protobuf.UInt64Value wrapper_u_int64_value = 21;
  google.protobuf.UInt32Value wrapper_u_int32_value = 22;
  google.protobuf.BoolValue wrapper_bool_value = 23;
  google.protobuf.StringValue wrapper_string_value = 24;
  bytes bytes_value = 25;
  google.protobuf.BytesValue wrapper_bytes_value = 26;
  google.protobuf.FieldMask fieldmask_value = 27;
  map<string, string> map_value = 28;
  map<string, int32> map_value2 = 29;
  map<int32, string> map_value3 = 30;
  map<string, int64> map_value4 = 31;
  map<int64, string> map_value5 = 32;
  map<string, uint32> map_value6 = 33;
  map<uint32, string> map_value7 = 34;
  map<string, uint64> map_value8 = 35;
  map<uint64, string> map_value9 = 36;
  map<string, float> map_value10 = 37;
  map<string, double> map_value12 = 38;
  map<string, bool> map_value14 = 39;
  map<bool, string> map_value15 = 40;
  google.protobuf.Duration duration_value = 42;
  repeated M children = 43;
  optional string maybe = 44;
  string own_name = 45 [json_name = "Called"];
  google.protobuf.Struct struct_value = 47;
  google.protobuf.Value struct_value_value = 48;
  google.protobuf.ListValue list_value = 49;
  repeated google.protobuf.UInt64Value repeated_message = 50;
  map<string, google.protobuf.Value> map_values = 51;
  oneof nested_oneof_value { int32 nested_oneof_int32_value = 52; M nested_oneof_value_one = 53; }
  string odd = 46 [json_name = "search[odd]"];
}
service S {
  rpc Plain(M) returns (M) { option (google.api.http) = {get: "/plain"}; }
  rpc Flag(M) returns (M) { option (google.api.http) = {get: "/flag/{bool_value}"}; }
  rpc Deep(M) returns (M) { option (google.api.http) = {get: "/deep/{nested.nested.string_value}"}; }
  rpc Body(M) returns (M) { option (google.api.http) = {post: "/body" body: "nested"}; }
  rpc All(M) returns (M) { option (google.api.http) = {post: "/all" body: "*"}; }
}
"#;

/// A path with its query, and the request that it becomes, or "400 " with the place.
const CASES: &[(&str, &str)] = &[
    ("/plain", "{}"),
    ("/plain?", "{}"),
    ("/plain?&&", "{}"),
    // Every type, by its proto name and by its JSON name.
    (
        "/plain?float_value=1.5&double_value=2.5",
        r#"{"floatValue":1.5,"doubleValue":2.5}"#,
    ),
    (
        "/plain?floatValue=1.5&doubleValue=2.5",
        r#"{"floatValue":1.5,"doubleValue":2.5}"#,
    ),
    (
        "/plain?int64_value=-1&int32_value=-2",
        r#"{"int64Value":"-1","int32Value":-2}"#,
    ),
    (
        "/plain?int64Value=-1&int32Value=-2",
        r#"{"int64Value":"-1","int32Value":-2}"#,
    ),
    (
        "/plain?uint64_value=3&uint32_value=4",
        r#"{"uint64Value":"3","uint32Value":4}"#,
    ),
    (
        "/plain?uint64Value=3&uint32Value=4",
        r#"{"uint64Value":"3","uint32Value":4}"#,
    ),
    (
        "/plain?bool_value=true&string_value=str",
        r#"{"boolValue":true,"stringValue":"str"}"#,
    ),
    (
        "/plain?boolValue=true&stringValue=str",
        r#"{"boolValue":true,"stringValue":"str"}"#,
    ),
    (
        "/plain?bytes_value=Ynl0ZXM=",
        r#"{"bytesValue":"Ynl0ZXM="}"#,
    ),
    (
        "/plain?bytesValue=Ynl0ZXM%3D",
        r#"{"bytesValue":"Ynl0ZXM="}"#,
    ),
    // Also without its padding and by the alphabet for URLs.
    ("/plain?bytesValue=Ynl0ZXM", r#"{"bytesValue":"Ynl0ZXM="}"#),
    ("/plain?bytesValue=-_8", r#"{"bytesValue":"+/8="}"#),
    (
        "/plain?repeated_value=a&repeated_value=b&repeated_value=c",
        r#"{"repeatedValue":["a","b","c"]}"#,
    ),
    (
        "/plain?repeatedValue=a&repeated_value=b",
        r#"{"repeatedValue":["a","b"]}"#,
    ),
    ("/plain?enum_value=1", r#"{"enumValue":"Y"}"#),
    ("/plain?enumValue=1", r#"{"enumValue":"Y"}"#),
    ("/plain?enum_value=Z", r#"{"enumValue":"Z"}"#),
    (
        "/plain?repeated_enum=1&repeated_enum=2&repeated_enum=0",
        r#"{"repeatedEnum":["Y","Z","X"]}"#,
    ),
    (
        "/plain?repeated_enum=X&repeated_enum=2&repeated_enum=0",
        r#"{"repeatedEnum":["X","Z","X"]}"#,
    ),
    (
        "/plain?timestamp_value=2016-12-15T12:23:32.000000049Z",
        r#"{"timestampValue":"2016-12-15T12:23:32.000000049Z"}"#,
    ),
    (
        "/plain?duration_value=46800s",
        r#"{"durationValue":"46800s"}"#,
    ),
    // The reference reads Go's own text for a duration, and it alone; protobuf's JSON has seconds.
    ("/plain?duration_value=13h0m0s", "400 duration_value"),
    (
        "/plain?fieldmask_value=float_value,double_value",
        r#"{"fieldmaskValue":"floatValue,doubleValue"}"#,
    ),
    (
        "/plain?fieldmaskValue=floatValue,doubleValue",
        r#"{"fieldmaskValue":"floatValue,doubleValue"}"#,
    ),
    (
        "/plain?wrapper_float_value=1.5&wrapper_double_value=2.5",
        r#"{"wrapperFloatValue":1.5,"wrapperDoubleValue":2.5}"#,
    ),
    (
        "/plain?wrapper_int64_value=-1&wrapper_int32_value=-2",
        r#"{"wrapperInt64Value":"-1","wrapperInt32Value":-2}"#,
    ),
    (
        "/plain?wrapper_u_int64_value=3&wrapper_u_int32_value=4",
        r#"{"wrapperUInt64Value":"3","wrapperUInt32Value":4}"#,
    ),
    (
        "/plain?wrapperUInt64Value=3&wrapperUInt32Value=4",
        r#"{"wrapperUInt64Value":"3","wrapperUInt32Value":4}"#,
    ),
    (
        "/plain?wrapper_bool_value=true&wrapper_string_value=str",
        r#"{"wrapperBoolValue":true,"wrapperStringValue":"str"}"#,
    ),
    (
        "/plain?wrapper_bytes_value=Ynl0ZXM=",
        r#"{"wrapperBytesValue":"Ynl0ZXM="}"#,
    ),
    // A name that the proto file gives for JSON is one of the two.
    ("/plain?Called=x", r#"{"Called":"x"}"#),
    ("/plain?own_name=x", r#"{"Called":"x"}"#),
    ("/plain?ownName=x", "400 ownName"),
    // grpc-httpjson-transcoding takes any name; here brackets are for the keys of maps, and the proto name is at hand.
    ("/plain?search[odd]=x", "400 search[odd]"),
    ("/plain?odd=x", r#"{"search[odd]":"x"}"#),
    (
        "/plain?nested.bytes_value=aGkh",
        r#"{"nested":{"bytesValue":"aGkh"}}"#,
    ),
    (
        "/plain?nested.bytes_value=oops%7b",
        "400 nested.bytes_value",
    ),
    // An empty text is one.
    ("/plain?maybe=", r#"{"maybe":""}"#),
    (
        "/plain?wrapper_string_value",
        r#"{"wrapperStringValue":""}"#,
    ),
    ("/plain?int32_value=", "400 int32_value"),
    // Maps of every key and value.
    (
        "/plain?map_value[key]=value&map_value[second]=bar&map_value[third]=zzz&map_value[fourth]=",
        r#"{"mapValue":{"key":"value","second":"bar","third":"zzz","fourth":""}}"#,
    ),
    (
        "/plain?map_value%5Bkey%5D=value",
        r#"{"mapValue":{"key":"value"}}"#,
    ),
    (
        "/plain?map_value[~!@%23$%25^%26*()]=value",
        r#"{"mapValue":{"~!@#$%^&*()":"value"}}"#,
    ),
    (
        "/plain?mapValue[a.b]=value",
        r#"{"mapValue":{"a.b":"value"}}"#,
    ),
    (
        "/plain?map_value2[key]=-2&map_value3[-2]=value",
        r#"{"mapValue2":{"key":-2},"mapValue3":{"-2":"value"}}"#,
    ),
    (
        "/plain?map_value4[key]=-1&map_value5[-1]=value",
        r#"{"mapValue4":{"key":"-1"},"mapValue5":{"-1":"value"}}"#,
    ),
    (
        "/plain?map_value6[key]=3&map_value7[3]=value",
        r#"{"mapValue6":{"key":3},"mapValue7":{"3":"value"}}"#,
    ),
    (
        "/plain?map_value8[key]=4&map_value9[4]=value",
        r#"{"mapValue8":{"key":"4"},"mapValue9":{"4":"value"}}"#,
    ),
    (
        "/plain?map_value10[key]=1.5&map_value12[key]=2.5",
        r#"{"mapValue10":{"key":1.5},"mapValue12":{"key":2.5}}"#,
    ),
    (
        "/plain?map_value14[key]=true&map_value15[true]=value",
        r#"{"mapValue14":{"key":true},"mapValue15":{"true":"value"}}"#,
    ),
    ("/plain?map_value3[x]=value", "400 map_value3[x]"),
    ("/plain?map_value=value", "400 map_value"),
    ("/plain?string_value[a]=b", "400 string_value[a]"),
    // Down the messages.
    (
        "/plain?nested.nested.nested.repeated_value=a&nested.nested.nested.repeated_value=b&nested.string_value=u",
        r#"{"nested":{"stringValue":"u","nested":{"nested":{"repeatedValue":["a","b"]}}}}"#,
    ),
    (
        "/plain?nested.nested.map_value[first]=foo&nested.nested.map_value[second]=bar",
        r#"{"nested":{"nested":{"mapValue":{"first":"foo","second":"bar"}}}}"#,
    ),
    // A single value stands once.
    ("/plain?uint64_value=1&uint64_value=2", "400 uint64_value"),
    (
        "/plain?oneof_string_value=foobar",
        r#"{"oneofStringValue":"foobar"}"#,
    ),
    ("/plain?oneof_bool_value=true", r#"{"oneofBoolValue":true}"#),
    (
        "/plain?oneof_bool_value=true&oneof_string_value=foobar",
        "400 oneof_string_value",
    ),
    (
        "/plain?nested_oneof_value_one.int64Value=-1&nested_oneof_value_one.string_value=foo",
        r#"{"nestedOneofValueOne":{"int64Value":"-1","stringValue":"foo"}}"#,
    ),
    (
        "/plain?nested_oneof_int32_value=10&nested_oneof_value_one.int32Value=-1",
        "400 nested_oneof_value_one.int32Value",
    ),
    (
        "/plain?nested_oneof_value_one.int32Value=-1&nested_oneof_int32_value=10",
        "400 nested_oneof_int32_value",
    ),
    (
        "/plain?nested.nested_oneof_int32_value=10&nested_oneof_value_one.int32Value=-1",
        r#"{"nested":{"nestedOneofInt32Value":10},"nestedOneofValueOne":{"int32Value":-1}}"#,
    ),
    // What only JSON can say is JSON.
    (
        r#"/plain?struct_value={"a":{"b":1}}&struct_value_value={"a":{"b":1}}"#,
        r#"{"structValue":{"a":{"b":1}},"structValueValue":{"a":{"b":1}}}"#,
    ),
    (
        r#"/plain?struct_value={"c":[1,2],"d":[{"e":1,"f":{}}]}&struct_value_value=[]"#,
        r#"{"structValue":{"c":[1,2],"d":[{"e":1,"f":{}}]},"structValueValue":[]}"#,
    ),
    (
        r#"/plain?struct_value={}&struct_value_value="""#,
        r#"{"structValue":{},"structValueValue":""}"#,
    ),
    (
        "/plain?structValueValue=true",
        r#"{"structValueValue":true}"#,
    ),
    ("/plain?structValueValue=0", r#"{"structValueValue":0}"#),
    (
        "/plain?structValueValue=null",
        r#"{"structValueValue":null}"#,
    ),
    ("/plain?structValueValue=text", "400 structValueValue"),
    ("/plain?structValueValue=", "400 structValueValue"),
    ("/plain?struct_value=[]", "400 struct_value"),
    ("/plain?struct_value={", "400 struct_value"),
    ("/plain?listValue=[1,%22a%22]", r#"{"listValue":[1,"a"]}"#),
    ("/plain?map_values[a]={}", r#"{"mapValues":{"a":{}}}"#),
    (
        "/plain?repeated_message=1&repeated_message=2&repeated_message=3",
        r#"{"repeatedMessage":["1","2","3"]}"#,
    ),
    (
        "/plain?repeated_message.value=1",
        "400 repeated_message.value",
    ),
    // Null is no time.
    ("/plain?timestampValue=null", "400 timestampValue"),
    ("/plain?durationValue=null", "400 durationValue"),
    (
        "/plain?timestampValue=0000-01-01T00:00:00.00Z",
        "400 timestampValue",
    ),
    // Nothing lies below a value, nor below a list.
    ("/plain?float_value.nested=test", "400 float_value.nested"),
    ("/plain?double_value.nested=test", "400 double_value.nested"),
    ("/plain?int64_value.nested=test", "400 int64_value.nested"),
    ("/plain?int32_value.nested=test", "400 int32_value.nested"),
    ("/plain?uint64_value.nested=test", "400 uint64_value.nested"),
    ("/plain?uint32_value.nested=test", "400 uint32_value.nested"),
    ("/plain?bool_value.nested=test", "400 bool_value.nested"),
    ("/plain?string_value.nested=test", "400 string_value.nested"),
    (
        "/plain?repeated_value.nested=test",
        "400 repeated_value.nested",
    ),
    ("/plain?enum_value.nested=test", "400 enum_value.nested"),
    (
        "/plain?repeated_enum.nested=test",
        "400 repeated_enum.nested",
    ),
    (
        "/plain?children.string_value=test",
        "400 children.string_value",
    ),
    ("/plain?nested=test", "400 nested"),
    // What path or body say is not the query's to say.
    (
        "/flag/false?bool_value=true&string_value=str",
        r#"{"stringValue":"str"}"#,
    ),
    // Not even read.
    ("/flag/true?bool_value=maybe", r#"{"boolValue":true}"#),
    ("/body?nested.bool_value=maybe", "{}"),
    (
        "/deep/x?nested.nested.string_value=str&nested.nested.bool_value=true&string_value=str",
        r#"{"stringValue":"str","nested":{"nested":{"stringValue":"x","boolValue":true}}}"#,
    ),
    (
        "/body?nested.string_value=str&string_value=str",
        r#"{"stringValue":"str"}"#,
    ),
    // Escapes; a plus is a space.
    (
        "/plain?string_value=a+b%2Bc%20d%26%3D",
        r#"{"stringValue":"a b+c d&="}"#,
    ),
    ("/plain?string_value=a=b=c", r#"{"stringValue":"a=b=c"}"#),
    ("/plain?string_value=%E4%BD%A0", r#"{"stringValue":"你"}"#),
    ("/plain?string_value=%ff", "400 "),
    ("/plain?string_value=%2", "400 "),
    ("/plain?string%5Fvalue=x", r#"{"stringValue":"x"}"#),
    // Numbers as JSON has them, and not as Go does.
    (
        "/plain?double_value=NaN&float_value=-Infinity",
        r#"{"doubleValue":"NaN","floatValue":"-Infinity"}"#,
    ),
    ("/plain?int32_value=2147483648", "400 int32_value"),
    ("/plain?uint32_value=-1", "400 uint32_value"),
    (
        "/plain?int64_value=9223372036854775807",
        r#"{"int64Value":"9223372036854775807"}"#,
    ),
    ("/plain?int32_value=0x10", "400 int32_value"),
    ("/plain?bool_value=1", "400 bool_value"),
    ("/plain?enum_value=OVAL", "400 enum_value"),
    ("/plain?timestamp_value=yesterday", "400 timestamp_value"),
];

/// Both ways through the codec, so that rows need not care for the order of fields.
fn tidied(schema: &Schema, json: &str) -> String {
    let message = schema.message("query.M").unwrap();
    let wire = json_to_wire(&message, json.as_bytes(), &ParseOptions::default()).unwrap();
    printed(schema, &wire)
}

fn printed(schema: &Schema, wire: &[u8]) -> String {
    let message = schema.message("query.M").unwrap();
    let mut out = Vec::new();
    wire_to_json(&message, wire, &PrintOptions::default(), &mut out).unwrap();
    let value: serde_json::Value = serde_json::from_slice(&out).unwrap();
    value.to_string()
}

#[test]
fn queries_become_requests_as_the_reference_says() {
    let schema = compiled(PROTO);
    let (router, faults) = Router::new(&schema, Unbound::Ignore);
    assert!(faults.is_empty(), "{faults:?}");
    for (line, expected) in CASES {
        let (path, query) = line.split_once('?').unwrap_or((line, ""));
        let verb = if path == "/body" { "POST" } else { "GET" };
        let Lookup::Found(found) = router.lookup(verb, path) else {
            panic!("no rule for {line}");
        };
        let mut wire = Vec::new();
        let options = ParseOptions::default();
        let bound = found.bind(query, b"", &options, &mut wire);
        match (bound, expected.strip_prefix("400 ")) {
            (Ok(()), None) => {
                assert_eq!(printed(&schema, &wire), tidied(&schema, expected), "{line}");
            }
            (Err(error), Some(place)) => assert_eq!(error.path, place, "{line}: {error}"),
            (bound, _) => panic!("{line}: {bound:?}, not {expected}"),
        }
    }
}

/// The reference drops what it does not know. So do servers by default; strict ones name it.
#[test]
fn what_nobody_knows_is_dropped_or_named() {
    let schema = compiled(PROTO);
    let (router, _) = Router::new(&schema, Unbound::Ignore);
    for (line, verb) in [
        ("/plain?nobody=1", "GET"),
        ("/plain?nested.nobody=1", "GET"),
        ("/plain?string_value.nested=test", "GET"),
        ("/all?string_value=a", "POST"),
    ] {
        let (path, query) = line.split_once('?').unwrap();
        let Lookup::Found(found) = router.lookup(verb, path) else {
            panic!("no rule for {line}");
        };
        let bind = |unknown_fields| {
            let options = ParseOptions {
                unknown_fields,
                ..ParseOptions::default()
            };
            let mut wire = Vec::new();
            found.bind(query, b"", &options, &mut wire).map(|()| wire)
        };
        let name = query.split_once('=').unwrap().0;
        assert_eq!(
            bind(UnknownFields::Reject).unwrap_err().path,
            name,
            "{line}"
        );
        assert_eq!(bind(UnknownFields::DropFields), Ok(Vec::new()), "{line}");
    }
}
